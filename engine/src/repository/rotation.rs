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
use crate::words::{BlobKind, Error, Result, Timestamp};

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
    /// should lose their rights first.
    ///
    /// # Errors
    /// [`Error::RoleTooSmall`] for all but owners; what the store says.
    pub fn rotate(&self, now: Timestamp) -> Result<Rotated> {
        let root = self.keys.root.as_ref().ok_or_else(|| self.role_too_small("an owner"))?;
        let mut keys: Keys = self.keys.for_role(Role::Owner, self.keys.label.clone(), now);
        keys.add_epoch();
        let epoch = keys.data.last().map_or(0, |(number, _)| *number);
        let view = self.refresh()?;
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
        let slots = self.renew_slots(root, &keys)?;
        Ok(Rotated {
            epoch,
            sessions: counted,
            slots,
        })
    }

    /// Writes every slot anew with the new keys of its role, and deletes the old ones. Nobody's passphrase is needed.
    fn renew_slots(&self, root: &SecretPair, keys: &Keys) -> Result<u64> {
        let listed = self.slots()?;
        let mut renewed = Vec::new();
        for info in &listed {
            let object = self.store.get(&info.name)?;
            let old = Slot::from_object(&info.name, &object)?;
            let note = SlotNote::open(root, &info.name, &old.note)?;
            let keys = keys.for_role(note.role, note.label, note.created);
            let (name, slot) = match &old.unlock {
                Unlock::Recipient => {
                    let version = self.next_version(old.public)?;
                    slots::recipient_slot(&self.config, root, &keys, old.public, version)?
                }
                Unlock::Passphrase { .. } => slots::renewed_passphrase_slot(&self.config, root, &keys, &old)?,
            };
            self.store.put(&name, slot.to_object()?.into())?;
            renewed.push(info.name.clone());
        }
        // All new ones are durable before an old one goes: whoever is interrupted can still open the repository.
        self.store.delete(&renewed)?;
        Ok(renewed.len() as u64)
    }
}
