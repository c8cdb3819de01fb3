//! What is in a folder of the target but not in the snapshot: found by walking through both lists of names side by side.

use crate::target::remove::Names;
use crate::target::{Failure, Folder};

/// The names that were in a folder before anything was restored into it, and how many of them have been passed.
pub(super) struct Surplus {
    names: Names,
    at: usize,
}

impl Surplus {
    /// Lists a folder.
    pub(super) fn of(folder: &Folder) -> Result<Self, Failure> {
        let is_root = folder.path().is_empty();
        let mut names = folder.list()?;
        if is_root {
            // A file system's own, on every fresh volume.
            names.retain(|name| name != b"lost+found");
        }
        Ok(Self { names, at: 0 })
    }

    /// The next name that sorts before `until` (nothing: the end) and is not that; passes `until` itself.
    pub(super) fn before(&mut self, until: Option<&[u8]>) -> Option<&[u8]> {
        loop {
            let order = match (self.names.get(self.at)?, until) {
                (name, Some(until)) => name.cmp(until),
                (_, None) => std::cmp::Ordering::Less,
            };
            match order {
                std::cmp::Ordering::Less => {
                    self.at += 1;
                    return self.names.get(self.at - 1);
                }
                std::cmp::Ordering::Equal => self.at += 1,
                std::cmp::Ordering::Greater => return None,
            }
        }
    }
}
