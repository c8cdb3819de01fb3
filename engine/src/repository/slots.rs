//! Key slots: who may do what (FORMAT.md, 3).

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::open::{Credential, Repository};
use crate::crypto::key_text::{HolderKey, root_fingerprint};
use crate::crypto::passphrase::{self, PassphraseCost};
use crate::crypto::{PublicKey, Secret, SecretPair};
use crate::format::config::Config;
use crate::format::keys::{Keys, Role, Slot, SlotNote, Unlock};
use crate::store::Store;
use crate::store::backend::ObjectInfo;
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
        epoch: keys.epoch(),
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

/// Finds the slot that the credential opens, and opens it. A slot that cannot be read, or that holds what it should not, is passed over: anybody
/// who can create objects can put one there, and so can an `init` that died.
///
/// # Errors
/// [`Error::WrongKey`]; what was wrong with a slot that was passed over, when no other opens.
pub fn unlock(
    store: &Store,
    config: &Config,
    config_object: &[u8],
    credential: &Credential,
    memory: Option<&Path>,
) -> Result<(ObjectName, Keys)> {
    let mut listed = store.list(PREFIX)?;
    // Of a recipient's slots the highest version counts.
    listed.sort_unstable_by(|a, b| b.name.cmp(&a.name));
    let slots = listed.len();
    if let Credential::Key(key) = credential {
        let own = recipient_name(key.pair.public(), 0);
        listed.retain(|object| holder_of(&object.name) == own);
        if !is_of_root(config, key) && !listed.is_empty() {
            let why = "the key was made for another owner: the repository's identity was replaced";
            return Err(Error::damaged(crate::format::config::NAME, why));
        }
    }
    let opening = Opening {
        config,
        config_hash: *blake3::hash(config_object).as_bytes(),
    };
    let mut passed_over = None;
    let mut found: Option<(ObjectName, Keys)> = None;
    let mut stretched = HashMap::new();
    // The usual case costs one request: a key has one slot, and a copy of it was kept when it was last opened.
    let memory = memory.filter(|_| matches!(credential, Credential::Key(_)));
    let copies: Vec<_> = listed
        .iter()
        .map(|object| memory.map(|folder| copy_of(folder, store, object)))
        .collect();
    if let (Some(first), Some(Some(path))) = (listed.first(), copies.first())
        && let Ok(object) = std::fs::read(path)
        && let Ok(Some(keys)) = opening.open(&first.name, &object, credential, &mut stretched)
    {
        return Ok((first.name.clone(), keys));
    }
    let objects = store.get_many(listed.iter().map(|object| (object.name.clone(), None)).collect());
    for ((listed, copy), object) in listed.into_iter().zip(copies).zip(objects) {
        let name = listed.name;
        let opened = match &object {
            Ok(object) => opening.open(&name, object, credential, &mut stretched),
            Err(Error::Missing { .. }) => continue,
            Err(_) => Ok(None),
        };
        match (opened, object) {
            (_, Err(error)) => return Err(error),
            (Ok(None), _) => {}
            (Ok(Some(keys)), Ok(object)) if matches!(credential, Credential::Key(_)) => {
                if let Some(path) = copy {
                    // A copy that cannot be kept costs a request next time.
                    let _ = path.parent().map(std::fs::create_dir_all);
                    let _ = std::fs::write(path, &object);
                }
                return Ok((name, keys));
            }
            // A rotation that is under way leaves two slots of one passphrase, and their names do not say which is newer.
            (Ok(Some(keys)), _) => {
                if found.as_ref().is_none_or(|(_, known)| keys.epoch() > known.epoch()) {
                    found = Some((name, keys));
                }
            }
            (Err(error), _) => passed_over = passed_over.or(Some(error)),
        }
    }
    let wrong = Error::WrongKey {
        location: store.location().to_string(),
        slots,
    };
    found.ok_or_else(|| passed_over.unwrap_or(wrong))
}

/// Where a copy of a slot is kept. It is sealed as in the store, and one that was replaced has another name, size or time.
fn copy_of(folder: &Path, store: &Store, object: &ObjectInfo) -> PathBuf {
    let what = format!(
        "{}\n{}\n{}\n{}",
        store.location(),
        object.name,
        object.size,
        object.modified.0
    );
    folder.join(&blake3::hash(what.as_bytes()).to_hex()[..32])
}

/// What slots are opened for.
struct Opening<'a> {
    config: &'a Config,
    config_hash: [u8; 32],
}

impl Opening<'_> {
    /// The keys in a slot; nothing when it does not answer to the credential. Passphrases are stretched once for each salt.
    fn open(
        &self,
        name: &str,
        object: &[u8],
        credential: &Credential,
        stretched: &mut HashMap<[u8; 16], (PassphraseCost, Secret)>,
    ) -> Result<Option<Keys>> {
        let slot = Slot::from_object(name, object)?;
        let pair = match (&slot.unlock, credential) {
            (Unlock::Recipient, Credential::Key(key)) => key.pair.clone(),
            (Unlock::Passphrase { salt, cost }, Credential::Passphrase(passphrase)) => {
                let material = match stretched.get(salt).filter(|(known, _)| known == cost) {
                    Some((_, material)) => material.clone(),
                    None => passphrase::stretch(passphrase, salt, *cost)?,
                };
                let pair = SecretPair::derive(&material);
                if pair.public() == slot.public && slot.binding != binding(material.expose(), self.config) {
                    return Err(Error::damaged(name, "it belongs to another repository or owner"));
                }
                stretched.insert(*salt, (*cost, material));
                pair
            }
            (Unlock::Recipient, _) | (Unlock::Passphrase { .. }, Credential::Key(_)) => return Ok(None),
        };
        if pair.public() != slot.public {
            return Ok(None);
        }
        let opened = pair.unwrap_from(self.config.root_public, &info(self.config, name)?, &slot.sealed);
        let opened = opened.map_err(|_| Error::damaged(name, "it was not made by an owner of this repository"))?;
        let keys = Keys::decode(name, &Zeroizing::new(opened))?;
        if keys.config_hash != self.config_hash {
            return Err(Error::damaged(
                name,
                "it was made for another `config` than the one that is there",
            ));
        }
        Ok(Some(keys))
    }
}

