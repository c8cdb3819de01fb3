//! Removing what is in a restored folder but not in the snapshot, nor left out of the selection.

use std::sync::Arc;

use super::{Level, LevelState, Walk};
use crate::target::{ExistingKind, Failure, Folder};
use crate::verbs::restore::StepKind;
use crate::verbs::restore::select::Verdict;
use crate::verbs::restore::surplus::Surplus;

/// Folders are looked through to this depth for what is left out; deeper ones stay.
const DEPTH_MAX: usize = 1000;

impl Walk<'_, '_> {
    /// What is in a folder that was there, if the rest of it is to be removed.
    pub(super) fn surplus_of(&self, state: &LevelState, path: &[u8]) -> Option<Surplus> {
        match state {
            LevelState::Open(folder) if self.removes && !folder.is_fresh() => match Surplus::of(folder) {
                Ok(surplus) => Some(surplus),
                Err(failure) => {
                    self.work.tally.fail(|| path.to_vec(), failure);
                    None
                }
            },
            LevelState::Open(_) | LevelState::Waiting(_) | LevelState::Lost => None,
        }
    }

    /// The snapshot has this name in the innermost folder, so that what sorts before it and has not been seen is surplus.
    pub(super) fn see(&mut self, name: &[u8]) {
        if !self.removes {
            return;
        }
        if let Some(mut level) = self.levels.pop() {
            self.remove_surplus(&mut level, Some(name));
            self.levels.push(level);
        }
    }

    /// Removes surplus names that sort before `until`, or all that are left.
    pub(super) fn remove_surplus(&self, level: &mut Level, until: Option<&[u8]>) {
        let (Some(surplus), LevelState::Open(folder), true) = (&mut level.surplus, &level.state, self.removes) else {
            return;
        };
        while let Some(name) = surplus.before(until) {
            let below = folder.path_of(name);
            let path = match self.chosen.within.is_empty() {
                true => below,
                false => [&self.chosen.within[..], &below].join(&b'/'),
            };
            if let Err(failure) = self.remove(folder, name, &path, level.chosen, 0) {
                self.work.tally.fail(|| folder.path_of(name), failure);
            }
        }
    }

    /// Removes one thing, but not what is left out or spared in it. `path` is the one it would have in the snapshot. Returns whether it is gone.
    fn remove(
        &self,
        folder: &Arc<Folder>,
        name: &[u8],
        path: &[u8],
        above: bool,
        depth: usize,
    ) -> Result<bool, Failure> {
        let Some(existing) = folder.existing(name)? else {
            return Ok(true);
        };
        let is_folder = existing.kind == ExistingKind::Folder;
        let verdict = self.chosen.ask(path, is_folder, above);
        if verdict == Verdict::LeftOut || self.chosen.spares(path) || depth > DEPTH_MAX {
            return Ok(false);
        }
        let dry_run = self.work.options.dry_run;
        let gone = || {
            self.work.tally.step(StepKind::Deleted, 0, || folder.path_of(name));
            Ok(true)
        };
        if !is_folder || self.chosen.takes_all_below(path) {
            if !dry_run {
                folder.remove(name)?;
            }
            return gone();
        }
        let inside = folder.enter(name, &existing, None)?;
        let names = inside.list()?;
        let mut empty = true;
        for name in (0..).map_while(|index| names.get(index)) {
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
