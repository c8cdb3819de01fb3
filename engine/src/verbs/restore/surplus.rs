//! What is in a folder of the target but not in the snapshot: the names that were there, without those that the snapshot has.
//!
//! What must hold: a name that was met is never surplus, whether it was met before the folder was opened or after, and in whatever order.

use crate::target::remove::Names;
use crate::target::{Failure, Folder};

/// What is known of the names in one folder while the snapshot is read.
#[derive(Default)]
pub(super) struct Surplus {
    /// The names that were there before anything was restored into it, once they have been listed.
    there: Option<There>,
    /// The names that the snapshot has, until then.
    met: Names,
    /// The snapshot has something in this folder.
    pub(super) has_met: bool,
    /// The name that was met last is not among those that were there.
    is_unlisted: bool,
}

struct There {
    names: Names,
    met: Vec<bool>,
}

impl There {
    /// Returns whether the name is listed.
    fn meet(&mut self, name: &[u8]) -> bool {
        let met = self.names.find(name).and_then(|at| self.met.get_mut(at));
        met.map(|met| *met = true).is_some()
    }
}

impl Surplus {
    /// The snapshot has this name. `waits`: the folder may be listed later. Returns whether the name could be remembered.
    pub(super) fn meet(&mut self, name: &[u8], waits: bool) -> bool {
        self.has_met = true;
        match &mut self.there {
            Some(there) => {
                self.is_unlisted = !there.meet(name);
                true
            }
            None if waits => self.met.push(name),
            None => true,
        }
    }

    /// Lists the folder, before anything is restored into it.
    pub(super) fn list(&mut self, folder: &Folder) -> Result<(), Failure> {
        let names = folder.list()?;
        let mut there = There {
            met: vec![false; names.len()],
            names,
        };
        if folder.path().is_empty() {
            // A file system's own, on every fresh volume: never surplus, whether the snapshot has one or not.
            there.meet(b"lost+found");
        }
        for name in std::mem::take(&mut self.met).iter() {
            self.is_unlisted = !there.meet(name);
        }
        self.there = Some(there);
        Ok(())
    }

    /// Something has the name that was met last. If it is not listed, the file system takes several names for one, and nobody can tell which of the
    /// others are surplus: then none is. Returns whether that is so.
    pub(super) fn doubt(&mut self) -> bool {
        self.there.take_if(|_| self.is_unlisted).is_some()
    }

    /// The names that the snapshot does not have, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &[u8]> {
        let there = self.there.iter();
        there.flat_map(|there| {
            let names = there.names.iter().zip(&there.met);
            names.filter(|(_, met)| !**met).map(|(name, _)| name)
        })
    }
}
