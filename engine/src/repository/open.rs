//! Making and opening a repository.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};

use quick_cache::sync::Cache as MemoryCache;
use zeroize::Zeroizing;

use super::slots;
use super::view::View;
use crate::crypto::key_text::HolderKey;
use crate::crypto::passphrase::PassphraseCost;
use crate::crypto::{BlobIds, BlobSealer, Secret, SecretPair};
use crate::format::config::{self, Config, Cutting};
use crate::format::envelope::Access;
use crate::format::keys::{Keys, Role};
use crate::format::pack::Table;
use crate::store::Store;
use crate::store::cache::Cache;
use crate::words::id::random_bytes;
use crate::words::{BlobId, BlobKind, Error, PackName, RepositoryId, Result, SessionId, Timestamp};

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
    pub(crate) tables: MemoryCache<PackName, Arc<Table>>,
}

/// Weighs decoded tree blobs by their bytes.
#[derive(Clone)]
pub(crate) struct TreeBlobWeight;

impl quick_cache::Weighter<BlobId, bytes::Bytes> for TreeBlobWeight {
    fn weight(&self, _: &BlobId, blob: &bytes::Bytes) -> u64 {
        blob.len() as u64 + 64
    }
}

const TREE_BLOBS_BYTES: u64 = 24 << 20;
const TABLES: usize = 256;

fn remembered_config(cache: &std::path::Path, store: &Store) -> PathBuf {
    let hash = blake3::hash(store.location().to_string().as_bytes());
    cache.join("configs").join(&hash.to_hex()[..32])
}

impl Repository {
    /// Makes a repository and opens it as its owner. Gives the key of the first slot when no passphrase was given.
    ///
    /// # Errors
    /// [`Error::RepositoryExists`]; what the store says.
    pub fn init(store: Store, options: InitOptions) -> Result<(Self, Option<HolderKey>)> {
        store.create_root()?;
        let root = SecretPair::random();
        let config = Config {
            repository: RepositoryId(random_bytes()),
            created: options.now,
            root_public: root.public(),
            chunker: options.cutting,
            pack_bytes: options.pack_bytes.clamp(1 << 20, 128 << 20),
            tree_pack_bytes: options.tree_pack_bytes.clamp(1 << 20, 128 << 20),
            padding: u8::from(options.padding),
        };
        let object = config.to_object()?;
        match store.get(config::NAME) {
            Ok(_) => {
                return Err(Error::RepositoryExists {
                    location: store.location().to_string(),
                });
            }
            Err(Error::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
        // The slot comes first: a repository with a `config` always has somebody who can open it.
        let config_hash = *blake3::hash(&object).as_bytes();
        let keys = Keys::generate(config_hash, root.clone(), options.label.clone(), options.now);
        let (slot, key) = match &options.passphrase {
            Some((passphrase, cost)) => (slots::passphrase_slot(&config, &root, &keys, passphrase, *cost)?, None),
            None => {
                let key = slots::new_holder_key(&config);
                (
                    slots::recipient_slot(&config, &root, &keys, key.pair.public(), 0)?,
                    Some(key),
                )
            }
        };
        store.put(&slot.0, slot.1.to_object()?.into())?;
        match store.create(config::NAME, object.into())? {
            crate::store::Created::Done => {}
            crate::store::Created::Exists(_) => {
                store.delete(&[slot.0])?;
                return Err(Error::RepositoryExists {
                    location: store.location().to_string(),
                });
            }
        }
        Ok((Self::with_keys(store, config, keys, slot.0, options.cache_folder)?, key))
    }

    /// Opens a repository.
    ///
    /// # Errors
    /// [`Error::NoRepository`], [`Error::WrongKey`], [`Error::NewerFormat`], [`Error::Damaged`]; what the store says.
    pub fn open(store: Store, credential: &Credential, cache_folder: Option<PathBuf>, access: Access) -> Result<Self> {
        // A config never changes, so a copy of it saves a request; a repository that was made anew at the same place is noticed by its keys.
        let remembered = cache_folder
            .as_deref()
            .filter(|_| store.location().local_path().is_none());
        let remembered = remembered.map(|folder| remembered_config(folder, &store));
        if let Some(object) = remembered.as_ref().and_then(|path| std::fs::read(path).ok())
            && let Ok(config) = Config::from_object(&object, access)
            && let Ok((slot, keys)) = slots::unlock(&store, &config, credential)
            && keys.config_hash == *blake3::hash(&object).as_bytes()
        {
            return Self::with_keys(store, config, keys, slot, cache_folder);
        }
        let object = match store.get(config::NAME) {
            Ok(object) => object,
            Err(Error::Missing { .. }) => {
                return Err(Error::NoRepository {
                    location: store.location().to_string(),
                });
            }
            Err(error) => return Err(error),
        };
        let config = Config::from_object(&object, access)?;
        let (slot, keys) = slots::unlock(&store, &config, credential)?;
        if keys.config_hash != *blake3::hash(&object).as_bytes() {
            return Err(Error::damaged(config::NAME, "it is not the one that the owner made"));
        }
        if let Some(path) = remembered {
            // A copy that cannot be kept costs a request next time.
            let _ = path.parent().map(std::fs::create_dir_all);
            let _ = std::fs::write(path, &object);
        }
        Self::with_keys(store, config, keys, slot, cache_folder)
    }

    fn with_keys(store: Store, config: Config, keys: Keys, slot: String, cache: Option<PathBuf>) -> Result<Self> {
        let cache_folder = cache.map(|folder| folder.join(config.repository.to_string()));
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
            tables: MemoryCache::new(TABLES),
        })
    }

    /// Lets this repository open trees that were written with one of these volume keys.
    #[must_use]
    pub fn with_volume_keys(mut self, keys: Vec<Secret>) -> Self {
        self.volume_keys = keys;
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
