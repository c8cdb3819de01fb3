//! One pass through the tree: decides about every entry, makes the folders, and fills windows with everything else.
//!
//! What is done with everything but folders is in [`items`], what is removed in [`removal`].
//!
//! What must hold: an entry is reached only through the folder that this pass opened for it. A folder in which nothing is chosen is not made; one that
//! could not be made takes what is in it along, and each is counted.

mod items;
mod removal;

use std::sync::Arc;

use super::StepKind;
use super::link::Links;
use super::salvage::{Found, Salvage};
use super::select::{Chosen, Verdict};
use super::surplus::Surplus;
use super::window::Window;
use super::work::{Work, is_far};
use crate::format::tree::{Entry, EntryKind, Metadata, ReadAhead, TreeSource};
use crate::target::decide::decide;
use crate::target::name::{check_path, is_inside, split_path};
use crate::target::{Action, Existing, Failure, Folder, LossKind, Overwrite};
use crate::words::{BlobId, Error, Result};

/// Where requests take long: how many threads load the tree ahead, and how many of its blobs.
const TREE_THREADS: usize = 4;
const TREE_BLOBS_AHEAD: usize = 48;

/// Walks through the tree and hands everything over. Ends early when everything is stopped.
pub(super) fn walk(work: &Work<'_>, tree: BlobId, chosen: &Chosen) -> Result<()> {
    if !is_far(work.repository) {
        return walk_through(work, work.repository, tree, chosen);
    }
    std::thread::scope(|scope| {
        let source = ReadAhead::new(scope, work.repository, TREE_THREADS, TREE_BLOBS_AHEAD);
        walk_through(work, Arc::new(source), tree, chosen)
    })
}

fn walk_through(work: &Work<'_>, source: impl TreeSource + Clone, tree: BlobId, chosen: &Chosen) -> Result<()> {
    let mut walk = Walk::new(work, chosen)?;
    let mut entries = Salvage::new(work.repository, source, tree, &chosen.within)?;
    let mut met = false;
    loop {
        if work.tally.is_stopped() {
            return Ok(());
        }
        let next = match entries.next() {
            Ok(Some(Found::Entry(entry))) => walk.take(entry)?,
            Ok(Some(Found::Lost { path, why, entries })) => {
                // What is not on the list any more may be what would be removed.
                walk.removes = false;
                work.tally.fail_many(entries, || path, why);
                Next::Entry
            }
            Ok(None) => break,
            Err(error) => {
                // What was found before is restored all the same.
                walk.removes = false;
                walk.finish();
                return Err(error);
            }
        };
        met = true;
        if let Next::After(mut path) = next {
            // The first path that can follow all that is inside.
            path.push(1);
            entries.seek(&path);
        }
    }
    walk.finish();
    if !met && !chosen.within.is_empty() {
        return Err(Error::Invalid(format!(
            "`{}` is not in the snapshot",
            String::from_utf8_lossy(&chosen.within)
        )));
    }
    Ok(())
}

/// What comes after an entry.
enum Next {
    Entry,
    /// Nothing inside this path is wanted.
    After(Vec<u8>),
}

struct Walk<'w, 'a> {
    work: &'w Work<'a>,
    chosen: &'w Chosen,
    /// The folders on the way to the entry, the target's own first.
    levels: Vec<Level>,
    /// The path of the innermost, below the target.
    path: Vec<u8>,
    links: Links,
    window: Window,
    /// What the snapshot does not have is removed.
    removes: bool,
}

struct Level {
    /// How much of `path` is its own.
    length: usize,
    state: LevelState,
    chosen: bool,
    surplus: Option<Surplus>,
}

enum LevelState {
    Open(Arc<Folder>),
    /// It will be made when something in it is chosen.
    Waiting(Option<Metadata>),
    /// It could not be made.
    Lost,
}

