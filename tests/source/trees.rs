//! Trees for tests, and one way to walk them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use engine::format::tree::entry::compare_paths;
use engine::source::{Found, FoundKind, SourceError, SourceOptions, Walk};

/// A folder that is removed with all that is in it.
pub struct Tree {
    folder: tempfile::TempDir,
}

/// What a walk gave.
#[derive(Debug, Default)]
pub struct Walked {
    pub found: Vec<Found>,
    pub errors: Vec<SourceError>,
    pub excluded: u64,
}

impl Tree {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn at(&self, name: impl AsRef<[u8]>) -> PathBuf {
        self.path().join(OsStr::from_bytes(name.as_ref()))
    }

    /// Makes a file, and the folders above it.
    pub fn file(&self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> &Self {
        let path = self.at(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    pub fn folder(&self, name: impl AsRef<[u8]>) -> &Self {
        std::fs::create_dir_all(self.at(name)).unwrap();
        self
    }

    pub fn symlink(&self, target: impl AsRef<Path>, name: impl AsRef<[u8]>) -> &Self {
        std::os::unix::fs::symlink(target, self.at(name)).unwrap();
        self
    }

    pub fn options(&self) -> SourceOptions {
        SourceOptions {
            here: self.path().to_path_buf(),
            threads: 2,
            ..SourceOptions::default()
        }
    }

    /// Walks the whole folder.
    pub fn walk(&self) -> Walked {
        walk(&["."], self.options())
    }
}

/// Walks, and holds the walk to its promise: paths rise strictly.
pub fn walk(sources: &[impl AsRef<OsStr>], options: SourceOptions) -> Walked {
    let sources: Vec<PathBuf> = sources.iter().map(|source| PathBuf::from(source.as_ref())).collect();
    collect(Walk::new(&sources, options).unwrap())
}

pub fn collect(mut walk: Walk) -> Walked {
    let mut walked = Walked::default();
    for batch in &mut walk {
        assert!(!batch.is_empty());
        for item in batch {
            match item {
                Ok(found) => walked.found.push(found),
                Err(error) => walked.errors.push(error),
            }
        }
    }
    for pair in walked.found.windows(2) {
        let (left, right) = (&pair[0].path, &pair[1].path);
        assert!(
            compare_paths(left, right).is_lt(),
            "{} is not before {}",
            String::from_utf8_lossy(left),
            String::from_utf8_lossy(right)
        );
    }
    walked.excluded = walk.excluded();
    walked
}

impl Walked {
    /// The paths as text; the root is `""`.
    pub fn paths(&self) -> Vec<String> {
        self.found
            .iter()
            .map(|found| String::from_utf8_lossy(&found.path).into_owned())
            .collect()
    }

    pub fn get(&self, path: impl AsRef<[u8]>) -> &Found {
        let path = path.as_ref();
        let found = self.found.iter().find(|found| found.path == path);
        found.unwrap_or_else(|| panic!("{} was not found", String::from_utf8_lossy(path)))
    }

    pub fn kind(&self, path: impl AsRef<[u8]>) -> &FoundKind {
        &self.get(path).kind
    }

    pub fn expect_no_errors(self) -> Self {
        assert!(
            self.errors.is_empty(),
            "{} errors, the first: {}",
            self.errors.len(),
            self.errors[0]
        );
        self
    }
}

/// Whether the tests may mount and make devices.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
