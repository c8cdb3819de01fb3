//! Volume keys: with one, a writer that reads nothing of a repository still sees what is unchanged in its own source.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use engine::crypto::Secret;
use engine::format::keys::Role;
use engine::repository::Repository;
use engine::words::Error;
use etcetera::BaseStrategy;
use zeroize::Zeroizing;

use crate::new_key;

/// The volume key of a backup: of the file that was named, or for a writer of a file of its own for each repository and source. It is drawn on first use, unless
/// nothing may be `made`.
pub fn of_backup(named: Option<&Path>, repository: &Repository, source: &[u8], made: bool) -> Result<Option<Secret>> {
    let path = match (named, repository.role()) {
        (Some(path), _) => path.to_owned(),
        (None, Role::Writer) => match default_path(repository, source) {
            Some(path) => path,
            None => return Ok(None),
        },
        (None, Role::Reader | Role::Maintainer | Role::Owner) => return Ok(None),
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(parse(&Zeroizing::new(text)).ok_or_else(|| {
            Error::Invalid(format!("{} holds no volume key: 64 hexadecimal digits", path.display()))
        })?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && made => {
            let key = Secret::random();
            let digits = Zeroizing::new(data_encoding::HEXLOWER.encode(key.expose()));
            let head = "# An Ararat volume key: shows names and attributes of this one source, never contents";
            new_key::write_secret(&path, &Zeroizing::new(format!("{head}\n{}\n", digits.as_str())))?;
            Ok(Some(key))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("Could not read the volume key {}", path.display())),
    }
}

/// `volumes/<repository>-<source>` in the user's configuration; the source is not to be read from its name.
fn default_path(repository: &Repository, source: &[u8]) -> Option<PathBuf> {
    let folder = etcetera::choose_base_strategy()
        .ok()?
        .config_dir()
        .join("ararat/volumes");
    let source = repository
        .keys()
        .id
        .as_ref()?
        .subkey(&[b"volume".as_slice(), source].concat());
    let source = data_encoding::HEXLOWER.encode(&source.expose()[..8]);
    Some(folder.join(format!("{}-{source}", repository.id())))
}

fn parse(text: &str) -> Option<Secret> {
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'))?;
    let bytes = Zeroizing::new(data_encoding::HEXLOWER_PERMISSIVE.decode(line.as_bytes()).ok()?);
    Some(Secret::new(bytes.as_slice().try_into().ok()?))
}
