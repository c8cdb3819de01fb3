//! Making and opening a repository.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use quick_cache::sync::Cache as MemoryCache;
use zeroize::Zeroizing;

use super::slots;
use super::view::View;
use crate::crypto::key_text::{HolderKey, root_fingerprint};
use crate::crypto::passphrase::PassphraseCost;
use crate::crypto::{BlobIds, BlobSealer, Secret, SecretPair};
use crate::format::config::{self, Config, Cutting};
use crate::format::envelope::Access;
use crate::format::keys::{Keys, Role};
use crate::format::pack::Table;
use crate::store::cache::{Cache, folders};
use crate::store::{Created, Store};
use crate::words::{BlobId, BlobKind, Error, ObjectName, PackName, RepositoryId, Result, SessionId, Timestamp};

/// What opens a key slot.
pub enum Credential {
    /// A passphrase.
    Passphrase(Zeroizing<Vec<u8>>),
    /// A key.
    Key(HolderKey),
}

/// How a repository is made.
pub struct InitOptions {
    /// The present.
    pub now: Timestamp,
    /// Who holds the first slot, for people.
    pub label: String,
    /// The passphrase of the first slot; without one a key is drawn and given back.
    pub passphrase: Option<(Zeroizing<Vec<u8>>, PassphraseCost)>,
    /// The key of the first slot when there is no passphrase, by [`new_first_key`]; without one it is drawn.
    pub first_key: Option<HolderKey>,
    /// How files are cut.
    pub cutting: Cutting,
    /// Size in bytes that data packs aim at, 1 to 128 MiB.
    pub pack_bytes: u32,
    /// Size in bytes that tree packs aim at, 1 to 128 MiB.
    pub tree_pack_bytes: u32,
    /// Whether packs are padded.
    pub padding: bool,
    /// Where objects and the index may be cached.
    pub cache_folder: Option<PathBuf>,
}

impl Default for InitOptions {
    fn default() -> Self {
        Self {
            now: Timestamp::default(),
            label: String::new(),
            passphrase: None,
            first_key: None,
            cutting: Cutting::default(),
            pack_bytes: 16 << 20,
            tree_pack_bytes: 8 << 20,
            padding: true,
            cache_folder: None,
        }
    }
}

/// An open repository. Cheap to share by reference between threads.
pub struct Repository {
    pub(crate) store: Store,
    pub(crate) config: Config,
    pub(crate) keys: Keys,
    pub(crate) slot: String,
    pub(crate) cache: Option<Cache>,
    pub(crate) cache_folder: Option<PathBuf>,
    pub(crate) ids: Option<BlobIds>,
    pub(crate) view: RwLock<Option<Arc<View>>>,
    pub(crate) sealers: Mutex<HashMap<(SessionId, BlobKind), BlobSealer>>,
    pub(crate) volume_keys: Vec<Secret>,
    pub(crate) tree_blobs: MemoryCache<BlobId, bytes::Bytes, TreeBlobWeight>,
    /// Windows of tree packs, where no objects are cached.
    pub(crate) tree_windows: MemoryCache<(PackName, u32), bytes::Bytes>,
    pub(crate) tables: MemoryCache<PackName, Arc<Table>>,
    /// Damaged objects that somebody was warned of.
    pub(crate) warned: Mutex<HashSet<String>>,
}

/// Weighs decoded tree blobs by their bytes.
#[derive(Clone)]
pub(crate) struct TreeBlobWeight;

impl quick_cache::Weighter<BlobId, bytes::Bytes> for TreeBlobWeight {
    fn weight(&self, _: &BlobId, blob: &bytes::Bytes) -> u64 {
        blob.len() as u64 + 64
    }
}

/// A key for the first holder of a repository that is yet to be made, so that it can be kept safe before there is anything to lose. The
/// repository's identity follows from it, so that `init` can be repeated with it until it has succeeded, and so that it knows whom it trusts.
pub fn new_first_key() -> HolderKey {
    let pair = SecretPair::random();
    let (repository, root) = identity_of(&pair);
    HolderKey {
        pair,
        root_fingerprint: root_fingerprint(&repository, &root.public()),
    }
}

/// The repository that [`new_first_key`] has drawn a key for.
pub fn repository_of_first_key(key: &HolderKey) -> RepositoryId {
    identity_of(&key.pair).0
}

/// Id and root of the repository whose first holder has this key. That holder owns the root anyway, so nothing is lost by deriving it.
fn identity_of(first: &SecretPair) -> (RepositoryId, SecretPair) {
    let id = first.secret().derive("ararat v1 first key: repository");
    let root = first.secret().derive("ararat v1 first key: root");
    (
        RepositoryId(std::array::from_fn(|i| id.expose()[i])),
        SecretPair::from_secret(root),
    )
}

