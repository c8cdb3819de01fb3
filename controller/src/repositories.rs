//! From a location to an open repository: credentials, keys, and what is opened already.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use api::handover::Handover;
use api::location::{AccessMode, BackupStorageLocationSpec};
use api::{BackupStorageLocation, credential};
use engine::crypto::Secret as Key;
use engine::crypto::key_text::HolderKey;
use engine::format::envelope::Access;
use engine::format::keys::Role;
use engine::repository::slots::{self, Holder};
use engine::repository::{Credential, InitOptions, Repository};
use engine::store::{Location, Store, StoreOptions};
use engine::words::Error;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::args::RunArgs;
use crate::context::{engine_now, is_conflict, steady};

/// The key of a Secret that holds the repository's owner key.
pub const OWNER_KEY: &str = "owner.key";
/// The key of a Secret that may hold a reader's key, for locations that are not written to.
const READER_KEY: &str = "reader.key";
/// The key of our own Secret that holds the agents' writer key.
const WRITER_KEY: &str = "writer.key";
/// The key of our own Secret that volume keys are derived from.
const VOLUMES_KEY: &str = "volumes.key";

/// Does synchronous work of the engine on a thread of its own.
///
/// # Errors
/// When the thread died.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| anyhow!("The work died: {error}"))
}

/// An open repository and how its store is reached.
pub struct Opened {
    /// The repository, opened with the owner's key.
    pub repository: Repository,
    /// The location's name.
    pub location: String,
    /// What the location says.
    pub spec: BackupStorageLocationSpec,
    agent_environment: BTreeMap<String, String>,
    owner: Zeroizing<String>,
    reader: Option<Zeroizing<String>>,
    version: String,
    /// Secrets of ours whose slots were seen in this repository.
    slots_seen: Mutex<BTreeSet<String>>,
}

impl Opened {
    /// Whether anything may be written there.
    ///
    /// # Errors
    /// Says that nothing may be.
    pub fn writable(&self) -> Result<()> {
        if self.spec.access_mode == AccessMode::ReadOnly {
            bail!("The location {} is ReadOnly: nothing is written there", self.location);
        }
        Ok(())
    }

    fn handover(&self, key: &str, volume_key: Option<String>) -> Handover {
        Handover {
            url: self.spec.url.clone(),
            options: self.spec.options.clone(),
            environment: self.agent_environment.clone(),
            key: key.to_owned(),
            volume_key,
        }
    }
}

/// Open repositories by location.
pub struct Repositories {
    client: Client,
    namespace: String,
    cluster: String,
    cache: PathBuf,
    /// Each location has a lock of its own: one whose store does not answer holds up nobody who wants another.
    open: Mutex<HashMap<String, Arc<Mutex<Option<Arc<Opened>>>>>>,
}

