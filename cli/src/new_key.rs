//! The key of a repository that is yet to be made: safe on the disk, with its recovery sheet, before there is anything that only it can open.
//!
//! What must hold: whenever the repository is there, so is its key. The key is drawn first and written under the name of the key file with `.new`
//! behind it; then the repository is made with it; then the files get their names. Whoever is killed in between finds the `.new` again the next time and
//! goes on with it. No file is ever written over, and a key that has its name already stands for a repository that was there.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use engine::crypto::key_text::HolderKey;
use engine::format::envelope::Access;
use engine::repository::{Credential, InitOptions, Locked, Repository, new_first_key, repository_of_first_key};
use engine::store::Location;
use engine::store::naming::{Naming, name_if_free};
use engine::words::{Error, RepositoryId, Timestamp};
use zeroize::Zeroizing;

use crate::session::{Session, now};

/// Where the key and the recovery sheet of a new repository will be.
pub struct NewKey {
    pub key: PathBuf,
    pub sheet: Option<PathBuf>,
}

impl NewKey {
    /// Makes the repository at `location`, or finishes what an earlier run began.
    pub fn make(&self, session: &Session, location: &Location, options: InitOptions) -> Result<Repository> {
        for path in std::iter::once(&self.key).chain(&self.sheet) {
            refuse_to_write_over(path)?;
        }
        let pending = pending(&self.key);
        let (key, is_fresh) = match began(&pending, location)? {
            Some(key) => (key, false),
            None => (drawn(&pending, location)?, true),
        };
        if let Some(sheet) = &self.sheet {
            // It follows from the key, so what an earlier run has left of it can go.
            let unfinished = self::pending(sheet);
            remove(&unfinished)?;
            let text = recovery_sheet(repository_of_first_key(&key), location, now(), &key);
            write_secret(&unfinished, &text)?;
        }
        let options = InitOptions {
            first_key: Some(key.clone()),
            ..options
        };
        let cache_folder = options.cache_folder.clone();
        let repository = match Repository::init(session.store_at(location)?, options) {
            Err(error @ Error::RepositoryExists { .. }) => {
                let locked = Locked::find(session.store_at(location)?, cache_folder, Access::Write)?;
                match locked.unlock(&Credential::Key(key)) {
                    // An earlier run made it and did not come so far as to name its key.
                    Ok(repository) => repository,
                    Err(_) => {
                        if is_fresh {
                            remove(&pending)?;
                            self.sheet.iter().try_for_each(|sheet| remove(&self::pending(sheet)))?;
                        }
                        return Err(error.into());
                    }
                }
            }
            other => other?.0,
        };
        self.sheet.iter().try_for_each(|sheet| name(sheet))?;
        name(&self.key)?;
        Ok(repository)
    }
}

/// A file that is there is none that a key goes to.
pub fn refuse_to_write_over(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(_) => Err(taken(path).into()),
        Err(_) => Ok(()),
    }
}

fn taken(path: &Path) -> Error {
    Error::Invalid(format!("{} exists; it is not written over", path.display()))
}

/// Where a file is while its repository is being made.
pub fn pending(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// The key that an earlier run drew for this location and did not come to name.
fn began(pending: &Path, location: &Location) -> Result<Option<HolderKey>> {
    let what = || format!("Could not read {}", pending.display());
    let text = match std::fs::read_to_string(pending) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(what),
    };
    let Ok(key) = HolderKey::from_text(&text) else {
        // Cut short while it was written: nothing can have been made with it.
        remove(pending)?;
        return Ok(None);
    };
    if text.lines().next() != Some(&title(repository_of_first_key(&key), location)) {
        bail!(Error::Invalid(format!(
            "{} is the key of a repository at another place that was not finished; finish that one, or put the file somewhere else",
            pending.display()
        )));
    }
    Ok(Some(key))
}

fn drawn(pending: &Path, location: &Location) -> Result<HolderKey> {
    let key = new_first_key();
    write_secret(pending, &key_file(repository_of_first_key(&key), location, &key))?;
    Ok(key)
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("Could not remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Gives a finished file its name, never over another.
fn name(path: &Path) -> Result<()> {
    let what = || format!("Could not write {}", path.display());
    match name_if_free(rustix::fs::CWD, &pending(path), path).map_err(std::io::Error::from) {
        Ok(Naming::Taken) => Err(taken(path).into()),
        Ok(Naming::Done | Naming::Looked) => sync_folder_of(path).with_context(what),
        Err(error) => Err(error).with_context(what),
    }
}

fn title(repository: RepositoryId, location: &Location) -> String {
    format!("# A key to the Ararat repository {repository} at {location}")
}

/// The content of a key file.
pub fn key_file(repository: RepositoryId, location: &Location, key: &HolderKey) -> Zeroizing<String> {
    let title = title(repository, location);
    Zeroizing::new(format!("{title}\n{}\n", key.to_text().as_str()))
}

/// A page that brings a repository back on the worst day: print it, keep it elsewhere.
pub fn recovery_sheet(
    repository: RepositoryId,
    location: &Location,
    made: Timestamp,
    key: &HolderKey,
) -> Zeroizing<String> {
    let line = key.to_text();
    let (prefix, rest) = line.split_at("ararat-key-1".len());
    let groups: Vec<String> = rest
        .as_bytes()
        .chunks(4)
        .map(|group| String::from_utf8_lossy(group).into_owned())
        .collect();
    let mut text = Zeroizing::new(format!(
        "# Ararat recovery sheet\n#\n# Repository  {repository}\n# Location    {location}\n# Made        {}\n#\n# Whoever holds this page can read every backup in the repository. To restore:\n#   save this page as sheet.txt, then\n#   ararat repo -r LOCATION --key-file sheet.txt restore latest --target FOLDER\n\n{prefix}\n",
        crate::output::show::time(made),
    ));
    for row in groups.chunks(8) {
        text.push_str("  ");
        text.push_str(&row.join(" "));
        text.push('\n');
    }
    text
}

/// Writes a file that only its owner may read; never over another. When this returns it survives a loss of power.
pub fn write_secret(path: &Path, content: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let what = || format!("Could not write {}", path.display());
    let folder = folder_of(path);
    let is_new = !folder.exists();
    std::fs::create_dir_all(folder).with_context(what)?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(what)?;
    file.write_all(content.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| sync_folder_of(path))
        .with_context(what)?;
    if is_new {
        // The folders on the way are as new as the file.
        for above in folder.ancestors().filter(|above| !above.as_os_str().is_empty()) {
            if sync_folder_of(above).is_err() {
                break;
            }
        }
    }
    Ok(())
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes the names in the folder of `path` durable: a file is no safer than its name.
fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(folder_of(path))?.sync_all()
}
