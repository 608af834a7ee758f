//! Asks servers without a link for the map of a cluster's slots: at the start, and when no link is up.

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::super::link::ask_once;
use super::super::script::Reply;
use super::super::topology::SlotMap;
use super::links::{Links, Servers};
use crate::config::Address;

/// An answer to `CLUSTER SHARDS` with the address of the server, or why there is none.
pub(super) type MapAnswer = Result<(Address, Reply), NoMap>;

/// Why the map could not be read.
#[derive(Debug)]
pub(super) struct NoMap {
    pub(super) reason: String,
    /// Trying again does not help.
    pub(super) is_lasting: bool,
}

impl From<String> for NoMap {
    fn from(reason: String) -> Self {
        Self { reason, is_lasting: false }
    }
}

/// The question for the map that goes to servers without a link, while it is under way.
#[derive(Debug, Default)]
pub(super) struct Seeds {
    asking: Option<(u64, JoinHandle<MapAnswer>)>,
}

impl Seeds {
    /// Asks the servers of the configuration, and those that the map names, one after the other.
    pub(super) fn ask(&mut self, number: u64, links: &Links) {
        let servers = links.servers().clone();
        let mut addresses = servers.addresses.clone();
        addresses.extend(links.map().map(SlotMap::servers).unwrap_or_default().iter().cloned());
        self.asking = Some((number, tokio::spawn(ask_in_turn(servers, addresses))));
    }

    /// Waits for the answer and the number of its reading. May be dropped while it waits.
    pub(super) async fn answered(&mut self) -> (u64, MapAnswer) {
        let Some((number, asking)) = &mut self.asking else { return std::future::pending().await };
        let answer =
            asking.await.unwrap_or_else(|error| Err(NoMap { reason: error.to_string(), is_lasting: false }));
        let number = *number;
        self.asking = None;
        (number, answer)
    }
}

/// Asks one server after the other for the map, until one answers.
async fn ask_in_turn(servers: Servers, addresses: Vec<Address>) -> MapAnswer {
    let mut failures = Vec::new();
    let mut is_lasting = true;
    for address in addresses {
        let args = [Bytes::from_static(b"SHARDS")];
        match Box::pin(ask_once(&servers.at(&address), "CLUSTER", &args)).await {
            Ok(reply) => return Ok((address, reply)),
            Err(reason) => {
                is_lasting &= reason.is_lasting();
                failures.push(format!("{address}: {reason}"));
            }
        }
    }
    Err(NoMap { reason: failures.join("; "), is_lasting })
}
