//! Where a repository is: a folder of this machine, a bucket and prefix of a cloud, or memory (for tests).
//!
//! A location holds no secret, so it can be printed anywhere; a text with a password in it is refused without being repeated.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::words::{Error, Result};

/// Where a repository is. Prints as it can be parsed again.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Location {
    place: Place,
}

/// The kinds of places.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A folder of this machine, as an absolute path.
    Local(PathBuf),
    /// Memory of this process, by name: for tests.
    Memory(String),
    /// S3 or what speaks like it.
    S3(Bucket),
    /// Google Cloud Storage.
    Google(Bucket),
    /// Azure Blob Storage; its bucket is called a container.
    Azure(Bucket),
}

/// A bucket (or container) and the prefix of the repository in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bucket {
    /// The bucket's name.
    pub name: String,
    /// Without slashes at either end; may be empty.
    pub prefix: String,
}

impl Location {
    /// A folder of this machine; a relative path is taken from the current folder.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the path is empty; [`Error::Io`] when the current folder cannot be found out.
    pub fn local(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if path.as_os_str().is_empty() {
            return Err(Error::Invalid("A location is missing: it is empty".to_owned()));
        }
        let path = std::path::absolute(path).map_err(|source| Error::io("make absolute", path, source))?;
        Ok(Self {
            place: Place::Local(without_dots(&path)),
        })
    }

    /// Memory of this process. Everybody who opens the same name sees the same objects.
    pub fn memory(name: impl Into<String>) -> Self {
        Self {
            place: Place::Memory(name.into()),
        }
    }

    /// Reads `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, `file:///path`, `memory:name`, or a path.
    ///
    /// # Errors
    /// [`Error::Invalid`] says what is wrong; it never repeats a password.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some(name) = text.strip_prefix("memory:") {
            return Ok(Self::memory(name.trim_start_matches('/')));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Self::local(text);
        };
        let place = match scheme.to_ascii_lowercase().as_str() {
            "s3" => Place::S3(bucket(scheme, rest)?),
            "gs" => Place::Google(bucket(scheme, rest)?),
            "az" => Place::Azure(bucket(scheme, rest)?),
            "file" => return Self::local(file_path(text)?),
            _ if scheme.contains('/') => return Self::local(text),
            _ => {
                return Err(Error::Invalid(format!(
                    "Location `{scheme}://…` is of no known kind; known are s3://, gs://, az://, file:// and paths"
                )));
            }
        };
        Ok(Self { place })
    }

    /// What kind of place it is, and which.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The folder, when it is one of this machine.
    pub fn local_path(&self) -> Option<&Path> {
        match &self.place {
            Place::Local(path) => Some(path),
            Place::Memory(_) | Place::S3(_) | Place::Google(_) | Place::Azure(_) => None,
        }
    }
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, bucket) = match &self.place {
            Place::Local(path) => return write!(f, "{}", path.display()),
            Place::Memory(name) => return write!(f, "memory:{name}"),
            Place::S3(bucket) => ("s3", bucket),
            Place::Google(bucket) => ("gs", bucket),
            Place::Azure(bucket) => ("az", bucket),
        };
        write!(f, "{scheme}://{}", bucket.name)?;
        if bucket.prefix.is_empty() {
            Ok(())
        } else {
            write!(f, "/{}", bucket.prefix)
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

fn bucket(scheme: &str, rest: &str) -> Result<Bucket> {
    let invalid = |why: &str| Err(Error::Invalid(format!("Location `{scheme}://…` {why}")));
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if name.contains('@') {
        return invalid("holds a user or password; give credentials in the environment or in the cloud's own files");
    }
    if name.is_empty() {
        return invalid("names no bucket");
    }
    if !name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.$".contains(&byte))
    {
        return invalid("has a bucket name with characters that no bucket has");
    }
    if rest.contains(['?', '#']) {
        return invalid("has a `?` or `#`; options are given beside it, not in it");
    }
    let parts: Vec<&str> = prefix.split('/').filter(|part| !part.is_empty()).collect();
    if parts
        .iter()
        .any(|part| *part == "." || *part == ".." || part.chars().any(char::is_control))
    {
        return invalid("has a prefix with `.`, `..` or control characters");
    }
    Ok(Bucket {
        name: name.to_owned(),
        prefix: parts.join("/"),
    })
}

fn file_path(text: &str) -> Result<PathBuf> {
    let invalid = || Error::Invalid("Location `file://…` is not the URL of a folder; write file:///path".to_owned());
    url::Url::parse(text)
        .map_err(|_| invalid())?
        .to_file_path()
        .map_err(|()| invalid())
}

/// Drops `.` and resolves `..` by the text alone, so that one folder has one name.
fn without_dots(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                clean.pop();
            }
            std::path::Component::CurDir => {}
            std::path::Component::Prefix(_) | std::path::Component::RootDir | std::path::Component::Normal(_) => {
                clean.push(part);
            }
        }
    }
    clean
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_location_prints_as_it_can_be_parsed_again() {
        for (text, printed) in [
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket/", "s3://bucket"),
            ("S3://bucket/a//b/", "s3://bucket/a/b"),
            ("gs://b.c_d/x", "gs://b.c_d/x"),
            ("az://$web/x", "az://$web/x"),
            ("file:///with%20space", "/with space"),
            ("/x/./y/../z/", "/x/z"),
            ("memory:", "memory:"),
            ("memory:one", "memory:one"),
        ] {
            let location = Location::parse(text).unwrap();
            assert_eq!(location.to_string(), printed);
            assert_eq!(Location::parse(printed).unwrap(), location);
        }
    }

    #[test]
    fn a_relative_path_becomes_absolute() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(
            Location::parse("./repo").unwrap().local_path(),
            Some(here.join("repo").as_path())
        );
        assert_eq!(
            Location::parse("odd:name").unwrap().local_path(),
            Some(here.join("odd:name").as_path())
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_a_password_is_not_repeated() {
        for text in [
            "",
            "sftp://host/x",
            "s3://",
            "s3:///x",
            "s3://key:hunter2@bucket/x",
            "gs://b/../c",
            "az://c/x?sig=hunter2",
        ] {
            let error = Location::parse(text).unwrap_err().to_string();
            assert!(
                error.starts_with("Location") || error.starts_with("A location"),
                "{error}"
            );
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
