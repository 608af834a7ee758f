//! The smallest server of `throng.v1`, in the test's own thread. It breaks a promise of the protocol on request, which
//! tests the [clients](super::swarm) and their [judge](super::checker). It has one thread and does one thing at a
//! time, so it has none of the difficulties of a real server.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::spawn_local;

use super::frame::{CLOSE, TEXT};
use super::raw::ACCEPT;

/// Messages that a room keeps.
const KEPT: u64 = 64;
/// Most frames that may wait for one client: more than any test sends.
const QUEUE: usize = 1 << 16;

/// The promise that the server breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Nothing,
    /// Every fiftieth message takes two offsets.
    SkipOffset,
    /// Every fiftieth delivery is forgotten.
    LoseDelivery,
    /// A key is not remembered.
    DropDedupe,
    /// A position of another epoch is taken for one of this epoch.
    IgnoreEpoch,
    /// The last message that the client has seen is sent again.
    RepeatOnResume,
    /// Nobody is told that a user has left.
    ForgetLeave,
    /// A refused message is appended all the same.
    RefuseAndAppend,
}

/// Every fault.
pub(crate) const FAULTS: [Fault; 7] = [
    Fault::SkipOffset,
    Fault::LoseDelivery,
    Fault::DropDedupe,
    Fault::IgnoreEpoch,
    Fault::RepeatOnResume,
    Fault::ForgetLeave,
    Fault::RefuseAndAppend,
];

#[derive(Default)]
struct Room {
    first: u64,
    messages: Vec<String>,
    last: u64,
    keys: HashMap<(String, String), u64>,
    members: Vec<usize>,
}

struct Peer {
    user: String,
    frames: mpsc::Sender<String>,
}

struct Hub {
    fault: Fault,
    rooms: HashMap<String, Room>,
    peers: BTreeMap<usize, Peer>,
    /// Number of connections that took a private message, by sender, recipient and key.
    handed: HashMap<[String; 3], usize>,
    turns: usize,
}

/// Starts serving; returns the address.
pub(crate) async fn serve(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (rooms, peers, handed) = (HashMap::new(), BTreeMap::new(), HashMap::new());
    let hub = Rc::new(RefCell::new(Hub { fault, rooms, peers, handed, turns: 0 }));
    spawn_local(async move {
        for id in 0.. {
            let (socket, _) = listener.accept().await.expect("a connection");
            spawn_local(connection(Rc::clone(&hub), id, socket));
        }
    });
    address
}

async fn connection(hub: Rc<RefCell<Hub>>, id: usize, socket: TcpStream) {
    socket.set_nodelay(true).expect("TCP_NODELAY");
    let (mut reader, mut writer) = socket.into_split();
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        if !matches!(reader.read_buf(&mut bytes).await, Ok(1..)) {
            return;
        }
    }
    let head = String::from_utf8(std::mem::take(&mut bytes)).expect("a head in ASCII");
    let (user, query) =
        head.split(' ').nth(1).and_then(|path| path["/ws/chat/".len()..].split_once('?')).expect("a user");
    let query: HashMap<_, _> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let (frames, mut queue) = mpsc::channel::<String>(QUEUE);
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\nSec-WebSocket-Protocol: throng.v1\r\n\r\n"
    );
    spawn_local(async move {
        let mut is_open = writer.write_all(response.as_bytes()).await.is_ok();
        while let Some(text) = queue.recv().await.filter(|_| is_open) {
            is_open = writer.write_all(&server_frame(&text)).await.is_ok();
        }
        let _ = writer.write_all(&[0x80 | CLOSE, 2, 3, 0xe8]).await;
    });
    hub.borrow_mut().peers.insert(id, Peer { user: user.to_owned(), frames });
    let resume = query.get("resume").and_then(|resume| resume.split_once(':'));
    let resume =
        resume.map(|(epoch, offset)| json!({"epoch": epoch, "offset": offset.parse::<u64>().unwrap_or(0)}));
    hub.borrow_mut().enter(id, query["room"], resume.as_ref(), &json!({"type": "welcome", "user": user}));
    'open: while matches!(reader.read_buf(&mut bytes).await, Ok(1..)) {
        while let Some((opcode, payload)) = take_client_frame(&mut bytes) {
            match opcode {
                TEXT => hub.borrow_mut().command(
                    id,
                    query["room"],
                    &serde_json::from_slice(&payload).expect("JSON"),
                ),
                CLOSE => break 'open,
                _ => {}
            }
        }
    }
    let mut hub = hub.borrow_mut();
    let rooms: Vec<_> = hub.rooms.keys().cloned().collect();
    for room in &rooms {
        hub.leave(id, room);
    }
    hub.peers.remove(&id);
}

