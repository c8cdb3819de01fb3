//! Open repositories: from what the agent was told to what the engine works with. Those who were told the same share one for as long as they use it.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use engine::crypto::Secret;
use engine::crypto::key_text::HolderKey;
use engine::format::envelope::Access;
use engine::repository::{Credential, Locked, Repository};
use engine::store::{Location, Store, StoreOptions};
use engine::words::{Error, Result};
use tempfile::NamedTempFile;
use tokio::runtime::Handle;
use zeroize::Zeroizing;

use crate::handover::Told;

/// A store that is down is waited for: what was read so far is not given up for an outage of minutes.
const RETRY_TIME: Duration = Duration::from_secs(600);
const RETRIES_MAX: u32 = 100;

/// The repositories that are in use.
pub struct Repositories {
    runtime: Handle,
    /// The folder for copies of objects and for temporary files.
    pub cache_dir: PathBuf,
    open: Mutex<Vec<(Told, Weak<Repository>)>>,
}

impl Repositories {
    /// None is in use yet.
    pub fn new(runtime: Handle, cache_dir: PathBuf) -> Self {
        Self {
            runtime,
            cache_dir,
            open: Mutex::default(),
        }
    }

    /// The repository that one was told of.
    ///
    /// # Errors
    /// What the engine says of the options, the key and the store; no secret is in it.
    pub fn open(&self, told: &Told, access: Access) -> Result<Arc<Repository>> {
        if let Some(repository) = self.in_use(told) {
            return Ok(repository);
        }
        let location = Location::parse(&told.url)?;
        let (options, certificate) = self.options(told)?;
        let store = Store::open(&location, &options, self.runtime.clone())?;
        let locked = Locked::find(store, Some(self.cache_dir.clone()), access)?;
        let key = HolderKey::from_text(&told.key)?;
        let repository = locked.unlock(&Credential::Key(key))?;
        let volume_keys = volume_key(told)?.into_iter().collect();
        let repository = Arc::new(repository.with_volume_keys(volume_keys));
        drop(certificate);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push((told.clone(), Arc::downgrade(&repository)));
        Ok(repository)
    }

    /// One that is open already. What nobody uses any longer is forgotten, with its keys.
    fn in_use(&self, told: &Told) -> Option<Arc<Repository>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, repository)| repository.strong_count() > 0);
        open.iter()
            .find(|(known, _)| known == told)
            .and_then(|(_, repository)| repository.upgrade())
    }

    /// Forgets what nobody uses any longer.
    pub fn forget_unused(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, repository)| repository.strong_count() > 0);
    }

    /// The store's options, and the file with its certificate, which must live until the store is open.
    fn options(&self, told: &Told) -> Result<(StoreOptions, Option<NamedTempFile>)> {
        let mut options = StoreOptions {
            environment: told.environment.clone(),
            retry_time: RETRY_TIME,
            retries_max: RETRIES_MAX,
            ..StoreOptions::default()
        };
        let mut certificate = None;
        for (word, value) in &told.options {
            if word != "caCertificate" {
                options.set(word, value)?;
            } else if !value.is_empty() {
                let file = self.private_file(value)?;
                options.ca_file = Some(file.path().to_owned());
                certificate = Some(file);
            }
        }
        Ok((options, certificate))
    }

    fn private_file(&self, content: &str) -> Result<NamedTempFile> {
        let failed = |error| Error::io("write a temporary file in", &self.cache_dir, error);
        let mut file = NamedTempFile::new_in(&self.cache_dir).map_err(failed)?;
        file.write_all(content.as_bytes()).map_err(failed)?;
        Ok(file)
    }
}

/// The key that seals the file list of the volume that one was told of.
///
/// # Errors
/// [`Error::Invalid`], without the key.
pub fn volume_key(told: &Told) -> Result<Option<Secret>> {
    let Some(text) = &told.volume_key else {
        return Ok(None);
    };
    let invalid = || Error::Invalid("The volume's key is not 64 hexadecimal digits".to_owned());
    let bytes = data_encoding::HEXLOWER_PERMISSIVE
        .decode(text.as_bytes())
        .map(Zeroizing::new);
    let bytes = bytes.map_err(|_| invalid())?;
    let bytes = bytes.as_slice().try_into().map_err(|_| invalid())?;
    Ok(Some(Secret::new(bytes)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeMap;

    use api::handover::Handover;

    use super::*;

    fn told(url: &str, options: &[(&str, &str)], volume_key: Option<&str>) -> Told {
        let options = options
            .iter()
            .map(|(word, value)| ((*word).to_owned(), (*value).to_owned()));
        Told::new(Handover {
            url: url.into(),
            options: options.collect(),
            environment: BTreeMap::new(),
            key: "hunter2".into(),
            volume_key: volume_key.map(Into::into),
        })
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_told_without_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let repositories = Repositories::new(Handle::current(), folder.path().to_owned());
        let table = [
            (told("memory:none", &[], None), "There is no repository"),
            (told("memory:none", &[("colour", "red")], None), "no option `colour`"),
            (told("s3://me:hunter2@bucket", &[], None), ""),
        ];
        for (told, expected) in table {
            let why = repositories.open(&told, Access::Read).err().unwrap().to_string();
            assert!(why.contains(expected) && !why.contains("hunter2"), "{why}");
        }
        for wrong in ["hunter2", "00"] {
            let why = volume_key(&told("memory:none", &[], Some(wrong)))
                .unwrap_err()
                .to_string();
            assert!(
                why.contains("64 hexadecimal digits") && !why.contains("hunter2"),
                "{why}"
            );
        }
        assert!(
            volume_key(&told("memory:none", &[], Some(&"ab".repeat(32))))
                .unwrap()
                .is_some()
        );
    }

    #[tokio::test]
    async fn a_certificate_is_a_private_file_while_it_is_needed() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let repositories = Repositories::new(Handle::current(), folder.path().to_owned());
        let (options, file) = repositories
            .options(&told(
                "memory:a",
                &[("caCertificate", "PEM"), ("region", "north")],
                None,
            ))
            .unwrap();
        let path = options.ca_file.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "PEM");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o077, 0);
        assert_eq!(options.region.as_deref(), Some("north"));
        drop(file);
        assert!(!path.exists());
    }
}
