//! The folder of all caches of this machine: one folder a repository and place, and copies of configs by a hash of their place.
//!
//! ```text
//! <cache>/<repository>-<place>/location   where the repository was when it was opened last; its time is the last use
//! <cache>/<repository>-<place>/objects/   copies of objects, with a bound
//! <cache>/<repository>-<place>/index/     runs of the index; `index` keeps them few
//! <cache>/configs/<hash>                  copies of configs
//! ```
//!
//! By place, too: a copy of a repository goes its own way, and gives known names to other objects.
//!
//! Everything can be removed at any time, while others use it: files that are open stay readable, and what is gone is fetched again.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::store::Location;
use crate::words::{Error, RepositoryId, Result, Timestamp};

const LOCATION: &str = "location";

/// What is kept of one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheFolder {
    /// The repository.
    pub repository: RepositoryId,
    /// Where it was when it was opened last, when that is known.
    pub location: Option<String>,
    /// The folder.
    pub path: PathBuf,
    /// Files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When it was used last.
    pub used: Timestamp,
}

/// The folder of one repository at one place.
pub fn of_repository(cache: &Path, repository: RepositoryId, location: &str) -> PathBuf {
    let place = blake3::hash(location.as_bytes()).to_hex();
    cache.join(format!("{repository}-{}", &place[..16]))
}

/// Where the copy of the config of the repository at a place is.
pub fn of_config(cache: &Path, location: &str) -> PathBuf {
    let hash = blake3::hash(location.as_bytes());
    cache.join("configs").join(&hash.to_hex()[..32])
}

/// Notes that a repository is in use, and where it is. What cannot be noted is not.
pub fn note_use(folder: &Path, location: &Location) {
    let path = folder.join(LOCATION);
    let text = format!("{location}\n");
    if fs::read_to_string(&path).is_ok_and(|known| known == text) {
        let touched = fs::File::options().write(true).open(&path);
        let _ = touched.and_then(|file| Ok(rustix::fs::futimens(&file, &super::NOW)?));
        return;
    }
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let _ = made.and_then(|()| fs::write(&path, text));
}

/// What is kept of each repository, used last first. A folder that is not there holds nothing.
///
/// # Errors
/// [`Error::Io`] when the folder cannot be read.
pub fn list(cache: &Path) -> Result<Vec<CacheFolder>> {
    let entries = match fs::read_dir(cache) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", cache, error)),
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| Error::io("read", cache, error))?;
        let name = entry.file_name();
        // Folders of other names are not ours.
        let id = name.to_str().and_then(|name| name.split_once('-'));
        let Some(repository) = id.and_then(|(id, _)| id.parse().ok()) else {
            continue;
        };
        let path = entry.path();
        let location = fs::read_to_string(path.join(LOCATION)).ok();
        let mut folder = CacheFolder {
            repository,
            location: location.map(|text| text.trim_end_matches('\n').to_owned()),
            path: path.clone(),
            files: 0,
            bytes: 0,
            used: Timestamp::default(),
        };
        add(&mut folder, &path);
        folders.push(folder);
    }
    folders.sort_by_key(|folder| (std::cmp::Reverse(folder.used), folder.repository));
    Ok(folders)
}

/// Counts what is below; what vanishes or cannot be read meanwhile counts for nothing.
fn add(folder: &mut CacheFolder, path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            add(folder, &entry.path());
            continue;
        }
        folder.files += 1;
        folder.bytes += metadata.len();
        let modified = metadata.modified().ok();
        let since = modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let used = since.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
        folder.used = folder.used.max(Timestamp(used));
    }
}

/// Removes what is kept of a repository.
///
/// # Errors
/// [`Error::Io`] when something of it cannot be removed.
pub fn remove(cache: &Path, folder: &CacheFolder) -> Result<()> {
    if let Some(location) = &folder.location {
        // A copy of a config that stays does no harm.
        let _ = fs::remove_file(of_config(cache, location));
    }
    match fs::remove_dir_all(&folder.path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("remove", &folder.path, error)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn folders_of_repositories_are_listed_and_removed_and_others_left_alone() {
        let cache = tempfile::tempdir().unwrap();
        assert_eq!(list(&cache.path().join("nowhere")).unwrap(), []);
        let place = Location::memory("one");
        let (first, second) = (RepositoryId([1; 16]), RepositoryId([2; 16]));
        for (id, bytes) in [(first, 10), (second, 20)] {
            let folder = of_repository(cache.path(), id, "memory:one");
            fs::create_dir_all(folder.join("objects")).unwrap();
            fs::write(folder.join("objects/x"), vec![0; bytes]).unwrap();
        }
        fs::create_dir(cache.path().join("somebody else's")).unwrap();
        note_use(&of_repository(cache.path(), first, "memory:one"), &place);
        let config = of_config(cache.path(), &place.to_string());
        fs::create_dir_all(config.parent().unwrap()).unwrap();
        fs::write(&config, "config").unwrap();

        let mut found = list(cache.path()).unwrap();
        assert_eq!(found.len(), 2);
        found.sort_by_key(|folder| folder.repository);
        assert_eq!(found[0].location.as_deref(), Some("memory:one"));
        assert_eq!((found[0].files, found[0].bytes), (2, 10 + "memory:one\n".len() as u64));
        assert_eq!(
            (found[1].location.as_ref(), found[1].files, found[1].bytes),
            (None, 1, 20)
        );
        assert!(found[0].used > Timestamp(0));

        remove(cache.path(), &found[0]).unwrap();
        assert!(!config.exists());
        let left = list(cache.path()).unwrap();
        assert_eq!(
            left.iter().map(|folder| folder.repository).collect::<Vec<_>>(),
            [second]
        );
        assert!(cache.path().join("somebody else's").exists());
    }

    #[test]
    fn a_use_is_the_newest_thing_of_a_folder() {
        let cache = tempfile::tempdir().unwrap();
        let folder = of_repository(cache.path(), RepositoryId([1; 16]), "memory:one");
        note_use(&folder, &Location::memory("one"));
        let file = fs::File::options().write(true).open(folder.join(LOCATION)).unwrap();
        let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000);
        file.set_times(fs::FileTimes::new().set_modified(long_ago)).unwrap();
        assert_eq!(list(cache.path()).unwrap()[0].used, Timestamp(1_000_000_000_000));
        note_use(&folder, &Location::memory("one"));
        assert!(list(cache.path()).unwrap()[0].used > Timestamp(1_000_000_000_000));
    }
}
