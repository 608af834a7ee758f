//! The receivers of a configuration, each with its folder on disk if there is one.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Webhooks;
use super::disk::{Disk, DiskError, Store};
use super::receiver::{Receiver, Wishes, bits};
use crate::config::{self, Url};

impl Webhooks {
    /// Lets each receiver continue with the events that wait on disk.
    pub(super) fn open_disk(&self, disk: Disk) -> Result<(), DiskError> {
        let mut known = HashSet::new();
        for receiver in &*self.shared.receivers.read() {
            let wishes = receiver.wishes();
            let turn = (0..).find(|turn| !known.contains(&disk.path(&wishes.url, *turn))).unwrap_or(0);
            let store = disk.store(&wishes.url, turn)?;
            known.insert(store.dir().to_owned());
            if store.len() > 0 {
                tracing::info!(webhook = wishes.place, events = store.len(), "events wait in webhooks.dir");
            }
            receiver.queue.lock().wait_in(store);
        }
        disk.remove_others(&known)?;
        let is_first = self.disk.set(disk).is_ok();
        debug_assert!(is_first, "webhooks are started once");
        Ok(())
    }

    /// Opens the folders of the receivers that are new, in their order.
    pub(super) fn stores_of_new(&self, configured: &[config::Webhook]) -> Result<Vec<Store>, DiskError> {
        let Some(disk) = self.disk.get() else { return Ok(Vec::new()) };
        let mut old: Vec<(Url, PathBuf)> = Vec::new();
        for receiver in &*self.shared.receivers.read() {
            let dir = receiver.queue.lock().store().map(|store| store.dir().to_owned());
            old.extend(dir.map(|dir| (receiver.wishes().url.clone(), dir)));
        }
        let mut taken: HashSet<PathBuf> = old.iter().map(|(_, dir)| dir.clone()).collect();
        let mut stores = Vec::new();
        for receiver in configured {
            if let Some(index) = old.iter().position(|(url, _)| *url == receiver.url) {
                old.remove(index);
                continue;
            }
            let turn = (0..).find(|turn| !taken.contains(&disk.path(&receiver.url, *turn))).unwrap_or(0);
            let store = disk.store(&receiver.url, turn)?;
            taken.insert(store.dir().to_owned());
            stores.push(store);
        }
        Ok(stores)
    }

    /// Sets the receivers; returns those that are new. On disk they get `stores`, one each.
    pub(super) fn set_receivers(
        &self,
        configured: &[config::Webhook],
        stores: Vec<Store>,
    ) -> Vec<Arc<Receiver>> {
        let mut stores = stores.into_iter();
        let mut receivers = self.shared.receivers.write();
        let mut old = std::mem::take(&mut *receivers);
        let mut added = Vec::new();
        for (place, receiver) in configured.iter().enumerate() {
            let wishes = Wishes::new(place, receiver);
            let is_same = |known: &Arc<Receiver>| known.wishes().url == receiver.url;
            match old.iter().position(is_same) {
                Some(index) => {
                    let known = old.remove(index);
                    known.renew(wishes);
                    receivers.push(known);
                }
                None => {
                    let new = Arc::new(Receiver::new(wishes));
                    if let Some(store) = stores.next() {
                        new.queue.lock().wait_in(store);
                    }
                    added.push(Arc::clone(&new));
                    receivers.push(new);
                }
            }
        }
        // Deleting files may take a while, in which nobody who has news may wait.
        drop(receivers);
        for gone in old {
            gone.is_removed.store(true, Relaxed);
            let (left, place) = (gone.switch_off(), gone.wishes().place);
            if let Some(store) = gone.queue.lock().store() {
                store.discard();
            }
            tracing::info!(webhook = place, left, "a webhook was taken out of the configuration");
        }
        let wanted = configured.iter().fold(0, |wanted, receiver| wanted | bits(&receiver.events));
        self.wanted.store(wanted, Relaxed);
        added
    }
}
