//! Rotation: new data and tree keys for what is written from now on; the session keys of before, wrapped anew. No data moves.
//!
//! What it takes away: whoever loses its slot can open nothing that is written afterwards, and nothing older through the repository. Session keys
//! that it has copied before stay useful to it for the old data; only writing that data again would change that.

use std::collections::BTreeSet;

use super::open::Repository;
use super::slots;
use crate::crypto::SecretPair;
use crate::format::generation::{Rewrap, rewrap_name};
use crate::format::keys::{Keys, Role, Slot, SlotNote, Unlock};
use crate::format::open::rewrap_key;
use crate::words::{BlobKind, Error, ObjectName, Result, Timestamp};

/// What a rotation did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotated {
    /// The epoch that is used from now on.
    pub epoch: u32,
    /// Sessions whose keys were wrapped anew.
    pub sessions: u64,
    /// Slots that were written anew.
    pub slots: u64,
}

/// Session keys in one object at most.
const AT_ONCE: usize = 4096;

impl Repository {
    /// Adds an epoch, wraps every session key for it, and writes every slot anew with the keys of its role. Remove the slots of those who
    /// should lose their rights first. One that was interrupted is repeated by calling this again.
    ///
    /// # Errors
    /// [`Error::RoleTooSmall`] for all but owners; [`Error::Damaged`] while some session cannot be read; what the store says.
    pub fn rotate(&self, now: Timestamp) -> Result<Rotated> {
        let root = self.keys.root.as_ref().ok_or_else(|| self.role_too_small("an owner"))?;
        let mut keys: Keys = self.keys.for_role(Role::Owner, self.keys.label.clone(), now);
        let slots = self.slots_to_renew(root)?;
        let epoch = self.next_epoch(&slots)?;
        keys.add_epoch(epoch);
        // Whole: a session that is left out because something is damaged would keep its keys in the old epoch alone.
        let view = self.load_whole_view()?;
        let newest = |kind: BlobKind| {
            let epochs = if kind == BlobKind::Data { &keys.data } else { &keys.tree };
            epochs
                .last()
                .and_then(|(number, halves)| Some((*number, halves.public?)))
        };
        let sessions: BTreeSet<_> = view.folded.keys().chain(view.sessions.keys()).copied().collect();
        let mut wrapped = Vec::new();
        let mut counted = 0;
        for session in sessions {
            let mut any = false;
            for kind in [BlobKind::Data, BlobKind::Tree] {
                let Some(public) = newest(kind) else { continue };
                let key = match self.session_key(&view, session, kind) {
                    Ok(key) => key,
                    // A repack or read session has no keys; a session that is gone needs none.
                    Err(Error::RoleTooSmall { .. } | Error::Missing { .. }) => continue,
                    Err(error) => return Err(error),
                };
                wrapped.push((session, rewrap_key(self.id(), session, kind, public, &key, root)?));
                any = true;
            }
            counted += u64::from(any);
        }
        for (number, some) in wrapped.chunks(AT_ONCE).enumerate() {
            let name = rewrap_name(epoch, number as u32);
            let object = Rewrap { keys: some.to_vec() }.to_object(self.id(), &name, &self.keys.index)?;
            self.store.put(&name, object.into())?;
        }
        let slots = self.renew_slots(root, &keys, slots)?;
        Ok(Rotated {
            epoch,
            sessions: counted,
            slots,
        })
    }

    /// The epoch after every one that there is. One that was begun and not finished is never used again: its pairs may be lost.
    fn next_epoch(&self, slots: &[Renewed]) -> Result<u32> {
        let own = self.keys.epoch();
        // Its keys may be in use, and we do not have them: what was sealed for them would be lost.
        if let Some(ahead) = slots.iter().find(|slot| slot.note.epoch > own) {
            return Err(Error::Invalid(format!(
                "A rotation was interrupted that this key knows nothing of; rotate with the key of {} (`{}`), which does",
                ahead.name, ahead.note.label
            )));
        }
        let listed = self.store.list("k/")?;
        let epochs = listed
            .iter()
            .filter_map(|object| u32::from_str_radix(object.name.strip_prefix("k/")?.split('/').next()?, 16).ok());
        let highest = epochs.max().unwrap_or(0).max(own);
        highest
            .checked_add(1)
            .ok_or_else(|| Error::damaged("k/ffffffff", "no epoch is left after it; no rotation has written it"))
    }

    /// Every slot that an owner made: the newest of each holder first to be written anew. One that cannot be read is left as it is.
    fn slots_to_renew(&self, root: &SecretPair) -> Result<Vec<Renewed>> {
        let mut slots = Vec::new();
        for listed in self.store.list("keys/")? {
            let object = match self.store.get(&listed.name) {
                Ok(object) => object,
                Err(Error::Missing { .. }) => continue,
                Err(error) => return Err(error),
            };
            let read = Slot::from_object(&listed.name, &object)
                .and_then(|slot| Ok((SlotNote::open(root, &listed.name, &slot.note)?, slot)));
            match read {
                Ok((note, slot)) => slots.push(Renewed {
                    name: listed.name,
                    slot,
                    note,
                }),
                Err(Error::Damaged { .. } | Error::NewerFormat { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(slots)
    }

    /// Writes every slot anew with the new keys of its role, and deletes the old ones. Nobody's passphrase is needed.
    ///
    /// Our own comes first, then other owners': whoever is interrupted holds every key that anybody can have begun to use, and can rotate again.
    fn renew_slots(&self, root: &SecretPair, keys: &Keys, mut old: Vec<Renewed>) -> Result<u64> {
        old.sort_by_key(|old| {
            let newest = (slots::version_of(&old.name), old.note.epoch);
            (
                old.name != self.slot,
                old.note.role != Role::Owner,
                std::cmp::Reverse(newest),
            )
        });
        let mut done = BTreeSet::new();
        for Renewed { slot, note, .. } in &old {
            // What an interrupted rotation left of the same holder goes with the rest.
            if !done.insert(slot.public) {
                continue;
            }
            let keys = keys.for_role(note.role, note.label.clone(), note.created);
            let (name, slot) = match &slot.unlock {
                Unlock::Recipient => {
                    let (_, next) = slots::versions(&self.store, slot.public)?;
                    slots::recipient_slot(&self.config, root, &keys, slot.public, next)?
                }
                Unlock::Passphrase { .. } => slots::renewed_passphrase_slot(&self.config, root, &keys, slot)?,
            };
            self.store.put(&name, slot.to_object()?.into())?;
        }
        // All new ones are durable before an old one goes: whoever is interrupted can still open the repository.
        let gone: Vec<_> = old.into_iter().map(|old| old.name).collect();
        self.store.delete(&gone)?;
        Ok(done.len() as u64)
    }
}

/// A slot before it is written anew.
struct Renewed {
    name: ObjectName,
    slot: Slot,
    note: SlotNote,
}
