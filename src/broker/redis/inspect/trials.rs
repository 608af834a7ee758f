//! The scripts of a node, as calls on keys that nothing else uses.

use std::time::Duration;

use bytes::Bytes;
use smallvec::smallvec;

use super::super::batch::{Incarnation, Record};
use super::super::directory::claim::{self, Claim, Policy};
use super::super::directory::once::Attempt;
use super::super::directory::release::{self, Missing};
use super::super::directory::told::{self, Step, Told};
use super::super::directory::told_users;
use super::super::directory::{Owner, find};
use super::super::keys::{Keys, RoomKeys};
use super::super::link::Call;
use super::super::link::check::{Trial, trials};
use super::super::nodes::beat::{self, Beat, Timing};
use super::super::nodes::table::TableId;
use super::super::nodes::{Details, LiveNodes, NodeName};
use super::super::presence::occupied::{self, Occupation};
use super::super::presence::{Contents, Operation, Payload, Publication};
use super::super::script::page::PageLimit;
use super::super::script::publish::{self, PublishArgs};
use super::super::script::{self, Script, forget, page, sync};
use crate::names::{ConnectionId, Epoch, Key, Offset, RoomName, UserId};

/// Most names that are tried for a room in a slot of a server. A server with a single slot needs 16,384 on average.
const TRIES: u32 = 1 << 20;
/// Lifetime of the room's keys, should they not be deleted.
const LIFETIME_MS: u64 = 60_000;

/// Deletes the keys of the trials.
static CLEAN: Script = Script::new("clean", include_str!("clean.lua"));

/// A room, a user, and a table of nodes that exist for the trials alone.
pub(super) struct Scratch {
    keys: Keys,
    room: RoomKeys,
    user: UserId,
    node: NodeName,
    by: Incarnation,
    key: Key,
    record: Record,
}

impl Scratch {
    /// Finds names whose keys belong to the server, as `is_here` tells of a key. The keys begin with `prefix`.
    pub(super) fn find(prefix: &str, by: Incarnation, is_here: impl Fn(&[u8]) -> bool) -> Option<Self> {
        let keys = Keys::new(prefix);
        (0..TRIES).find_map(|number| {
            let name = format!("check-{number}");
            let room: RoomName = name.parse().ok()?;
            let room = keys.room(&room);
            if !is_here(&room.channel()) {
                return None;
            }
            let user: UserId = name.parse().ok()?;
            let record = Record::encode(&user, 0, b"\"check\"").ok()?;
            let (node, key) = (name.parse().ok()?, name.parse().ok()?);
            Some(Self { keys: keys.clone(), room, user, node, by, key, record })
        })
    }

    /// Returns the channel of the room.
    pub(super) fn channel(&self) -> Bytes {
        self.room.channel()
    }

    /// Returns the commands that scripts use, one by one: a refusal names the command.
    pub(super) fn commands(&self) -> Vec<Trial> {
        trials(&String::from_utf8_lossy(&self.room.channel()))
    }

    /// Returns every script of a node. In a cluster a server that does not have the table of nodes tries all others.
    pub(super) fn scripts(&self) -> Vec<Trial> {
        [self.of_room(), self.of_presence(), self.of_nodes(), self.of_user()].concat()
    }

    fn of_room(&self) -> Vec<Trial> {
        let messages = [(Some((self.user.clone(), self.key.clone())), self.record.clone())];
        let epoch_seed = Epoch::random();
        let args = PublishArgs { by: self.by, number: 1, keep: 1, epoch_seed, room_ttl_ms: LIFETIME_MS };
        let limit = PageLimit { batches: 1, bytes: 1 };
        let mut trials = vec![
            trial("the script sync", sync::call(&self.room, epoch_seed, LIFETIME_MS)),
            trial("the script publish", publish::call(&self.room, &args, messages.iter())),
            trial("the script page", page::from(&self.room, Offset(1), limit)),
            trial("the script page", page::to(&self.room, Offset(1), limit)),
        ];
        trials.extend(forget::calls(&self.room, &[self.by]).map(|call| trial("the script forget", call)));
        trials
    }