impl Repositories {
    /// None is open yet.
    pub fn new(client: Client, args: &RunArgs, cluster: String) -> Self {
        Self {
            client,
            namespace: args.namespace.clone(),
            cluster,
            cache: args.cache_dir.clone(),
            open: Mutex::default(),
        }
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn secret(&self, name: &str, what: &str) -> Result<(BTreeMap<String, Vec<u8>>, String)> {
        let secrets = self.secrets();
        let secret = steady(|| secrets.get_opt(name))
            .await
            .with_context(|| format!("The Secret {name} with {what} could not be read"))?;
        let secret = secret.ok_or_else(|| {
            anyhow!("The Secret {name} with {what} is not there; make it, or name another in the location")
        })?;
        let version = secret.resource_version().unwrap_or_default();
        let data = secret.data.unwrap_or_default();
        Ok((
            data.into_iter()
                .map(|(name, ByteString(value))| (name, value))
                .collect(),
            version,
        ))
    }

    /// The repository of a location, opened as its owner; made if it is not there and the location may be written to. What was opened before with the same
    /// credentials is used again.
    ///
    /// # Errors
    /// Says for people why the location cannot be used.
    pub async fn open(&self, location: &BackupStorageLocation) -> Result<Arc<Opened>> {
        let spec = location.spec.clone();
        // A location that was made anew under the same name may be another place.
        let mut version = format!(
            "{} {} ",
            location.uid().unwrap_or_default(),
            location.meta().generation.unwrap_or_default()
        );
        let (keys, seen) = self.secret(&spec.repository_key.name, "the repository's key").await?;
        version.push_str(&seen);
        let mut environment = BTreeMap::new();
        if let Some(name) = &spec.credential {
            let (data, seen) = self.secret(&name.name, "the store's credentials").await?;
            environment = credential::variables(&data).map_err(|why| anyhow!("{why} (Secret {})", name.name))?;
            version.push_str(&seen);
        }
        let mut agent_environment = environment.clone();
        if let Some(name) = &spec.agent_credential {
            let (data, seen) = self.secret(&name.name, "the store's credentials for agents").await?;
            agent_environment = credential::variables(&data).map_err(|why| anyhow!("{why} (Secret {})", name.name))?;
            version.push_str(&seen);
        }
        let name = location.name_any();
        let place = Arc::clone(self.open.lock().await.entry(name.clone()).or_default());
        let mut open = place.lock().await;
        if let Some(opened) = open.as_ref()
            && opened.version == version
        {
            return Ok(Arc::clone(opened));
        }
        let text = |key: &str| -> Result<Option<Zeroizing<String>>> {
            let Some(bytes) = keys.get(key) else { return Ok(None) };
            let text = String::from_utf8(bytes.clone());
            let text = text.map_err(|_| anyhow!("The key {key} of Secret {} is no text", spec.repository_key.name))?;
            Ok(Some(Zeroizing::new(text)))
        };
        let owner = text(OWNER_KEY)?
            .ok_or_else(|| anyhow!("The Secret {} has no key {OWNER_KEY}", spec.repository_key.name))?;
        let reader = text(READER_KEY)?;
        let (cache, owner_text) = (self.cache.clone(), owner.clone());
        let (store_spec, store_environment) = (spec.clone(), environment);
        let repository =
            blocking(move || open_repository(&store_spec, store_environment, &owner_text, cache)).await??;
        let opened = Arc::new(Opened {
            repository,
            location: name,
            spec,
            agent_environment,
            owner,
            reader,
            version,
            slots_seen: Mutex::default(),
        });
        *open = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Forgets what was opened for a location, so that the next one opens it anew.
    pub async fn forget(&self, location: &str) {
        self.open.lock().await.remove(location);
    }

    /// What an agent must know to back up one source.
    ///
    /// # Errors
    /// When the agents' key cannot be made.
    pub async fn for_backup(&self, opened: &Arc<Opened>, source: &str) -> Result<Handover> {
        opened.writable()?;
        let (writer, volumes) = self.agents_keys(opened).await?;
        let message = format!("{}\0{source}", self.cluster);
        let key = volumes.subkey(message.as_bytes());
        Ok(opened.handover(&writer, Some(data_encoding::HEXLOWER.encode(key.expose()))))
    }

    /// What an agent must know to restore, with a reader's key that lives as long as the restore. See [`end_restore`](Self::end_restore).
    ///
    /// # Errors
    /// When the key cannot be made.
    pub async fn for_restore(&self, opened: &Arc<Opened>, restore_uid: &str) -> Result<Handover> {
        if let Some(reader) = &opened.reader {
            return Ok(opened.handover(reader, None));
        }
        if opened.spec.access_mode == AccessMode::ReadOnly {
            // A key of its own would have to be written there.
            return Ok(opened.handover(&opened.owner, None));
        }
        let name = format!("ararat-reader-{restore_uid}");
        let label = format!("restore {restore_uid} of cluster {}", self.cluster);
        let data = self
            .own_keys(opened, &name, Role::Reader, label, &["reader.key"])
            .await?;
        let key = data.get("reader.key").cloned().unwrap_or_default();
        Ok(opened.handover(&String::from_utf8(key)?, None))
    }

    /// Takes a restore's reader key back: its slot and its Secret.
    ///
    /// # Errors
    /// When it is still there.
    pub async fn end_restore(&self, opened: &Arc<Opened>, restore_uid: &str) -> Result<()> {
        let name = format!("ararat-reader-{restore_uid}");
        let secrets = self.secrets();
        let Some(secret) = steady(|| secrets.get_opt(&name)).await? else {
            return Ok(());
        };
        let key = secret
            .data
            .and_then(|data| data.get("reader.key").map(|ByteString(bytes)| bytes.clone()));
        if let Some(key) = key.and_then(|key| String::from_utf8(key).ok()) {
            let opened = Arc::clone(opened);
            blocking(move || -> Result<()> {
                let public = HolderKey::from_text(&key)?.pair.public();
                let slots = opened.repository.slots()?;
                for slot in slots.iter().filter(|slot| slot.public == public) {
                    opened.repository.remove_slot(&slot.name)?;
                }
                Ok(())
            })
            .await??;
        }
        let parameters = DeleteParams::default();
        let deleted = steady(|| secrets.delete(&name, &parameters)).await;
        match deleted {
            Err(error) if !crate::context::is_not_found(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    async fn agents_keys(&self, opened: &Arc<Opened>) -> Result<(String, Key)> {
        let name = format!("ararat-agents-{}", opened.location);
        let label = format!("agents of cluster {}", self.cluster);
        let data = self
            .own_keys(opened, &name, Role::Writer, label, &[WRITER_KEY, VOLUMES_KEY])
            .await?;
        let part = |key: &str| {
            data.get(key)
                .cloned()
                .ok_or_else(|| anyhow!("The Secret {name} has no key {key}; delete it, and it is made anew"))
        };
        let writer = String::from_utf8(part(WRITER_KEY)?)?;
        let volumes = data_encoding::HEXLOWER_PERMISSIVE
            .decode(part(VOLUMES_KEY)?.trim_ascii())
            .ok()
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .ok_or_else(|| anyhow!("The key {VOLUMES_KEY} of Secret {name} is not 64 hexadecimal digits"))?;
        Ok((writer, Key::new(volumes)))
    }

    /// A Secret of ours with a holder's key as its first key, and random keys as the others. The Secret comes first and the slot after it, which is made
    /// again until it is there: whoever is killed in between leaves no slot that nobody holds.
    async fn own_keys(
        &self,
        opened: &Arc<Opened>,
        name: &str,
        role: Role,
        label: String,
        parts: &[&str],
    ) -> Result<BTreeMap<String, Vec<u8>>> {
        const SLOT: &str = "ararat.dev/slot";
        let repository = opened.repository.id().to_string();
        let (secrets, parameters) = (self.secrets(), PostParams::default());
        let mut secret = match steady(|| secrets.get_opt(name)).await? {
            Some(secret) if secret.annotations().get("ararat.dev/repository") == Some(&repository) => secret,
            Some(_) => bail!(
                "The Secret {name} belongs to another repository than {repository}; delete it, and it is made anew"
            ),
            None => {
                let mut data = BTreeMap::new();
                for (place, part) in parts.iter().enumerate() {
                    let text = if place == 0 {
                        slots::new_holder_key(opened.repository.config()).to_text()
                    } else {
                        Zeroizing::new(data_encoding::HEXLOWER.encode(Key::random().expose()))
                    };
                    data.insert((*part).to_owned(), ByteString(text.as_bytes().to_vec()));
                }
                let secret = Secret {
                    metadata: ObjectMeta {
                        name: Some(name.to_owned()),
                        annotations: Some(BTreeMap::from([("ararat.dev/repository".to_owned(), repository)])),
                        labels: Some(BTreeMap::from([(
                            "app.kubernetes.io/part-of".to_owned(),
                            "ararat".to_owned(),
                        )])),
                        ..ObjectMeta::default()
                    },
                    data: Some(data),
                    ..Secret::default()
                };
                match steady(|| secrets.create(&parameters, &secret)).await {
                    Ok(secret) => secret,
                    Err(error) if is_conflict(&error) => steady(|| secrets.get(name)).await?,
                    Err(error) => return Err(error.into()),
                }
            }
        };
        let data: BTreeMap<String, Vec<u8>> = secret
            .data
            .clone()
            .unwrap_or_default()
            .into_iter()
            .map(|(key, ByteString(value))| (key, value))
            .collect();
        let is_written = secret.annotations().contains_key(SLOT);
        let mut seen = opened.slots_seen.lock().await;
        if is_written && seen.contains(name) {
            return Ok(data);
        }
        let key = parts
            .first()
            .and_then(|part| data.get(*part))
            .cloned()
            .unwrap_or_default();
        let held = Arc::clone(opened);
        let slot = blocking(move || -> Result<String> {
            let public = HolderKey::from_text(std::str::from_utf8(&key)?)?.pair.public();
            // A repository that was made anew with the same owner's key has the same name, and no slots of ours.
            if let Some(slot) = held.repository.slots()?.iter().find(|slot| slot.public == public) {
                return Ok(slot.name.clone());
            }
            let (slot, _) = held
                .repository
                .add_slot(Holder::Recipient(public), role, label, engine_now())?;
            Ok(slot.to_string())
        })
        .await??;
        seen.insert(name.to_owned());
        if is_written {
            return Ok(data);
        }
        secret.annotations_mut().insert(SLOT.to_owned(), slot);
        secret.managed_fields_mut().clear();
        match steady(|| secrets.replace(name, &parameters, &secret)).await {
            Ok(_) => {}
            // Somebody else has made the slot as well, for the same key: it is the same one.
            Err(error) if is_conflict(&error) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(data)
    }
}

/// Opens the store as the location says, and the repository in it.
fn open_repository(
    spec: &BackupStorageLocationSpec,
    environment: BTreeMap<String, String>,
    owner: &str,
    cache: PathBuf,
) -> Result<Repository> {
    let location = Location::parse(&spec.url)?;
    let mut options = StoreOptions {
        environment,
        ..StoreOptions::default()
    };
    for (word, value) in &spec.options {
        if word == "caCertificate" {
            let folder = cache.join("certificates");
            std::fs::create_dir_all(&folder).context("Could not make the folder for certificates")?;
            let file = folder.join(format!("{}.pem", blake3::hash(value.as_bytes()).to_hex()));
            std::fs::write(&file, value).context("Could not write the certificate of the store")?;
            options.ca_file = Some(file);
        } else {
            options.set(word, value)?;
        }
    }
    let key = || HolderKey::from_text(owner).context("The repository's key is not usable");
    let store = || Store::open(&location, &options, tokio::runtime::Handle::current());
    let access = if spec.access_mode == AccessMode::ReadOnly {
        Access::Read
    } else {
        Access::Write
    };
    match Repository::open(store()?, &Credential::Key(key()?), Some(cache.clone()), access) {
        Err(Error::NoRepository { .. }) if spec.access_mode == AccessMode::ReadWrite => {
            let init = InitOptions {
                now: engine_now(),
                label: "owner".to_owned(),
                first_key: Some(key()?),
                cache_folder: Some(cache.clone()),
                ..InitOptions::default()
            };
            match Repository::init(store()?, init) {
                Ok((repository, _)) => Ok(repository),
                // The other replica was faster.
                Err(Error::RepositoryExists { .. }) => Ok(Repository::open(
                    store()?,
                    &Credential::Key(key()?),
                    Some(cache),
                    access,
                )?),
                Err(error) => Err(error).context("There is no repository there yet, and it could not be made"),
            }
        }
        other => Ok(other?),
    }
}