impl<'w, 'a> Walk<'w, 'a> {
    fn new(work: &'w Work<'a>, chosen: &'w Chosen) -> Result<Self> {
        let surplus = match work.options.delete {
            true => Some(Surplus::of(&work.root).map_err(|failure| Error::Invalid(failure.to_string()))?),
            false => None,
        };
        let root = Level {
            length: 0,
            state: LevelState::Open(Arc::clone(&work.root)),
            chosen: chosen.takes_root(),
            surplus,
        };
        Ok(Self {
            work,
            chosen,
            levels: vec![root],
            path: Vec::new(),
            removes: work.options.delete,
            links: Links::default(),
            window: Window::default(),
        })
    }

    /// Everything has been found.
    fn finish(&mut self) {
        while !self.levels.is_empty() {
            self.leave();
        }
        self.window.flush(self.work);
    }

    fn take(&mut self, entry: &Entry) -> Result<Next> {
        let is_folder = matches!(entry.kind, EntryKind::Folder);
        let skip = || {
            if is_folder {
                Next::After(entry.path.clone())
            } else {
                Next::Entry
            }
        };
        let Some(path) = self.below(entry) else {
            return Ok(Next::Entry);
        };
        if path.is_empty() {
            self.take_root(&entry.metadata);
            return Ok(Next::Entry);
        }
        if let Err(bad) = check_path(path) {
            self.work.tally.fail(|| path.to_vec(), bad);
            return Ok(skip());
        }
        let Some((parent, name)) = split_path(path) else {
            return Ok(Next::Entry);
        };
        self.reach(parent);
        let above = self.levels.last().is_some_and(|level| level.chosen);
        self.see(name);
        match self.chosen.ask(&entry.path, is_folder, above) {
            Verdict::LeftOut => return Ok(skip()),
            Verdict::Passed => {
                self.enter(path, LevelState::Waiting(Some(entry.metadata.clone())), false);
                return Ok(Next::Entry);
            }
            Verdict::Chosen => {}
        }
        let folder = self.open();
        if !is_folder {
            match folder {
                Some(folder) => self.item(&folder, name, entry)?,
                None => self
                    .work
                    .tally
                    .fail(|| path.to_vec(), "The folder it is in could not be restored"),
            }
            return Ok(Next::Entry);
        }
        let state = match folder {
            Some(folder) => self.make_folder(&folder, name, Some(entry.metadata.clone())),
            None => {
                self.work
                    .tally
                    .fail(|| path.to_vec(), "The folder it is in could not be restored");
                LevelState::Lost
            }
        };
        self.enter(path, state, true);
        Ok(Next::Entry)
    }

