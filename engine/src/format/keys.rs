//! Key slots and what they wrap (FORMAT.md, 3.2 and 3.3).

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::codec;
use super::envelope::{self, Access, Kind};
use crate::crypto::passphrase::PassphraseCost;
use crate::crypto::{PublicKey, Secret, SecretPair, aead};
use crate::words::{Error, Result, Timestamp};

/// What the holder of a slot may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Backs up; reads no data and no tree.
    Writer,
    /// Restores.
    Reader,
    /// Checks structure, prunes, repacks; reads no data and no tree.
    Maintainer,
    /// Everything, keys included.
    Owner,
}

impl Role {
    /// The role with its article, for sentences.
    pub fn with_article(self) -> &'static str {
        match self {
            Self::Writer => "a writer",
            Self::Reader => "a reader",
            Self::Maintainer => "a maintainer",
            Self::Owner => "an owner",
        }
    }

    /// The role as one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::Reader => "reader",
            Self::Maintainer => "maintainer",
            Self::Owner => "owner",
        }
    }
}

/// How the holder's secret is come by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unlock {
    /// Argon2id of a passphrase.
    Passphrase {
        /// Random.
        salt: [u8; 16],
        /// How much work it is.
        cost: PassphraseCost,
    },
    /// The holder has a key.
    Recipient,
}

/// A key slot, as stored: clear around what is wrapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// How the holder's secret is come by.
    pub unlock: Unlock,
    /// The public part of the holder's secret.
    pub public: PublicKey,
    /// Ties the slot to the repository's root (FORMAT.md, 3.2).
    pub binding: [u8; 32],
    /// The keys, wrapped by the root for `public`.
    pub sealed: Vec<u8>,
    /// Role, label and age, sealed for owners: see [`SlotNote`].
    pub note: Vec<u8>,
}

/// What owners see of slots that they do not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotNote {
    /// What the holder may do.
    pub role: Role,
    /// The holder's name, for people.
    pub label: String,
    /// When the slot was first made.
    pub created: Timestamp,
    /// The highest epoch whose keys are in it; 0 for roles that have none.
    pub epoch: u32,
}

#[derive(Serialize, Deserialize)]
enum StoredNote {
    V1(SlotNote),
}

impl SlotNote {
    /// Seals the note of the slot `name`.
    ///
    /// # Errors
    /// None that can happen with a document this small.
    pub fn seal(&self, root: &SecretPair, name: &str) -> Result<Vec<u8>> {
        let document = codec::encode(&StoredNote::V1(self.clone()))?;
        Ok(aead::seal(
            &root.secret().derive("ararat v1 slot note"),
            name.as_bytes(),
            &document,
        ))
    }

    /// Opens the note of the slot `name`.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn open(root: &SecretPair, name: &str, sealed: &[u8]) -> Result<Self> {
        let document = aead::open(&root.secret().derive("ararat v1 slot note"), name.as_bytes(), sealed)
            .map_err(|_| Error::damaged(name, "its note was not sealed by an owner"))?;
        let StoredNote::V1(note) = codec::decode(name, &document)?;
        Ok(note)
    }
}

#[derive(Serialize, Deserialize)]
enum StoredSlot {
    V1(Slot),
}

impl Slot {
    /// The whole object.
    ///
    /// # Errors
    /// None that can happen with a document this small.
    pub fn to_object(&self) -> Result<Vec<u8>> {
        Ok(envelope::clear(
            Kind::Slot,
            &codec::encode(&StoredSlot::V1(self.clone()))?,
        ))
    }

    /// Reads the object called `name`.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::NewerFormat`].
    pub fn from_object(name: &str, object: &[u8]) -> Result<Self> {
        let envelope = envelope::parse(name, Kind::Slot, Access::Read, object)?;
        let StoredSlot::V1(slot) = codec::decode(name, envelope.body)?;
        Ok(slot)
    }
}

/// An X25519 pair of which a role may hold one half, both or none.
#[derive(Clone, Debug, Default)]
pub struct Halves {
    /// To wrap for.
    pub public: Option<PublicKey>,
    /// To unwrap with.
    pub pair: Option<SecretPair>,
}

impl Halves {
    fn of(pair: &SecretPair) -> Self {
        Self {
            public: Some(pair.public()),
            pair: Some(pair.clone()),
        }
    }

    fn only(&self, public: bool, secret: bool) -> Self {
        Self {
            public: self.public.filter(|_| public),
            pair: self.pair.clone().filter(|_| secret),
        }
    }
}

/// The keys of a role.
#[derive(Clone, Debug)]
pub struct Keys {
    /// `hash` of the object `config`: whoever opens a slot knows that the parameters are the owner's.
    pub config_hash: [u8; 32],
    /// What they are for.
    pub role: Role,
    /// The holder's name, for people.
    pub label: String,
    /// When the slot was made.
    pub created: Timestamp,
    /// Names blobs.
    pub id: Option<Secret>,
    /// Cuts files.
    pub cut: Option<Secret>,
    /// Seals sessions, generations, segments and pack tables.
    pub index: Secret,
    /// Seals marks.
    pub mark: Option<Secret>,
    /// Wrap session keys of file contents, by rising epoch.
    pub data: Vec<(u32, Halves)>,
    /// Wrap session keys of trees, by rising epoch.
    pub tree: Vec<(u32, Halves)>,
    /// Wraps references and summaries.
    pub maintenance: Halves,
    /// Vouches for slots.
    pub root: Option<SecretPair>,
}

