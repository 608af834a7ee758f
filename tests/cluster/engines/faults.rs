//! The faults of an engine, each as one operation.

use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{Engine, MASTER_NAME, PREFIX, Topology, slowly};
use crate::support::eventually;
use crate::support::redis::Process;
use crate::support::resp::Reply;

/// The limit of the pub/sub buffer that every engine of the tests has, and one that a slow subscriber reaches soon.
const WIDE: &str = "pubsub 268435456 268435456 60";
const NARROW: &str = "pubsub 65536 65536 0";

/// Time after which a failover is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

impl Engine {
    /// Ends a server with SIGKILL.
    pub(crate) fn kill(&mut self, index: usize) {
        self.servers[index].kill();
    }

    /// Stops a server with SIGSTOP; see [`Engine::resume`].
    #[track_caller]
    pub(crate) fn pause(&self, index: usize) {
        self.servers[index].pause();
    }

    #[track_caller]
    pub(crate) fn resume(&self, index: usize) {
        self.servers[index].resume();
    }

    /// Starts an ended server again with the data that it had.
    #[track_caller]
    pub(crate) fn restart(&mut self, index: usize) {
        self.servers[index].restart();
    }

    /// Ends a server with SIGKILL and starts it without data.
    #[track_caller]
    pub(crate) fn restart_empty(&mut self, index: usize) {
        self.servers[index].kill();
        self.servers[index].empty();
        self.servers[index].restart();
    }

    /// Writes a snapshot of a server and returns its file.
    #[track_caller]
    pub(crate) fn snapshot(&self, index: usize) -> PathBuf {
        let file = self.folder.path().join(format!("snapshot-{index}.rdb"));
        self.servers[index].snapshot(&file);
        file
    }

    /// Ends a server with SIGKILL and starts it with the data of an old snapshot.
    #[track_caller]
    pub(crate) fn restart_from(&mut self, index: usize, snapshot: &std::path::Path) {
        self.servers[index].kill();
        self.servers[index].restart_from(snapshot);
    }

    /// Waits until a server that is not `old` is the master: of the Sentinels, or of the slots that `old` had.
    #[track_caller]
    pub(crate) fn wait_for_successor(&self, old: usize, replica: usize) {
        slowly("the replica is promoted", || {
            let is_known = self.topology != Topology::Sentinel || self.elected() == Some(replica);
            old != replica && is_known && self.servers[replica].is_master()
        });
    }

    /// Cuts a replica off its master: it keeps the data that it has and gets no more.
    #[track_caller]
    pub(crate) fn cut_off(&self, replica: usize) {
        let replica = &self.servers[replica];
        // The master has no such user, so that the link cannot be made again.
        replica.expect(&["CONFIG", "SET", "masteruser", "nobody", "masterauth", "wrong"]);
        replica.expect(&["CLIENT", "KILL", "TYPE", "master"]);
        eventually("the replica is cut off", || {
            replica.info("replication", "master_link_status").is_some_and(|status| status == "down")
        });
    }

    /// Ends a master whose replica was [cut off](Engine::cut_off) and waits until the replica has its place, with the
    /// data that it had when it was cut off. The old master then starts again, as a replica. A single server has no
    /// second address: there a process with the data of the replica takes the master's port.
    #[track_caller]
    pub(crate) fn promote_cut_off(&mut self, master: usize, replica: usize) {
        let is_single = self.topology == Topology::Single;
        if is_single {
            let file = self.snapshot(replica);
            self.restart_from(master, &file);
        } else {
            self.servers[master].kill();
            self.wait_for_successor(master, replica);
            self.servers[master].restart();
        }
        self.servers[replica].expect(&["CONFIG", "SET", "masteruser", "", "masterauth", ""]);
        self.wait_in_sync(if is_single { replica } else { master });
    }

    /// Ends every connection with subscriptions at all servers; returns their number.
    #[track_caller]
    pub(crate) fn kill_subscribers(&self) -> i64 {
        let kill = |server: &Process| match server.expect(&["CLIENT", "KILL", "TYPE", "pubsub"]) {
            Reply::Int(count) => count,
            other => panic!("no number: {other:?}"),
        };
        self.servers.iter().map(kill).sum()
    }

    /// Makes the pub/sub buffer of every server as narrow as 64 KiB, or as wide as it was.
    #[track_caller]
    pub(crate) fn narrow_subscribers(&self, is_narrow: bool) {
        let limit = if is_narrow { NARROW } else { WIDE };
        self.config_set("client-output-buffer-limit", limit);
    }

    /// Sets a key of the configuration of every server.
    #[track_caller]
    pub(crate) fn config_set(&self, key: &str, value: &str) {
        for server in &self.servers {
            server.expect(&["CONFIG", "SET", key, value]);
        }
    }

    /// Lets a server do nothing for a while. The connection that is returned must live as long.
    #[track_caller]
    pub(crate) fn sleep(&self, index: usize, time: Duration) -> TcpStream {
        self.servers[index].send(&["DEBUG", "SLEEP", &time.as_secs_f64().to_string()])
    }

