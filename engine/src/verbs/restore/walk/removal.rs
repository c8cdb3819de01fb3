//! Removing what is in a restored folder but not in the snapshot, nor left out of the selection or of the backup.
//!
//! What must hold: nothing goes before everything in its folder has been read from the snapshot; nothing goes that the snapshot says nothing about: what its
//! backup left out, could not read, or was not asked for, and what other file systems hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustix::fs::OFlags;

use super::{Level, LevelState, Walk};
use crate::source::Marker;
use crate::target::file::open_existing;
use crate::target::remove::Names;
use crate::target::{ExistingKind, Failure, Folder};
use crate::verbs::restore::StepKind;
use crate::verbs::restore::compare::read_full;
use crate::verbs::restore::select::Verdict;

/// Folders are looked through to this depth for what is left out; deeper ones stay.
const DEPTH_MAX: usize = 1000;

/// Why something stays that the snapshot does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stay {
    LeftOut,
    Mounted,
    Bare,
    Alike,
}

impl Stay {
    fn text(self) -> &'static str {
        match self {
            Self::LeftOut => "What the backup left out or could not read is not deleted",
            Self::Mounted => "Nothing is deleted in other file systems that are mounted in the target",
            Self::Bare => {
                "Nothing is deleted in folders that are empty in the snapshot: it has no other file systems, and one may have been mounted there"
            }
            Self::Alike => "Nothing is deleted where the file system takes several names for one",
        }
    }
}

/// What stays: each reason with the first path.
pub(super) type Stays = BTreeMap<Stay, Vec<u8>>;

impl Walk<'_, '_> {
    fn stay(&mut self, why: Stay, path: impl FnOnce() -> Vec<u8>) {
        self.stays.entry(why).or_insert_with(path);
    }

    /// Says what stays, once for each reason.
    pub(super) fn tell_stays(&self) {
        for (why, path) in &self.stays {
            let first = String::from_utf8_lossy(path);
            self.work
                .tally
                .progress
                .note(&format!("{} (first: {first})", why.text()));
        }
    }

    /// The path that something below the target has in the snapshot.
    fn in_snapshot(&self, path: &[u8]) -> Vec<u8> {
        match (self.chosen.within.is_empty(), path.is_empty()) {
            (true, _) => path.to_vec(),
            (false, true) => self.chosen.within.clone(),
            (false, false) => [&self.chosen.within[..], path].join(&b'/'),
        }
    }

    /// A folder has just been opened: if what the snapshot does not have is to be removed from it, lists what is there. `path` is below the target.
    pub(super) fn look(&mut self, level: &mut Level, path: &[u8]) {
        let chosen = self.chosen;
        let (LevelState::Open(folder), Some(spared), true) = (&level.state, &chosen.spared, self.removes) else {
            return;
        };
        if folder.is_fresh() || !spared.is_whole(&self.in_snapshot(path)) {
            return;
        }
        if folder.itself().map(|folder| folder.device) != self.device {
            return self.stay(Stay::Mounted, || path.to_vec());
        }
        if let Err(failure) = level.surplus.list(folder) {
            self.work.tally.fail(|| path.to_vec(), failure);
        }
    }

    /// The snapshot has this name in the innermost folder.
    pub(super) fn meet(&mut self, name: &[u8]) {
        let (Some(spared), true, Some(level)) = (&self.chosen.spared, self.removes, self.levels.last_mut()) else {
            return;
        };
        level.is_marked |= spared.markers().iter().any(|marker| marker.name == name);
        let waits = matches!(level.state, LevelState::Waiting(_));
        self.removes = level.surplus.meet(name, waits);
    }

    /// Something has the name that was met last in the innermost folder.
    pub(super) fn was_there(&mut self) {
        if let Some(mut level) = self.levels.pop() {
            let path = self.path.clone();
            self.doubt(&mut level, &path);
            self.levels.push(level);
        }
    }