/// A repository that is there, before anybody has given a key to it.
pub struct Locked {
    store: Store,
    object: Vec<u8>,
    config: Config,
    cache_folder: Option<PathBuf>,
    access: Access,
    /// The config is a copy that was kept, not what the store has.
    remembered: bool,
}

impl Locked {
    /// Looks whether there is a repository, and of which version.
    ///
    /// # Errors
    /// [`Error::NoRepository`], [`Error::NewerFormat`], [`Error::Damaged`]; what the store says.
    pub fn find(store: Store, cache_folder: Option<PathBuf>, access: Access) -> Result<Self> {
        // A config never changes, so a copy of it saves a request; a repository that was made anew at the same place is noticed by its keys.
        let known = remembered_config(cache_folder.as_deref(), &store).and_then(|path| std::fs::read(path).ok());
        if let Some(object) = known
            && let Ok(config) = Config::from_object(&object, access)
        {
            return Ok(Self {
                store,
                object,
                config,
                cache_folder,
                access,
                remembered: true,
            });
        }
        Self::fetch(store, cache_folder, access)
    }

    fn fetch(store: Store, cache_folder: Option<PathBuf>, access: Access) -> Result<Self> {
        let object = match store.get(config::NAME) {
            Ok(object) => object.to_vec(),
            Err(Error::Missing { .. }) => {
                return Err(Error::NoRepository {
                    location: store.location().to_string(),
                });
            }
            Err(error) => return Err(error),
        };
        let config = Config::from_object(&object, access)?;
        Ok(Self {
            store,
            object,
            config,
            cache_folder,
            access,
            remembered: false,
        })
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`Error::WrongKey`], [`Error::NewerFormat`], [`Error::Damaged`]; what the store says.
    pub fn unlock(mut self, credential: &Credential) -> Result<Repository> {
        let mut unlocked = self.try_unlock(credential);
        if unlocked.is_err() && self.remembered {
            self = Self::fetch(self.store, self.cache_folder, self.access)?;
            unlocked = self.try_unlock(credential);
        }
        let (slot, keys) = unlocked?;
        if let Some(path) = remembered_config(self.cache_folder.as_deref(), &self.store).filter(|_| !self.remembered) {
            // A copy that cannot be kept costs a request next time.
            let _ = path.parent().map(std::fs::create_dir_all);
            let _ = std::fs::write(path, &self.object);
        }
        Repository::with_keys(self.store, self.config, keys, slot, self.cache_folder)
    }

    fn try_unlock(&self, credential: &Credential) -> Result<(ObjectName, Keys)> {
        let memory = remembered_folder(self.cache_folder.as_deref(), &self.store);
        let memory = memory.map(|folder| folder.join("slots"));
        slots::unlock(&self.store, &self.config, &self.object, credential, memory.as_deref())
    }
}

const TREE_BLOBS_BYTES: u64 = 24 << 20;
const TREE_WINDOWS: usize = 6;
const TABLES: usize = 256;

/// Where copies of config and slots are kept; a store on the local disk needs none.
fn remembered_folder<'a>(cache: Option<&'a Path>, store: &Store) -> Option<&'a Path> {
    cache.filter(|_| store.location().local_path().is_none())
}

fn remembered_config(cache: Option<&Path>, store: &Store) -> Option<PathBuf> {
    let folder = remembered_folder(cache, store)?;
    Some(folders::of_config(folder, &store.location().to_string()))
}