fn server_frame(text: &str) -> Vec<u8> {
    let length = u64::try_from(text.len()).expect("a length");
    let mut frame = vec![0x80 | TEXT];
    match length {
        0..126 => frame.push(length as u8),
        126..65_536 => frame.extend([&[126][..], &(length as u16).to_be_bytes()].concat()),
        _ => frame.extend([&[127][..], &length.to_be_bytes()].concat()),
    }
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// Takes a masked frame of less than 64 KiB off the front; returns its opcode and payload.
fn take_client_frame(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let (opcode, short) = (bytes.first()? & 0x0f, usize::from(bytes.get(1)? & 0x7f));
    let (head, length) = match short {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        length => (2, length),
    };
    let mask: [u8; 4] = bytes.get(head..head + 4)?.try_into().ok()?;
    let masked = bytes.get(head + 4..head + 4 + length)?;
    let payload = masked.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    bytes.drain(..head + 4 + length);
    Some((opcode, payload))
}

/// Returns the one epoch of a room.
fn epoch(room: &str) -> String {
    format!("{room:0>13}")
}

impl Hub {
    fn tell(&self, id: usize, event: &str) {
        if let Some(peer) = self.peers.get(&id) {
            // The queue is full only when the socket is gone and nobody writes any more.
            let _ = peer.frames.try_send(event.to_owned());
        }
    }

    fn users(&self, room: &str, user: &str) -> usize {
        let members = self.rooms.get(room).map_or(&[][..], |room| &room.members);
        members.iter().filter(|id| self.peers[*id].user == user).count()
    }

    /// True once in fifty times.
    fn is_faulty_now(&mut self, fault: Fault) -> bool {
        self.turns += usize::from(self.fault == fault);
        self.fault == fault && self.turns.is_multiple_of(50)
    }

    fn tell_diff(&self, room: &str, field: &str, user: &str) {
        let members = &self.rooms[room].members;
        let mut users: Vec<&str> = members.iter().map(|id| self.peers[id].user.as_str()).collect();
        users.sort_unstable();
        users.dedup();
        let event = json!({"type": "presence_diff", "room": room, field: [user], "members": users.len()});
        members.iter().for_each(|id| self.tell(*id, &event.to_string()));
    }

    fn enter(&mut self, id: usize, name: &str, resume: Option<&Value>, front: &Value) {
        let user = self.peers[&id].user.clone();
        let is_first = self.users(name, &user) == 0;
        let room = self.rooms.entry(name.to_owned()).or_insert_with(|| Room { first: 1, ..Room::default() });
        let asked = resume.and_then(|resume| resume["offset"].as_u64());
        let is_this_life =
            self.fault == Fault::IgnoreEpoch || resume.is_some_and(|r| r["epoch"] == epoch(name));
        let from = asked.filter(|asked| is_this_life && *asked <= room.last && *asked + 1 >= room.first);
        let mut event = front.clone();
        for (field, value) in [
            ("room", json!(name)),
            ("epoch", json!(epoch(name))),
            ("offset", json!(from.unwrap_or(room.last))),
            ("recovered", json!(from.is_some())),
            ("session", json!("secret")),
        ] {
            event[field] = value;
        }
        let back = u64::from(self.fault == Fault::RepeatOnResume);
        let missed =
            from.map_or(room.messages.len(), |from| (from + 1 - room.first).saturating_sub(back) as usize);
        let missed: Vec<String> = room.messages[missed..].to_vec();
        room.members.push(id);
        self.tell(id, &event.to_string());
        missed.iter().for_each(|message| self.tell(id, message));
        if is_first {
            self.tell_diff(name, "joined", &user);
        }
    }

    fn leave(&mut self, id: usize, name: &str) -> bool {
        let Some(room) = self.rooms.get_mut(name).filter(|room| room.members.contains(&id)) else {
            return false;
        };
        room.members.retain(|member| *member != id);
        let user = self.peers[&id].user.clone();
        if self.users(name, &user) == 0 && self.fault != Fault::ForgetLeave {
            self.tell_diff(name, "left", &user);
        }
        true
    }

    fn command(&mut self, id: usize, default: &str, command: &Value) {
        let room = command["room"].as_str().unwrap_or(default);
        let is_here = self.rooms.get(room).is_some_and(|room| room.members.contains(&id));
        let kind = command["type"].as_str().unwrap_or_default();
        let re = &command["id"];
        let answer = match kind {
            "join" if is_here => json!({"type": "error", "re": re, "code": "already_joined"}),
            "join" => {
                let resume = Some(&command["resume"]).filter(|resume| resume.is_object());
                return self.enter(id, room, resume, &json!({"type": "joined", "re": re}));
            }
            "direct" => match self.hand_over(id, command) {
                0 => json!({"type": "error", "re": re, "code": "user_not_found"}),
                count => json!({"type": "ack", "re": re, "delivered": count}),
            },
            "ping" => json!({"type": "pong", "re": re}),
            "typing" => return,
            _ if !is_here => json!({"type": "error", "re": re, "code": "not_in_room"}),
            "message" => return self.publish(id, room, command),
            "leave" => {
                self.leave(id, room);
                json!({"type": "left", "re": re, "room": room})
            }
            "history" => {
                let all: Vec<Value> = self.rooms[room]
                    .messages
                    .iter()
                    .map(|m| serde_json::from_str(m).expect("ours"))
                    .collect();
                json!({"type": "history", "re": re, "room": room, "epoch": epoch(room), "messages": all})
            }
            _ => json!({"type": "presence", "re": re, "room": room}),
        };
        self.tell(id, &answer.to_string());
    }

    /// Delivers a private message; returns how many connections take it, or took it under the same key.
    fn hand_over(&mut self, id: usize, command: &Value) -> usize {
        let from = self.peers[&id].user.clone();
        let [to, key] = ["to", "key"].map(|field| command[field].as_str().unwrap_or_default().to_owned());
        let route = [from, to, key];
        if let Some(count) = self.handed.get(&route) {
            return *count;
        }
        let [from, to, key] = &route;
        let event = json!({"type": "direct", "user": from, "message": command["message"]}).to_string();
        let peers: Vec<usize> =
            self.peers.iter().filter(|(_, peer)| peer.user == *to).map(|(id, _)| *id).collect();
        peers.iter().for_each(|peer| self.tell(*peer, &event));
        if !key.is_empty() && !peers.is_empty() {
            self.handed.insert(route, peers.len());
        }
        peers.len()
    }

    fn publish(&mut self, id: usize, name: &str, command: &Value) {
        let (skips, refuses) =
            (self.is_faulty_now(Fault::SkipOffset), self.is_faulty_now(Fault::RefuseAndAppend));
        let user = self.peers[&id].user.clone();
        let Some(room) = self.rooms.get_mut(name) else { return };
        let key = command["key"].as_str().map(|key| (user.clone(), key.to_owned()));
        let known = key.as_ref().and_then(|key| room.keys.get(key)).copied();
        let known = known.filter(|_| self.fault != Fault::DropDedupe);
        let offset = known.unwrap_or(room.last + 1 + u64::from(skips));
        let ack = json!({"type": "ack", "re": command["id"], "room": name, "epoch": epoch(name),
                         "offset": offset, "duplicate": known.is_some()});
        if known.is_some() {
            return self.tell(id, &ack.to_string());
        }
        room.keys.extend(key.map(|key| (key, offset)));
        let event = json!({"type": "message", "user": user, "message": command["message"], "room": name,
                           "offset": offset, "id": format!("{}-{offset}", epoch(name)), "ts": offset});
        room.last = offset;
        room.messages.push(event.to_string());
        while room.messages.len() as u64 > KEPT {
            room.messages.remove(0);
            room.first += 1;
        }
        for member in room.members.clone() {
            let is_quiet = member == id && command["echo"] == false;
            if !is_quiet && !self.is_faulty_now(Fault::LoseDelivery) {
                self.tell(member, &event.to_string());
            }
        }
        let refusal = json!({"type": "error", "re": command["id"], "code": "unavailable"});
        self.tell(id, &if refuses { refusal } else { ack }.to_string());
    }
}
