//! Key slots: who may do what (FORMAT.md, 3).

use zeroize::Zeroizing;

use super::open::{Credential, Repository};
use crate::crypto::key_text::{HolderKey, root_fingerprint};
use crate::crypto::passphrase::{self, PassphraseCost};
use crate::crypto::{PublicKey, Secret, SecretPair};
use crate::format::config::Config;
use crate::format::keys::{Keys, Role, Slot, SlotNote, Unlock};
use crate::store::Store;
use crate::words::id::random_bytes;
use crate::words::{Error, ObjectName, Result, Timestamp};

const PREFIX: &str = "keys/";

/// A slot as its owner sees it.
#[derive(Clone, Debug)]
pub struct SlotInfo {
    /// The object's name.
    pub name: ObjectName,
    /// Passphrase or recipient.
    pub unlock: Unlock,
    /// The holder's public key.
    pub public: PublicKey,
    /// When the store received it.
    pub stored: Timestamp,
    /// Whether it is the slot that opened the repository.
    pub current: bool,
    /// Role and label; owners see everybody's, others their own.
    pub note: Option<SlotNote>,
}

/// Who gets a new slot.
pub enum Holder {
    /// Whoever knows the passphrase.
    Passphrase(Zeroizing<Vec<u8>>, PassphraseCost),
    /// Whoever has the key to this recipient.
    Recipient(PublicKey),
    /// A key that is drawn now and given back.
    NewKey,
}

fn binding(material: &[u8; 32], config: &Config) -> [u8; 32] {
    let key = Secret::new(blake3::derive_key("ararat v1 slot binding", material));
    let message = [config.repository.0.as_slice(), &config.root_public.0].concat();
    *key.subkey(&message).expose()
}

fn info(config: &Config, name: &str) -> Result<Vec<u8>> {
    // The info names the slot by its 16 bytes, so that a payload cannot be moved to another slot's name.
    let id = name.strip_prefix(PREFIX).and_then(|rest| rest.get(..32));
    let id = id.and_then(|id| data_encoding::HEXLOWER.decode(id.as_bytes()).ok());
    let id = id.ok_or_else(|| Error::damaged(name, "it is not the name of a key slot"))?;
    Ok([b"ararat v1 slot".as_slice(), &config.repository.0, &id].concat())
}

fn recipient_name(public: PublicKey, version: u32) -> ObjectName {
    let id = blake3::derive_key("ararat v1 slot name", &public.0);
    let id = data_encoding::HEXLOWER.encode(&id[..16]);
    if version == 0 {
        format!("{PREFIX}{id}")
    } else {
        format!("{PREFIX}{id}.{version:08x}")
    }
}

fn random_name() -> ObjectName {
    format!("{PREFIX}{}", data_encoding::HEXLOWER.encode(&random_bytes::<16>()))
}

/// A fresh key for a holder of this repository.
pub fn new_holder_key(config: &Config) -> HolderKey {
    HolderKey {
        pair: SecretPair::random(),
        root_fingerprint: root_fingerprint(&config.repository, &config.root_public),
    }
}

/// The keys wrapped for the holder, and the note for owners.
fn sealed(
    config: &Config,
    root: &SecretPair,
    keys: &Keys,
    name: &str,
    public: PublicKey,
) -> Result<(Vec<u8>, Vec<u8>)> {
    let sealed = root
        .wrap_from(public, &info(config, name)?, &keys.encode()?)
        .map_err(|_| Error::Invalid("The recipient is not a usable public key".into()))?;
    let note = SlotNote {
        role: keys.role,
        label: keys.label.clone(),
        created: keys.created,
    };
    Ok((sealed, note.seal(root, name)?))
}

/// The slot of a passphrase: its name and content.
///
/// # Errors
/// [`Error::Invalid`] when the cost is out of range.
pub fn passphrase_slot(
    config: &Config,
    root: &SecretPair,
    keys: &Keys,
    passphrase: &[u8],
    cost: PassphraseCost,
) -> Result<(ObjectName, Slot)> {
    let salt = random_bytes();
    let material = passphrase::stretch(passphrase, &salt, cost)?;
    let public = SecretPair::derive(&material).public();
    let name = random_name();
    let (sealed, note) = sealed(config, root, keys, &name, public)?;
    let unlock = Unlock::Passphrase { salt, cost };
    Ok((
        name,
        Slot {
            unlock,
            public,
            binding: binding(material.expose(), config),
            sealed,
            note,
        },
    ))
}