fn is_of_root(config: &Config, key: &HolderKey) -> bool {
    let expected = root_fingerprint(&config.repository, &config.root_public);
    key.root_fingerprint == [0; 16] || key.root_fingerprint == expected
}

/// A slot's name without the counter of its version: all versions of a recipient's slot share it.
fn holder_of(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// The names of every version of a recipient's slot that is there, and the version that comes next.
pub(super) fn versions(store: &Store, public: PublicKey) -> Result<(Vec<ObjectName>, u32)> {
    let first = recipient_name(public, 0);
    let mut names: Vec<ObjectName> = store.list(PREFIX)?.into_iter().map(|object| object.name).collect();
    names.retain(|name| holder_of(name) == first);
    let highest = names.iter().map(|name| version_of(name)).max();
    Ok((names, highest.map_or(0, |highest| highest.saturating_add(1))))
}

/// Which version of its slot a name stands for.
pub(super) fn version_of(name: &str) -> u32 {
    let counter = name.split_once('.').map_or("0", |(_, counter)| counter);
    u32::from_str_radix(counter, 16).unwrap_or(0)
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
                    epoch: self.keys.epoch(),
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

    /// Adds a slot; that of a recipient replaces the one it has. Gives its name, and the key when one was drawn.
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
        let mut replaced = Vec::new();
        let (slot, key) = match holder {
            Holder::Passphrase(passphrase, cost) => {
                (passphrase_slot(&self.config, root, &keys, &passphrase, cost)?, None)
            }
            Holder::Recipient(public) => {
                let (known, next) = versions(&self.store, public)?;
                if known.contains(&self.slot) {
                    return Err(Error::Invalid(
                        "The slot in use cannot be replaced; open the repository with another key".into(),
                    ));
                }
                replaced = known;
                (recipient_slot(&self.config, root, &keys, public, next)?, None)
            }
            Holder::NewKey => {
                let key = new_holder_key(&self.config);
                (
                    recipient_slot(&self.config, root, &keys, key.pair.public(), 0)?,
                    Some(key),
                )
            }
        };
        self.store.put(&slot.0, slot.1.to_object()?.into())?;
        // The new one is durable before what it replaces goes.
        self.store.delete(&replaced)?;
        Ok((slot.0, key))
    }

    /// Every version of the one slot that has this name or begins with it, the newest last: what [`remove_slot`](Self::remove_slot) would delete.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is not exactly one holder's or the one in use; [`Error::RoleTooSmall`] for all but owners; what the store says.
    pub fn removable_slot(&self, wanted: &str) -> Result<Vec<ObjectName>> {
        self.root()?;
        let wanted = format!("{PREFIX}{}", wanted.strip_prefix(PREFIX).unwrap_or(wanted));
        let listed: Vec<ObjectName> = self.store.list(PREFIX)?.into_iter().map(|object| object.name).collect();
        let found = listed.iter().filter(|name| name.starts_with(&wanted));
        let holders: BTreeSet<String> = found.map(|name| holder_of(name).to_owned()).collect();
        let holder = match holders.len() {
            1 => holders.into_iter().next().unwrap_or_default(),
            // A whole name means itself, whatever else begins with it.
            _ if holders.contains(&wanted) => wanted,
            count => {
                return Err(Error::Invalid(format!(
                    "{count} key slots begin with `{wanted}`; one is needed"
                )));
            }
        };
        // A holder goes with every version of its slot: an older one that is left would open the repository again.
        let mut versions: Vec<ObjectName> = listed.into_iter().filter(|name| holder_of(name) == holder).collect();
        if versions.contains(&self.slot) {
            return Err(Error::Invalid(
                "The slot in use cannot be removed; open the repository with another key".into(),
            ));
        }
        versions.sort();
        Ok(versions)
    }

    /// Removes a slot by its name or the beginning of it, and gives its name. Its holder can open the repository no longer; what it learned before it keeps.
    ///
    /// # Errors
    /// As [`removable_slot`](Self::removable_slot).
    pub fn remove_slot(&self, wanted: &str) -> Result<ObjectName> {
        let versions = self.removable_slot(wanted)?;
        self.store.delete(&versions)?;
        versions
            .into_iter()
            .next_back()
            .ok_or_else(|| Error::Invalid(format!("No key slot begins with `{wanted}`")))
    }

    /// Puts a passphrase in the place of the one in use. Gives the new slot's name.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a key is in use, whose slot would be lost; [`Error::RoleTooSmall`] for all but owners; what the store says.
    pub fn change_passphrase(&self, passphrase: Zeroizing<Vec<u8>>, cost: PassphraseCost) -> Result<ObjectName> {
        self.root()?;
        let slot = Slot::from_object(&self.slot, &self.store.get(&self.slot)?)?;
        if slot.unlock == Unlock::Recipient {
            return Err(Error::Invalid(
                "The repository was opened with a key, which has no password to change; `ararat repo key add` adds a password beside it".into(),
            ));
        }
        let (role, label, created) = (self.keys.role, self.keys.label.clone(), self.keys.created);
        let (name, _) = self.add_slot(Holder::Passphrase(passphrase, cost), role, label, created)?;
        // The new one is durable before the old one goes.
        self.store.delete(std::slice::from_ref(&self.slot))?;
        Ok(name)
    }
}
