//! One pass through the tree: decides about every entry, makes the folders, and fills windows with everything else.
//!
//! What is done with everything but folders is in [`items`], what is removed in [`removal`].
//!
//! What must hold: an entry is reached only through the folder that this pass opened for it. A folder in which nothing is chosen is not made; one that
//! could not be made takes what is in it along, and each is counted.

mod items;
mod removal;

use std::sync::Arc;

use self::removal::Stays;
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
    let mut walk = Walk::new(work, chosen);
    let mut entries = Salvage::new(work.repository, source, tree, &chosen.within)?;
    let mut met = false;
    loop {
        if work.tally.is_stopped() {
            return Ok(());
        }
        walk.promote_all()?;
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
                walk.finish()?;
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
    walk.finish()?;
    walk.tell_stays();
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
    /// But not in other file systems than the target's own.
    device: Option<u64>,
    stays: Stays,
}

struct Level {
    /// How much of `path` is its own.
    length: usize,
    state: LevelState,
    chosen: bool,
    surplus: Surplus,
    /// The snapshot has a file in it that marked it for the backup, so that the rest was left out.
    is_marked: bool,
}

enum LevelState {
    Open(Arc<Folder>),
    /// It will be made when something in it is chosen.
    Waiting(Option<Metadata>),
    /// It could not be made.
    Lost,
}

impl Level {
    fn new(length: usize, state: LevelState, chosen: bool) -> Self {
        Self {
            length,
            state,
            chosen,
            surplus: Surplus::default(),
            is_marked: false,
        }
    }
}

impl<'w, 'a> Walk<'w, 'a> {
    fn new(work: &'w Work<'a>, chosen: &'w Chosen) -> Self {
        let root = Level::new(0, LevelState::Open(Arc::clone(&work.root)), chosen.takes_root());
        Self {
            work,
            chosen,
            levels: vec![root],
            path: Vec::new(),
            removes: work.options.delete,
            device: work.root.itself().map(|root| root.device),
            stays: Stays::default(),
            links: Links::default(),
            window: Window::default(),
        }
    }

    /// Everything has been found.
    fn finish(&mut self) -> Result<()> {
        while !self.levels.is_empty() {
            self.leave();
        }
        loop {
            self.window.flush(self.work);
            // What fails until the end may have further names, which then get the content.
            self.work.queue.wait_until_idle();
            if !self.promote_all()? {
                return Ok(());
            }
        }
    }

    /// Names whose file's first name could not be restored become the first. Returns whether there were any.
    fn promote_all(&mut self) -> Result<bool> {
        let promoted = self.work.take_promoted();
        let any = !promoted.is_empty();
        for (item, kind) in promoted {
            self.promote(item, &kind)?;
        }
        Ok(any)
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
        self.meet(name);
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
            Some(folder) => {
                let (state, was_there) = self.make_folder(&folder, name, Some(entry.metadata.clone()));
                if was_there {
                    self.was_there();
                }
                state
            }
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
        if let Some(mut level) = self.levels.pop() {
            self.look(&mut level, &[]);
            self.levels.push(level);
        }
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
            self.meet(&parent[start..end]);
            self.enter(&parent[..end], LevelState::Waiting(None), chosen);
        }
    }

    fn enter(&mut self, path: &[u8], state: LevelState, chosen: bool) {
        let mut level = Level::new(path.len(), state, chosen);
        self.look(&mut level, path);
        self.path.clear();
        self.path.extend_from_slice(path);
        self.levels.push(level);
    }

    fn leave(&mut self) {
        if let Some(level) = self.levels.pop() {
            self.remove_surplus(&level);
        }
        self.path.truncate(self.levels.last().map_or(0, |level| level.length));
    }

    /// The innermost folder, and those above it that wait for something in them, are made. Nothing if one of them could not be.
    fn open(&mut self) -> Option<Arc<Folder>> {
        let mut levels = std::mem::take(&mut self.levels);
        let opened = self.open_all(&mut levels);
        self.levels = levels;
        opened
    }

    fn open_all(&mut self, levels: &mut [Level]) -> Option<Arc<Folder>> {
        let mut above: Option<(&mut Level, Arc<Folder>)> = None;
        for level in levels {
            let folder = match std::mem::replace(&mut level.state, LevelState::Lost) {
                LevelState::Open(folder) => folder,
                LevelState::Lost => return None,
                LevelState::Waiting(metadata) => {
                    let path = self.path.get(..level.length)?.to_vec();
                    let (parent, name) = split_path(&path)?;
                    let (outer, folder) = above?;
                    let (state, was_there) = self.make_folder(&folder, name, metadata);
                    if was_there {
                        self.doubt(outer, parent);
                    }
                    let LevelState::Open(folder) = state else { return None };
                    level.state = LevelState::Open(Arc::clone(&folder));
                    self.look(level, &path);
                    folder
                }
            };
            level.state = LevelState::Open(Arc::clone(&folder));
            above = Some((level, folder));
        }
        above.map(|(_, folder)| folder)
    }

    /// Makes a folder, or goes into one that is there. Says also whether anything had its name.
    fn make_folder(&self, parent: &Arc<Folder>, name: &[u8], metadata: Option<Metadata>) -> (LevelState, bool) {
        let existing = match parent.existing(name) {
            Ok(existing) => existing,
            Err(failure) => {
                self.work.failed(|| parent.path_of(name), failure);
                return (LevelState::Lost, false);
            }
        };
        let state = match self.try_folder(parent, name, existing.as_ref(), metadata) {
            Ok(folder) => {
                self.work.tally.step(StepKind::Folder, 0, || folder.path());
                LevelState::Open(folder)
            }
            Err(failure) => {
                self.work.failed(|| parent.path_of(name), failure);
                LevelState::Lost
            }
        };
        (state, existing.is_some())
    }

    fn try_folder(
        &self,
        parent: &Arc<Folder>,
        name: &[u8],
        existing: Option<&Existing>,
        metadata: Option<Metadata>,
    ) -> Result<Arc<Folder>, Failure> {
        let Some(existing) = existing else {
            return parent.create(name, metadata);
        };
        let modified = metadata.clone().unwrap_or_default();
        match decide(
            &EntryKind::Folder,
            &modified,
            Some(existing),
            self.work.options.overwrite,
        ) {
            Action::Refresh | Action::Create => parent.enter(name, existing, metadata),
            Action::Keep => parent.enter(name, existing, None),
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