/// A passphrase's slot under a fresh name with other keys; nobody needs the passphrase for it.
///
/// # Errors
/// [`Error::Invalid`] when the old slot's public key is not usable.
pub fn renewed_passphrase_slot(
    config: &Config,
    root: &SecretPair,
    keys: &Keys,
    old: &Slot,
) -> Result<(ObjectName, Slot)> {
    let name = random_name();
    let (sealed, note) = sealed(config, root, keys, &name, old.public)?;
    Ok((
        name,
        Slot {
            sealed,
            note,
            ..old.clone()
        },
    ))
}

/// The slot of a recipient: its name and content. `version` counts how often it has been written anew.
///
/// # Errors
/// [`Error::Invalid`] when the recipient is not a usable public key.
pub fn recipient_slot(
    config: &Config,
    root: &SecretPair,
    keys: &Keys,
    public: PublicKey,
    version: u32,
) -> Result<(ObjectName, Slot)> {
    let name = recipient_name(public, version);
    let (sealed, note) = sealed(config, root, keys, &name, public)?;
    Ok((
        name,
        Slot {
            unlock: Unlock::Recipient,
            public,
            binding: binding(&public.0, config),
            sealed,
            note,
        },
    ))
}

/// Finds the slot that the credential opens, and opens it.
///
/// # Errors
/// [`Error::WrongKey`]; [`Error::Damaged`] when a slot answers to the credential but does not hold what it should.
pub fn unlock(store: &Store, config: &Config, credential: &Credential) -> Result<(ObjectName, Keys)> {
    if let Credential::Key(key) = credential {
        check_root(config, key)?;
        // The usual case costs one request: a recipient's slot has a name that follows from its key.
        let name = recipient_name(key.pair.public(), 0);
        match store.get(&name) {
            Ok(object) => return open_slot(config, &name, &Slot::from_object(&name, &object)?, &key.pair),
            Err(Error::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let names: Vec<ObjectName> = store.list(PREFIX)?.into_iter().map(|object| object.name).collect();
    let objects = store.get_many(names.iter().map(|name| (name.clone(), None)).collect());
    let mut tried = 0;
    // Newest version last by name; the highest counts.
    for (name, object) in names.iter().zip(objects).rev() {
        let object = match object {
            Ok(object) => object,
            Err(Error::Missing { .. }) => continue,
            Err(error) => return Err(error),
        };
        let slot = Slot::from_object(name, &object)?;
        tried += 1;
        match (&slot.unlock, credential) {
            (Unlock::Recipient, Credential::Key(key)) if key.pair.public() == slot.public => {
                return open_slot(config, name, &slot, &key.pair);
            }
            (Unlock::Passphrase { salt, cost }, Credential::Passphrase(passphrase)) => {
                let material = passphrase::stretch(passphrase, salt, *cost)?;
                let pair = SecretPair::derive(&material);
                if pair.public() == slot.public {
                    if slot.binding != binding(material.expose(), config) {
                        return Err(Error::damaged(name, "it belongs to another repository or owner"));
                    }
                    return open_slot(config, name, &slot, &pair);
                }
            }
            (Unlock::Recipient, _) | (Unlock::Passphrase { .. }, Credential::Key(_)) => {}
        }
    }
    Err(Error::WrongKey {
        location: store.location().to_string(),
        slots: tried,
    })
}

fn check_root(config: &Config, key: &HolderKey) -> Result<()> {
    let expected = root_fingerprint(&config.repository, &config.root_public);
    if key.root_fingerprint != [0; 16] && key.root_fingerprint != expected {
        let why = "the key was made for another repository, or the repository's identity was replaced";
        return Err(Error::damaged(crate::format::config::NAME, why));
    }
    Ok(())
}

fn open_slot(config: &Config, name: &str, slot: &Slot, pair: &SecretPair) -> Result<(ObjectName, Keys)> {
    let opened = pair.unwrap_from(config.root_public, &info(config, name)?, &slot.sealed);
    let opened = opened.map_err(|_| Error::damaged(name, "it was not made by an owner of this repository"))?;
    Ok((name.to_owned(), Keys::decode(name, &Zeroizing::new(opened))?))
}

impl Repository {
    fn root(&self) -> Result<&SecretPair> {
        self.keys.root.as_ref().ok_or(self.role_too_small("an owner"))
    }

    /// Every slot.
    ///
    /// # Errors
    /// What the store says; [`Error::Damaged`].
    pub fn slots(&self) -> Result<Vec<SlotInfo>> {
        let listed = self.store.list(PREFIX)?;
        let objects = self
            .store
            .get_many(listed.iter().map(|object| (object.name.clone(), None)).collect());
        let mut slots = Vec::with_capacity(listed.len());
        for (listed, object) in listed.into_iter().zip(objects) {
            let slot = Slot::from_object(&listed.name, &object?)?;
            let current = listed.name == self.slot;
            let note = match &self.keys.root {
                Some(root) => Some(SlotNote::open(root, &listed.name, &slot.note)?),
                None => current.then(|| SlotNote {
                    role: self.keys.role,
                    label: self.keys.label.clone(),
                    created: self.keys.created,
                }),
            };
            let (unlock, public, stored) = (slot.unlock, slot.public, listed.modified);
            slots.push(SlotInfo {
                name: listed.name,
                unlock,
                public,
                stored,
                current,
                note,
            });
        }
        Ok(slots)
    }

    /// Adds a slot. Gives its name, and the key when one was drawn.
    ///
    /// # Errors
    /// [`Error::RoleTooSmall`] for all but owners; what the store says.
    pub fn add_slot(
        &self,
        holder: Holder,
        role: Role,
        label: String,
        now: Timestamp,
    ) -> Result<(ObjectName, Option<HolderKey>)> {
        let root = self.root()?;
        let keys = self.keys.for_role(role, label, now);
        let (slot, key) = match holder {
            Holder::Passphrase(passphrase, cost) => {
                (passphrase_slot(&self.config, root, &keys, &passphrase, cost)?, None)
            }
            Holder::Recipient(public) => (
                recipient_slot(&self.config, root, &keys, public, self.next_version(public)?)?,
                None,
            ),
            Holder::NewKey => {
                let key = new_holder_key(&self.config);
                (
                    recipient_slot(&self.config, root, &keys, key.pair.public(), 0)?,
                    Some(key),
                )
            }
        };
        self.store.put(&slot.0, slot.1.to_object()?.into())?;
        Ok((slot.0, key))
    }

    pub(super) fn next_version(&self, public: PublicKey) -> Result<u32> {
        let first = recipient_name(public, 0);
        let listed = self.store.list(PREFIX)?;
        let versions = listed
            .iter()
            .filter(|object| object.name.starts_with(&first))
            .map(|object| {
                let suffix = object.name.get(first.len() + 1..).unwrap_or("0");
                u32::from_str_radix(suffix, 16).unwrap_or(0)
            });
        Ok(versions.max().map_or(0, |highest| highest + 1))
    }

    /// Removes a slot by its name or the beginning of it. Its holder can open the repository no longer; what it learned before it keeps.
    ///
    /// # Errors
    /// [`Error::Invalid`] when no slot or more than one answers to the name, or when it is the one in use.
    pub fn remove_slot(&self, wanted: &str) -> Result<ObjectName> {
        self.root()?;
        let wanted = format!("{PREFIX}{}", wanted.strip_prefix(PREFIX).unwrap_or(wanted));
        let listed = self.store.list(PREFIX)?;
        let found: Vec<_> = listed
            .into_iter()
            .filter(|object| object.name.starts_with(&wanted))
            .collect();
        let [slot] = found.as_slice() else {
            return Err(Error::Invalid(format!(
                "{} key slots begin with `{wanted}`; one is needed",
                found.len()
            )));
        };
        if slot.name == self.slot {
            return Err(Error::Invalid(
                "The slot in use cannot be removed; open the repository with another key".into(),
            ));
        }
        self.store.delete(std::slice::from_ref(&slot.name))?;
        Ok(slot.name.clone())
    }

    /// Puts a passphrase in the place of the slot in use. Gives the new slot's name.
    ///
    /// # Errors
    /// [`Error::RoleTooSmall`] for all but owners; what the store says.
    pub fn change_passphrase(&self, passphrase: Zeroizing<Vec<u8>>, cost: PassphraseCost) -> Result<ObjectName> {
        let (role, label, created) = (self.keys.role, self.keys.label.clone(), self.keys.created);
        let (name, _) = self.add_slot(Holder::Passphrase(passphrase, cost), role, label, created)?;
        // The new one is durable before the old one goes.
        self.store.delete(std::slice::from_ref(&self.slot))?;
        Ok(name)
    }
}