    /// Makes every server forget its scripts.
    #[track_caller]
    pub(crate) fn flush_scripts(&self) {
        for index in self.masters() {
            self.servers[index].expect(&["SCRIPT", "FLUSH"]);
        }
    }

    /// Removes the meta key of a room, as an eviction would; false when the room has none.
    #[track_caller]
    pub(crate) fn delete_meta(&self, room: &str) -> bool {
        let key = format!("{PREFIX}:{{{room}}}:m");
        let removed = self.masters().into_iter().map(|index| self.servers[index].call(&["DEL", &key]));
        // In a cluster the masters that do not hold the key answer MOVED.
        removed.into_iter().any(|reply| matches!(reply, Ok(Reply::Int(1))))
    }

    /// Moves `count` slots from one master of a cluster to another, with the keys in them.
    #[track_caller]
    pub(crate) fn move_slots(&self, from: usize, to: usize, count: usize) {
        let id = |index: usize| self.servers[index].expect(&["CLUSTER", "MYID"]).text().to_owned();
        let address = self.servers[from].address().to_string();
        let (from, to, count) = (id(from), id(to), count.to_string());
        let mut arguments =
            vec!["--cluster", "reshard", &address, "--cluster-from", &from, "--cluster-to", &to];
        arguments.extend(["--cluster-slots", &count, "--cluster-yes"]);
        self.redis_cli(&arguments);
        slowly("the cluster is whole", || self.is_whole());
    }

    /// Returns the number of slots that a master of a cluster serves.
    #[track_caller]
    pub(crate) fn slots(&self, index: usize) -> usize {
        let nodes = self.servers[index].expect(&["CLUSTER", "NODES"]);
        let own = nodes.text().lines().find(|line| line.contains("myself")).expect("a line of its own");
        let ranges = own.split(' ').skip(8).filter(|range| !range.starts_with('['));
        let size = |range: &str| -> usize {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let number = |text: &str| text.parse::<usize>().expect("a slot");
            number(last) - number(first) + 1
        };
        ranges.map(size).sum()
    }

    /// Hands a master's place over to its replica on demand. Both serve; the old master follows the new one.
    #[track_caller]
    pub(crate) fn fail_over(&self, master: usize, replica: usize) {
        let mut last_asked: Option<Instant> = None;
        slowly("the replica has its master's place", || {
            // A request is refused while the last failover is not over, and its outcome may be taken back.
            if !self.servers[replica].is_master() && last_asked.is_none_or(|at| at.elapsed() > ASK_AGAIN) {
                last_asked = Some(Instant::now());
                let _ = match self.sentinels.first() {
                    Some(sentinel) => sentinel.call(&["SENTINEL", "FAILOVER", MASTER_NAME]),
                    None => self.servers[replica].call(&["CLUSTER", "FAILOVER"]),
                };
            }
            self.is_whole() && self.masters().contains(&replica) && !self.masters().contains(&master)
        });
    }

    /// Returns the master that has the most keys.
    #[track_caller]
    pub(crate) fn busiest_master(&self) -> usize {
        let keys = |index: &usize| match self.servers[*index].expect(&["DBSIZE"]) {
            Reply::Int(count) => count,
            other => panic!("no number: {other:?}"),
        };
        self.masters().into_iter().max_by_key(keys).expect("a master")
    }

    /// Publishes payloads that no node knows on the channel of a room.
    #[track_caller]
    pub(crate) fn flood(&self, room: &str, bytes: usize, count: usize) {
        let (channel, payload) = (format!("{PREFIX}:{{{room}}}"), format!("z9 {}", "x".repeat(bytes)));
        for index in self.masters() {
            // In a cluster the masters that do not serve the channel answer MOVED.
            let mut calls = (0..count).map(|_| self.servers[index].call(&["SPUBLISH", &channel, &payload]));
            if calls.all(|reply| matches!(reply, Ok(Reply::Int(_)))) {
                return;
            }
        }
        panic!("no master takes {channel}");
    }

    /// True when every server is in its place: a master for all, or for each part, that its replica follows.
    pub(crate) fn is_whole(&self) -> bool {
        let masters = self.masters();
        let follows = |index: usize| {
            masters.contains(&index)
                || self.servers[index]
                    .info("replication", "master_link_status")
                    .is_some_and(|link| link == "up")
        };
        let is_known = match self.topology {
            Topology::Single => masters == [0],
            Topology::Sentinel => masters.len() == 1 && self.elected() == Some(masters[0]),
            Topology::Cluster => {
                let is_ok = |server: &Process| {
                    server
                        .call(&["CLUSTER", "INFO"])
                        .is_ok_and(|info| info.text().contains("cluster_state:ok"))
                };
                masters.len() == 3 && self.servers.iter().all(is_ok)
            }
        };
        is_known && (0..self.len()).all(follows)
    }
}
