//! Copies of immutable objects in a local folder. Losing any of them costs time, never data.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::words::{Error, Result};

/// A folder with copies of objects.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Opens the folder, making it if need be.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|error| Error::io("make", folder, error))?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name.replace('/', "_"))
    }

    /// The copy of an object, if there is an undamaged one.
    pub fn get(&self, name: &str) -> Option<Bytes> {
        let bytes = std::fs::read(self.path(name)).ok()?;
        let (rest, hash) = bytes.split_last_chunk::<32>()?;
        (blake3::hash(rest).as_bytes() == hash).then(|| bytes.into())
    }

    /// Keeps a copy, if it can.
    pub fn put(&self, name: &str, object: &[u8]) {
        let path = self.path(name);
        let temporary = path.with_extension(format!("tmp{}", std::process::id()));
        if std::fs::write(&temporary, object).is_ok() {
            let _ = std::fs::rename(&temporary, &path);
        }
    }

    /// The copy, or what `fetch` gives, which is kept.
    ///
    /// # Errors
    /// What `fetch` says.
    pub fn get_or_fetch(&self, name: &str, fetch: impl FnOnce() -> Result<Bytes>) -> Result<Bytes> {
        if let Some(object) = self.get(name) {
            return Ok(object);
        }
        let object = fetch()?;
        self.put(name, &object);
        Ok(object)
    }
}