    /// The entry's path below the target; a single file goes into it under its own name.
    fn below<'e>(&self, entry: &'e Entry) -> Option<&'e [u8]> {
        let within = &self.chosen.within[..];
        if entry.path == within {
            return Some(if matches!(entry.kind, EntryKind::Folder) {
                &[]
            } else {
                entry.name()
            });
        }
        let rest = entry.path.strip_prefix(within)?;
        if within.is_empty() {
            Some(rest)
        } else {
            rest.strip_prefix(b"/")
        }
    }

    /// The target stands for the folder that was backed up, and is dressed like it; but a folder that has a life of its own (not empty, another
    /// owner, other permissions) keeps what it has, unless it is to be made the same.
    fn take_root(&mut self, metadata: &Metadata) {
        let (root, options) = (&self.work.root, self.work.options);
        self.work.tally.step(StepKind::Folder, 0, Vec::new);
        if !self.chosen.takes_root() || options.overwrite == Overwrite::Never {
            return;
        }
        let (user, group) = (options.owners.user(metadata.user), options.owners.group(metadata.group));
        let like = |there: Existing| (there.mode, there.user, there.group) == (metadata.mode, user, group);
        if root.target().was_empty() || options.delete || root.itself().is_none_or(like) {
            root.set_metadata(metadata.clone());
        } else {
            let losses = &root.target().losses;
            losses.add(
                LossKind::TargetFolder,
                Vec::new,
                "it is not empty, and its owner or permissions are others",
            );
        }
    }

    /// Leaves folders until the innermost is `parent`, or enters those on the way to it that the snapshot does not tell of.
    fn reach(&mut self, parent: &[u8]) {
        while self.levels.len() > 1 && self.path != parent && !is_inside(parent, &self.path) {
            self.leave();
        }
        while self.path.len() < parent.len() {
            let start = if self.path.is_empty() { 0 } else { self.path.len() + 1 };
            let rest = parent.get(start..).unwrap_or_default();
            let end = start + rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            let chosen = self.levels.last().is_some_and(|level| level.chosen);
            self.see(&parent[start..end]);
            self.enter(&parent[..end], LevelState::Waiting(None), chosen);
        }
    }

    fn enter(&mut self, path: &[u8], state: LevelState, chosen: bool) {
        let surplus = self.surplus_of(&state, path);
        self.path.clear();
        self.path.extend_from_slice(path);
        self.levels.push(Level {
            length: path.len(),
            state,
            chosen,
            surplus,
        });
    }

    fn leave(&mut self) {
        if let Some(mut level) = self.levels.pop() {
            self.remove_surplus(&mut level, None);
        }
        self.path.truncate(self.levels.last().map_or(0, |level| level.length));
    }

    /// The innermost folder, and those above it that wait for something in them, are made. Nothing if one of them could not be.
    fn open(&mut self) -> Option<Arc<Folder>> {
        let mut above: Option<Arc<Folder>> = None;
        for at in 0..self.levels.len() {
            let level = self.levels.get_mut(at)?;
            above = match std::mem::replace(&mut level.state, LevelState::Lost) {
                LevelState::Open(folder) => {
                    level.state = LevelState::Open(Arc::clone(&folder));
                    Some(folder)
                }
                LevelState::Lost => return None,
                LevelState::Waiting(metadata) => {
                    let path = self.path.get(..level.length)?.to_vec();
                    let name = split_path(&path)?.1;
                    let state = self.make_folder(&above?, name, metadata);
                    let surplus = self.surplus_of(&state, &path);
                    let folder = if let LevelState::Open(folder) = &state {
                        Some(Arc::clone(folder))
                    } else {
                        None
                    };
                    let level = self.levels.get_mut(at)?;
                    (level.state, level.surplus) = (state, surplus);
                    Some(folder?)
                }
            };
        }
        above
    }

    fn make_folder(&self, parent: &Arc<Folder>, name: &[u8], metadata: Option<Metadata>) -> LevelState {
        match self.try_folder(parent, name, metadata) {
            Ok(folder) => {
                self.work.tally.step(StepKind::Folder, 0, || folder.path());
                LevelState::Open(folder)
            }
            Err(failure) => {
                self.work.failed(|| parent.path_of(name), failure);
                LevelState::Lost
            }
        }
    }

    fn try_folder(
        &self,
        parent: &Arc<Folder>,
        name: &[u8],
        metadata: Option<Metadata>,
    ) -> Result<Arc<Folder>, Failure> {
        let Some(existing) = parent.existing(name)? else {
            return parent.create(name, metadata);
        };
        let modified = metadata.clone().unwrap_or_default();
        match decide(
            &EntryKind::Folder,
            &modified,
            Some(&existing),
            self.work.options.overwrite,
        ) {
            Action::Refresh | Action::Create => parent.enter(name, &existing, metadata),
            Action::Keep => parent.enter(name, &existing, None),
            Action::Replace => {
                if !self.work.options.dry_run {
                    parent.remove(name)?;
                }
                parent.create(name, metadata)
            }
            Action::Blocked => Err(Failure::refused(
                "Something that is not a folder is in its place and may not be replaced",
            )),
        }
    }
}
