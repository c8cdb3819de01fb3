//! Everything but folders: what is there is looked at, and what has to be done goes into the window.

use std::sync::Arc;

use super::Walk;
use crate::format::tree::{Content, Entry, EntryKind, Extent, ListReader};
use crate::target::decide::decide;
use crate::target::file::Way;
use crate::target::{Action, Existing, ExistingKind, Failure, Folder, Overwrite};
use crate::verbs::restore::StepKind;
use crate::verbs::restore::compare::{Comparison, SmallFile};
use crate::verbs::restore::job::{Item, Job, LargeFile, Little, Use};
use crate::verbs::restore::link::{LaterName, Now};
use crate::words::Result;

/// Stretches of large files that are compared by one thread have about so many bytes.
const STRETCH_BYTES: u64 = 64 << 20;

impl Walk<'_, '_> {
    /// Anything but a folder.
    pub(super) fn item(&mut self, folder: &Arc<Folder>, name: &[u8], entry: &Entry) -> Result<()> {
        let existing = match folder.existing(name) {
            Ok(existing) => existing,
            Err(failure) => {
                self.work.failed(|| folder.path_of(name), failure);
                return Ok(());
            }
        };
        if existing.is_some() {
            self.was_there();
        }
        let action = decide(
            &entry.kind,
            &entry.metadata,
            existing.as_ref(),
            self.work.options.overwrite,
        );
        if matches!(action, Action::Keep | Action::Blocked) {
            self.work.tally.step(StepKind::Kept, 0, || folder.path_of(name));
            return Ok(());
        }
        if self.work.options.dry_run {
            self.tell(folder, name, entry, action);
            return Ok(());
        }
        let mut existing = existing;
        if existing.is_some_and(|existing| existing.kind == ExistingKind::Folder) {
            let above = self.levels.last().is_some_and(|level| level.chosen);
            let removed = if self.work.options.delete {
                match self.remove(folder, name, &entry.path, above, 0) {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(Failure::refused(
                        "A folder is in its place, and something in that is not to be deleted",
                    )),
                    Err(failure) => Err(failure),
                }
            } else {
                folder.remove_empty(name)
            };
            if let Err(failure) = removed {
                self.work.failed(|| folder.path_of(name), failure);
                return Ok(());
            }
            existing = None;
        }
        let way = match (&existing, self.work.options.overwrite) {
            (Some(_), _) => Way::Replace,
            // What is there under its name would not be finished by the same restore again.
            (None, Overwrite::IfNewer | Overwrite::Never) => Way::Aside,
            (None, Overwrite::Always | Overwrite::IfChanged) => Way::Fresh,
        };
        let mut item = Item {
            folder: Arc::clone(folder),
            name: name.into(),
            metadata: entry.metadata.clone(),
            way,
            link: None,
        };
        if let EntryKind::File { link: Some(link), .. } | EntryKind::Symlink { link: Some(link), .. } = &entry.kind {
            let inode = entry.metadata.inode;
            if let Some(known) = self.links.met(*link, inode) {
                let replace = existing.is_some();
                match known.later(LaterName { item, replace }, &entry.kind) {
                    Now::Waits => return Ok(()),
                    Now::Link(later) => {
                        self.window.make(self.work, Little::LaterName(known, later));
                        return Ok(());
                    }
                    Now::First(later) => {
                        item = later.item;
                        item.link = Some(known);
                    }
                }
            } else {
                item.link = self.links.begin(*link, inode, item.path(), &entry.kind);
            }
        }
        self.put(item, &entry.kind, existing, action)
    }

    /// The next name of a file whose first name could not be restored gets its content.
    pub(super) fn promote(&mut self, item: Item, kind: &EntryKind) -> Result<()> {
        match item.folder.existing(&item.name) {
            Ok(existing) => {
                let action = if existing.is_some() {
                    Action::Replace
                } else {
                    Action::Create
                };
                self.put(item, kind, existing, action)
            }
            Err(failure) => {
                self.work.done(item, StepKind::File, 0, Err(failure));
                Ok(())
            }
        }
    }

    /// Hands over what is to be made.
    fn put(&mut self, item: Item, kind: &EntryKind, existing: Option<Existing>, action: Action) -> Result<()> {
        match kind {
            EntryKind::Folder => {}
            EntryKind::File { size, content, .. } => self.file(
                item,
                *size,
                content,
                existing.filter(|_| action != Action::Create),
                action,
            )?,
            EntryKind::Symlink { target, .. } => {
                self.window.make(
                    self.work,
                    Little::Symlink {
                        item,
                        target: target.clone(),
                        existing,
                    },
                );
            }
            EntryKind::Fifo | EntryKind::Socket | EntryKind::CharacterDevice { .. } | EntryKind::BlockDevice { .. } => {
                let little = match action {
                    Action::Refresh => Little::RefreshNode { item },
                    Action::Create | Action::Replace | Action::Keep | Action::Blocked => Little::Node {
                        item,
                        kind: kind.clone(),
                    },
                };
                self.window.make(self.work, little);
            }
        }
        Ok(())
    }