impl Repository {
    /// Makes a repository and opens it as its owner. Gives the key of the first slot when no passphrase was given.
    ///
    /// # Errors
    /// [`Error::RepositoryExists`]; [`Error::Invalid`] when the first key was drawn for something else; what the store says.
    pub fn init(store: Store, options: InitOptions) -> Result<(Self, Option<HolderKey>)> {
        store.create_root()?;
        let exists = || Error::RepositoryExists {
            location: store.location().to_string(),
        };
        let first = match (&options.passphrase, &options.first_key) {
            (None, Some(key)) => key.clone(),
            _ => new_first_key(),
        };
        let (repository, root) = identity_of(&first.pair);
        if first.root_fingerprint != root_fingerprint(&repository, &root.public()) {
            return Err(Error::Invalid(
                "The key was not drawn to be a repository's first".into(),
            ));
        }
        let config = Config {
            repository,
            created: options.now,
            root_public: root.public(),
            chunker: options.cutting,
            pack_bytes: options.pack_bytes.clamp(1 << 20, 128 << 20),
            tree_pack_bytes: options.tree_pack_bytes.clamp(1 << 20, 128 << 20),
            padding: u8::from(options.padding),
        };
        let object = config.to_object()?;
        match store.get(config::NAME) {
            Ok(_) => return Err(exists()),
            Err(Error::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
        // The slot comes first: a repository with a `config` always has somebody who can open it.
        let config_hash = *blake3::hash(&object).as_bytes();
        let keys = Keys::generate(config_hash, root.clone(), options.label.clone(), options.now);
        let (slot, key) = match &options.passphrase {
            Some((passphrase, cost)) => (slots::passphrase_slot(&config, &root, &keys, passphrase, *cost)?, None),
            None => {
                // An attempt that died may have left a slot of the same key: ours comes after it.
                let (_, version) = slots::versions(&store, first.pair.public())?;
                (
                    slots::recipient_slot(&config, &root, &keys, first.pair.public(), version)?,
                    Some(first),
                )
            }
        };
        store.put(&slot.0, slot.1.to_object()?.into())?;
        match store.create(config::NAME, object.into())? {
            Created::Done => {}
            Created::Exists(_) => {
                store.delete(&[slot.0])?;
                return Err(exists());
            }
        }
        Ok((Self::with_keys(store, config, keys, slot.0, options.cache_folder)?, key))
    }

    /// Opens a repository.
    ///
    /// # Errors
    /// [`Error::NoRepository`], [`Error::WrongKey`], [`Error::NewerFormat`], [`Error::Damaged`]; what the store says.
    pub fn open(store: Store, credential: &Credential, cache_folder: Option<PathBuf>, access: Access) -> Result<Self> {
        Locked::find(store, cache_folder, access)?.unlock(credential)
    }

    fn with_keys(store: Store, config: Config, keys: Keys, slot: String, cache: Option<PathBuf>) -> Result<Self> {
        let location = store.location().to_string();
        let cache_folder = cache.map(|folder| folders::of_repository(&folder, config.repository, &location));
        if let Some(folder) = &cache_folder {
            folders::note_use(folder, store.location());
        }
        // Objects of a store on the local disk are as near as a cache of them would be.
        let objects = cache_folder
            .as_ref()
            .filter(|_| store.location().local_path().is_none());
        let objects = objects.map(|folder| Cache::open(&folder.join("objects"))).transpose()?;
        let ids = keys.id.as_ref().map(BlobIds::new);
        Ok(Self {
            store,
            config,
            keys,
            slot,
            cache: objects,
            cache_folder,
            ids,
            view: RwLock::new(None),
            sealers: Mutex::new(HashMap::new()),
            volume_keys: Vec::new(),
            tree_blobs: MemoryCache::with_weighter(4096, TREE_BLOBS_BYTES, TreeBlobWeight),
            tree_windows: MemoryCache::new(TREE_WINDOWS),
            tables: MemoryCache::new(TABLES),
            warned: Mutex::default(),
        })
    }

    /// Lets this repository open trees that were written with one of these volume keys.
    #[must_use]
    pub fn with_volume_keys(mut self, keys: Vec<Secret>) -> Self {
        self.volume_keys = keys;
        self
    }

    /// Lets the copies of objects on this machine take so many bytes.
    #[must_use]
    pub fn with_cache_limit(mut self, bytes: u64) -> Self {
        self.cache = self.cache.map(|cache| cache.bounded(bytes));
        self
    }

    /// The repository's identity.
    pub fn id(&self) -> RepositoryId {
        self.config.repository
    }

    /// Its parameters.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The store it is in.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Its own folders on this machine: the store, when it is one, and the cache.
    pub fn folders(&self) -> Vec<PathBuf> {
        let store = self.store.location().local_path().map(std::path::Path::to_owned);
        store.into_iter().chain(self.cache_folder.clone()).collect()
    }

    /// What the holder of the key that opened it may do.
    pub fn role(&self) -> Role {
        self.keys.role
    }

    /// The keys that the slot held.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The name of the slot that was opened.
    pub fn slot(&self) -> &str {
        &self.slot
    }

    /// Names blobs; writers and readers can.
    ///
    /// # Errors
    /// [`Error::RoleTooSmall`].
    pub fn ids(&self) -> Result<&BlobIds> {
        self.ids
            .as_ref()
            .ok_or(self.role_too_small("a writer, a reader or an owner"))
    }

    /// The error that says that another key is needed.
    pub fn role_too_small(&self, needed: &'static str) -> Error {
        Error::RoleTooSmall {
            needed,
            role: self.role().with_article(),
        }
    }
}