    fn of_presence(&self) -> Vec<Trial> {
        let by = self.by;
        let payload =
            Payload { by, number: 1, count: 0, contents: Contents::Count, names: Vec::new() }.encode();
        let publication = Publication {
            by,
            number: 1,
            base: None,
            // No entry of a node has this form, so that nobody takes it for one.
            entry: Bytes::new(),
            pieces: 1,
            count: 0,
            changed: vec![(0, Bytes::new())],
            payload: payload.clone(),
        };
        let operations = [
            ("the script presence/publish", Operation::Publish(publication)),
            ("the script presence/read", Operation::Read),
            ("the script presence/remove", Operation::Close { by, number: 2, payload }),
        ];
        let life = Duration::from_millis(LIFETIME_MS);
        let mut trials: Vec<Trial> =
            operations.map(|(name, operation)| trial(name, operation.call(&self.room, life))).into();
        let step = occupied::Step::Occupied;
        let occupation = Occupation { step, by, number: 1, wait_ms: LIFETIME_MS, room_ttl_ms: LIFETIME_MS };
        trials.push(trial("the script presence/occupied", occupation.call(&self.room, &self.live())));
        trials
    }

    fn of_nodes(&self) -> Vec<Trial> {
        let new_table = TableId(fastrand::u64(..));
        let enter = told_users::Step::Enter(&self.node, Some(&self.user));
        let keys = [self.keys.nodes(), self.keys.tellers(), self.keys.told_users(self.by)];
        let left = std::iter::once(Bytes::from_static(b"DEL")).chain(keys);
        let beat = Beat { name: self.node.clone(), incarnation: self.by, seen: None, new_table };
        vec![
            trial("the script beat", beat::call(&self.keys, &beat, &Details::default(), Timing::default())),
            trial("the script remove", beat::remove(&self.keys, &self.node, self.by, true)),
            trial("the script told_users", told_users::call(&self.keys, self.by, &enter)),
            trial("the script tellers", told_users::tellers(&self.keys)),
            Trial { name: "DEL", call: Call::command(left) },
        ]
    }

    fn live(&self) -> LiveNodes {
        LiveNodes { as_of_ms: 0, list: format!(",{},", self.by).into() }
    }

    fn of_user(&self) -> Vec<Trial> {
        let node = self.node.clone();
        let owner = Owner { node, incarnation: self.by, connection: ConnectionId::new(0, 0, 0) };
        let live = self.live();
        let claim =
            Claim { user: &self.user, owner: &owner, session: None, shown: None, policy: Policy::Allow };
        let told =
            Told { user: &self.user, step: Step::Online, by: self.by, number: 1, wait_ms: LIFETIME_MS };
        let attempt = Attempt { to: &self.user, from: &self.user, key: &self.key, by: self.by, number: 1 };
        vec![
            trial("the script claim", claim::call(&self.keys, &claim, &live)),
            trial("the script find", find::call(&self.keys, &self.user, &live)),
            trial("the script once", attempt.begin(&self.keys)),
            trial("the script once", attempt.withdraw(&self.keys)),
            trial("the script told", told::call(&self.keys, &told, &live)),
            trial("the script release", release::call(&self.keys, &self.user, &owner, Missing::default())),
        ]
    }

    /// Returns the call that deletes everything that the trials have left.
    pub(super) fn cleaning(&self) -> Call {
        let user = self.keys.user(&self.user);
        let (meta, stream) = (self.room.meta(), self.room.stream());
        let (presence, occupied) = (self.room.presence(), self.room.occupied());
        let call = script::Call {
            script: &CLEAN,
            keys: smallvec![user.clone(), self.keys.user_mark(&self.user), meta, stream, presence, occupied],
            args: vec![user, self.room.channel()],
        };
        call.into()
    }
}

fn trial(name: &'static str, call: script::Call) -> Trial {
    Trial { name, call: call.into() }
}