    /// What would be done, in a dry run.
    fn tell(&self, folder: &Arc<Folder>, name: &[u8], entry: &Entry, action: Action) {
        let kind = match (&entry.kind, action) {
            (_, Action::Refresh) => StepKind::Unchanged,
            (EntryKind::File { .. }, Action::Create) => StepKind::File,
            (EntryKind::File { .. }, _) => StepKind::Replaced,
            (_, _) => StepKind::Other,
        };
        self.work.tally.step(kind, entry.size(), || folder.path_of(name));
    }

    fn file(
        &mut self,
        item: Item,
        size: u64,
        content: &Content,
        existing: Option<Existing>,
        action: Action,
    ) -> Result<()> {
        let work = self.work;
        let existing = existing.filter(|existing| existing.kind == ExistingKind::File);
        if action == Action::Refresh {
            // The common case of a second restore: nothing at all to do.
            let right = existing.is_some_and(|existing| existing.matches(&item.metadata))
                && item.metadata.attributes.is_empty()
                && !item.folder.has_surplus_attributes(&item.name, &item.metadata);
            match right {
                true => work.done(item, StepKind::Unchanged, size, Ok(())),
                false => self.window.make(work, Little::RefreshFile { item, size }),
            }
            return Ok(());
        }
        let same_size = existing.is_some_and(|existing| existing.size == size);
        match content {
            Content::Empty => self.window.make(work, Little::Empty { item, size }),
            Content::Slab { blob, offset, check } => {
                let (blob, offset) = (*blob, *offset);
                match same_size {
                    true => self.window.compare(
                        work,
                        SmallFile {
                            item,
                            size,
                            blob,
                            offset,
                            check: Some(*check),
                        },
                    ),
                    false => self.window.want(work, blob, size, Use::Part { item, offset, size }),
                }
            }
            Content::Chunks(extents) => match extents[..] {
                [Extent::Chunk { blob, length }] if u64::from(length) == size => match same_size {
                    true => self.window.compare(
                        work,
                        SmallFile {
                            item,
                            size,
                            blob,
                            offset: 0,
                            check: None,
                        },
                    ),
                    false => self.window.want(work, blob, size, Use::Whole { item, size }),
                },
                _ => {
                    let mut offset = 0u64;
                    let extents = extents.iter().map(|extent| {
                        let at = offset;
                        offset = offset.saturating_add(extent.length());
                        Ok((at, *extent))
                    });
                    self.large(item, size, existing, extents);
                }
            },
            Content::List { blob } => self.large(item, size, existing, ListReader::new(work.repository, *blob, size)),
        }
        Ok(())
    }

    /// A file of several pieces.
    fn large(
        &mut self,
        mut item: Item,
        size: u64,
        existing: Option<Existing>,
        extents: impl Iterator<Item = Result<(u64, Extent)>>,
    ) {
        let work = self.work;
        let old = existing.filter(|existing| existing.size > 0);
        if work.options.in_place && old.is_some_and(|old| old.links == 1) {
            item.way = Way::Update;
        }
        let file = LargeFile::new(item, size);
        let mut comparison = old.map(|old| (Comparison::new(Arc::clone(&file), old.size), Vec::new(), 0));
        let mut total = 0u64;
        let mut damaged = None;
        for extent in extents {
            let (offset, extent) = match extent {
                Ok(extent) => extent,
                Err(error) => {
                    damaged = Some(Failure::refused(error.to_string()));
                    break;
                }
            };
            if work.tally.is_stopped() || file.has_failed() {
                break;
            }
            total = total.saturating_add(extent.length());
            match (&mut comparison, extent) {
                (Some((comparison, stretch, bytes)), extent) => {
                    stretch.push((offset, extent));
                    *bytes += extent.length();
                    if *bytes >= STRETCH_BYTES || stretch.len() >= 1024 {
                        comparison.hold();
                        let stretch = std::mem::take(stretch);
                        *bytes = 0;
                        work.queue.push(Job::CompareLarge(Arc::clone(comparison), stretch), 256);
                    }
                }
                (None, Extent::Chunk { blob, length }) => {
                    let piece = file.piece(offset, length);
                    self.window.want(work, blob, u64::from(length), piece);
                }
                (None, Extent::Hole { .. }) => {}
            }
        }
        if damaged.is_none() && total != size && !file.has_failed() && !work.tally.is_stopped() {
            damaged = Some(Failure::refused("Its pieces do not add up to its size"));
        }
        if let Some(failure) = damaged {
            work.fail_large(&file, failure);
        }
        match comparison {
            // The comparison lets go of the file when it is over.
            Some((comparison, stretch, _)) => {
                if !stretch.is_empty() {
                    comparison.hold();
                    work.queue
                        .push(Job::CompareLarge(Arc::clone(&comparison), stretch), 256);
                }
                work.release_comparison(&comparison);
            }
            None => work.release(&file),
        }
    }
}