    /// The same for a folder, whose path below the target is given.
    pub(super) fn doubt(&mut self, level: &mut Level, path: &[u8]) {
        if level.surplus.doubt() {
            self.stay(Stay::Alike, || path.to_vec());
        }
    }

    /// All of a folder has been read from the snapshot: removes what that does not have.
    pub(super) fn remove_surplus(&mut self, level: &Level) {
        let chosen = self.chosen;
        let (LevelState::Open(folder), Some(spared), true) = (&level.state, &chosen.spared, self.removes) else {
            return;
        };
        if level.surplus.names().next().is_none() || self.work.tally.is_stopped() {
            return;
        }
        if spared.other_file_systems && !level.surplus.has_met {
            return self.stay(Stay::Bare, || folder.path());
        }
        if level.is_marked || bears(folder, spared.markers()) {
            return self.stay(Stay::LeftOut, || folder.path());
        }
        for name in level.surplus.names() {
            let path = self.in_snapshot(&folder.path_of(name));
            if let Err(failure) = self.remove(folder, name, &path, level.chosen, 0) {
                self.work.tally.fail(|| folder.path_of(name), failure);
            }
        }
    }

    /// Removes one thing, but not what is left out or spared in it. `path` is the one it would have in the snapshot. Returns whether it is gone.
    pub(super) fn remove(
        &mut self,
        folder: &Arc<Folder>,
        name: &[u8],
        path: &[u8],
        above: bool,
        depth: usize,
    ) -> Result<bool, Failure> {
        let (work, chosen) = (self.work, self.chosen);
        let Some(existing) = folder.existing(name)? else {
            return Ok(true);
        };
        let Some(spared) = &chosen.spared else {
            return Ok(false);
        };
        let is_folder = existing.kind == ExistingKind::Folder;
        let verdict = chosen.ask(path, is_folder, above);
        if verdict == Verdict::LeftOut || depth > DEPTH_MAX {
            return Ok(false);
        }
        if spared.spares(path, &existing) {
            self.stay(Stay::LeftOut, || folder.path_of(name));
            return Ok(false);
        }
        // Only folders: of files, a file system of several layers does not always tell the device that it tells of folders.
        if is_folder && Some(existing.device) != self.device {
            self.stay(Stay::Mounted, || folder.path_of(name));
            return Ok(false);
        }
        let dry_run = work.options.dry_run;
        let gone = || {
            work.tally.step(StepKind::Deleted, 0, || folder.path_of(name));
            Ok(true)
        };
        if !is_folder || chosen.takes_all_below(path) {
            if !dry_run {
                folder.remove(name)?;
            }
            return gone();
        }
        let inside = folder.enter(name, &existing, None)?;
        if bears(&inside, spared.markers()) {
            self.stay(Stay::LeftOut, || folder.path_of(name));
            return Ok(false);
        }
        let names: Names = inside.list()?;
        let mut empty = true;
        for name in names.iter() {
            let path = [path, name].join(&b'/');
            empty &= self.remove(&inside, name, &path, verdict == Verdict::Chosen, depth + 1)?;
        }
        if !empty || verdict != Verdict::Chosen {
            return Ok(false);
        }
        if !dry_run {
            folder.remove_empty(name)?;
        }
        gone()
    }
}

/// Whether one of the markers is in the folder. One that cannot be read counts: better too much is left than too little.
fn bears(folder: &Folder, markers: &[Marker]) -> bool {
    markers.iter().any(|marker| match folder.existing(&marker.name) {
        Ok(None) => false,
        Ok(Some(_)) => {
            let mut header = vec![0; marker.header.len()];
            match open_existing(folder, &marker.name, OFlags::RDONLY) {
                Ok(file) => match read_full(&file, &mut header, 0) {
                    Ok(read) => read == header.len() && header == marker.header,
                    Err(_) => true,
                },
                Err(_) => true,
            }
        }
        Err(_) => true,
    })
}