impl Keys {
    /// Draws the keys of a new repository, with the given root.
    pub fn generate(config_hash: [u8; 32], root: SecretPair, label: String, created: Timestamp) -> Self {
        Self {
            config_hash,
            role: Role::Owner,
            label,
            created,
            id: Some(Secret::random()),
            cut: Some(Secret::random()),
            index: Secret::random(),
            mark: Some(Secret::random()),
            data: vec![(1, Halves::of(&SecretPair::random()))],
            tree: vec![(1, Halves::of(&SecretPair::random()))],
            maintenance: Halves::of(&SecretPair::random()),
            root: Some(root),
        }
    }

    /// Vouches for what maintenance alone may say (FORMAT.md, 2.3); who has no maintenance secret can neither vouch nor check.
    pub fn vouch(&self) -> Option<Secret> {
        self.maintenance.pair.as_ref().map(vouch_key)
    }

    /// The highest epoch whose keys are here; 0 for roles that have none.
    pub fn epoch(&self) -> u32 {
        self.data.last().map_or(0, |(number, _)| *number)
    }

    /// Adds a fresh epoch of data and tree keys (a rotation); its number is higher than every one that is there.
    pub fn add_epoch(&mut self, number: u32) {
        for epochs in [&mut self.data, &mut self.tree] {
            epochs.push((number, Halves::of(&SecretPair::random())));
        }
    }

    /// What a holder of `role` gets of an owner's keys: the table of FORMAT.md, 3.
    pub fn for_role(&self, role: Role, label: String, created: Timestamp) -> Self {
        let (writer, reader) = (
            role == Role::Writer || role == Role::Owner,
            role == Role::Reader || role == Role::Owner,
        );
        let maintainer = role == Role::Maintainer || role == Role::Owner;
        let epochs = |all: &[(u32, Halves)]| {
            let kept = all.iter().filter(|_| writer || reader);
            kept.map(|(number, halves)| (*number, halves.only(writer, reader)))
                .collect()
        };
        Self {
            config_hash: self.config_hash,
            role,
            label,
            created,
            id: self.id.clone().filter(|_| writer || reader),
            cut: self.cut.clone().filter(|_| writer),
            index: self.index.clone(),
            mark: self.mark.clone().filter(|_| reader || maintainer),
            data: epochs(&self.data),
            tree: epochs(&self.tree),
            maintenance: self.maintenance.only(writer || maintainer, maintainer),
            root: self.root.clone().filter(|_| role == Role::Owner),
        }
    }

    /// The document.
    ///
    /// # Errors
    /// None that can happen with a document this small.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>> {
        let bare = |secret: &Option<Secret>| secret.as_ref().map(|secret| *secret.expose());
        let half = |halves: &Halves| StoredHalves {
            public: halves.public,
            secret: halves.pair.as_ref().map(|pair| *pair.secret().expose()),
        };
        let epochs = |all: &[(u32, Halves)]| all.iter().map(|(number, halves)| (*number, half(halves))).collect();
        codec::encode(&StoredKeys::V1 {
            config_hash: self.config_hash,
            role: self.role,
            label: self.label.clone(),
            created: self.created,
            id: bare(&self.id),
            cut: bare(&self.cut),
            index: *self.index.expose(),
            mark: bare(&self.mark),
            data: epochs(&self.data),
            tree: epochs(&self.tree),
            maintenance: half(&self.maintenance),
            root: self.root.as_ref().map(|root| *root.secret().expose()),
        })
        .map(Zeroizing::new)
    }

    /// Reads the document of the slot `name`.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn decode(name: &str, document: &[u8]) -> Result<Self> {
        let StoredKeys::V1 {
            config_hash,
            role,
            label,
            created,
            id,
            cut,
            index,
            mark,
            data,
            tree,
            maintenance,
            root,
        } = codec::decode(name, document)?;
        let half = |stored: StoredHalves| Halves {
            public: stored.public,
            pair: stored.secret.map(|secret| SecretPair::from_secret(Secret::new(secret))),
        };
        let epochs = |stored: Vec<(u32, StoredHalves)>| -> Vec<(u32, Halves)> {
            stored
                .into_iter()
                .map(|(number, halves)| (number, half(halves)))
                .collect()
        };
        let (data, tree) = (epochs(data), epochs(tree));
        if !data.is_sorted_by(|a, b| a.0 < b.0) || !tree.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(Error::damaged(name, "its epochs are not in order"));
        }
        Ok(Self {
            config_hash,
            role,
            label,
            created,
            id: id.map(Secret::new),
            cut: cut.map(Secret::new),
            index: Secret::new(index),
            mark: mark.map(Secret::new),
            data,
            tree,
            maintenance: half(maintenance),
            root: root.map(|root| SecretPair::from_secret(Secret::new(root))),
        })
    }
}

/// The key of vouchers, of the maintenance pair.
pub fn vouch_key(maintenance: &SecretPair) -> Secret {
    maintenance.secret().derive("ararat v1 maintenance vouch")
}

#[derive(Serialize, Deserialize)]
struct StoredHalves {
    public: Option<PublicKey>,
    secret: Option<[u8; 32]>,
}

#[derive(Serialize, Deserialize)]
enum StoredKeys {
    V1 {
        config_hash: [u8; 32],
        role: Role,
        label: String,
        created: Timestamp,
        id: Option<[u8; 32]>,
        cut: Option<[u8; 32]>,
        index: [u8; 32],
        mark: Option<[u8; 32]>,
        data: Vec<(u32, StoredHalves)>,
        tree: Vec<(u32, StoredHalves)>,
        maintenance: StoredHalves,
        root: Option<[u8; 32]>,
    },
}

/// A session key, wrapped for one epoch of the data or tree keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappedKey {
    /// 0 data, 1 tree.
    pub kind: u8,
    /// The epoch whose public key it is wrapped for.
    pub epoch: u32,
    /// The message.
    pub wrapped: Vec<u8>,
}
