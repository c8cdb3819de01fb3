//! Between the walk and the tree: what is found becomes entries, jobs or names of files that came before; what is ready is written in order.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::super::change::{Parent, Verdict};
use super::super::jobs::{FileJob, Job, MEDIUM_BYTES, SMALL_BYTES, SlabJob, SlabPlan, Small, UNKNOWN_CHANGE, Workers};
use super::super::large::Sink;
use super::super::memory::{self, Lot, MemoryFile};
use super::super::queue::{Item, Made, Next, Origin, Outcome, Promise, Queue};
use super::super::streams;
use super::{Run, count};
use crate::format::tree::{Content, Entry, EntryKind, Metadata, Root, TreeWriter, path, refusal};
use crate::repository::{Scratch, Writer};
use crate::source::{Found, FoundKind, Walk};
use crate::words::{Error, Result};

/// Takes what the walk finds, gives jobs to workers and entries to the tree.
pub(super) struct Feed<'f, 'w, 'r, 'o, 'p> {
    run: &'f mut Run<'r, 'o>,
    writer: &'w Writer<'r>,
    short: Sender<Job>,
    long: Sender<FileJob>,
    queue: Queue,
    slab: SlabPlan,
    slab_outcome: Arc<Outcome>,
    parent: Option<Parent<'p>>,
    tree: TreeWriter,
    scratch: Scratch,
}

impl<'f, 'w, 'r, 'o, 'p> Feed<'f, 'w, 'r, 'o, 'p> {
    /// Begins, with an empty queue.
    pub(super) fn new(
        run: &'f mut Run<'r, 'o>,
        writer: &'w Writer<'r>,
        (short, long): (Sender<Job>, Sender<FileJob>),
        parent: Option<Parent<'p>>,
        tree: TreeWriter,
    ) -> Self {
        let queue = Queue::default();
        Self {
            run,
            writer,
            short,
            long,
            slab: SlabPlan::default(),
            slab_outcome: queue.outcome(),
            queue,
            parent,
            tree,
            scratch: Scratch::new(),
        }
    }

    /// Waits for all jobs, and stores the rest of the tree.
    pub(super) fn finish(mut self) -> Result<Root> {
        self.drain(true)?;
        let Self {
            tree,
            writer,
            mut scratch,
            ..
        } = self;
        tree.finish(&mut Sink {
            writer,
            scratch: &mut scratch,
        })
    }

    pub(super) fn walk(&mut self, paths: &[std::path::PathBuf]) -> Result<()> {
        let mut walk = Walk::new(paths, self.run.source_options())?;
        for batch in &mut walk {
            for found in batch {
                match found {
                    Ok(found) => self.found(found)?,
                    Err(error) => self.run.not_found(&error),
                }
            }
            self.drain(false)?;
            if self.run.progress.interrupted() {
                self.run.report.interrupted = true;
                break;
            }
        }
        self.run.walked(&walk);
        self.send_slab()
    }

    pub(super) fn stream(
        &mut self,
        workers: &Workers<'_, '_>,
        name: &[u8],
        reader: &mut dyn std::io::Read,
    ) -> Result<()> {
        if name.is_empty() || path::check(name, 0).is_err() {
            let name = String::from_utf8_lossy(name);
            return Err(Error::Invalid(format!("A stream cannot be stored as `{name}`")));
        }
        let now = self.run.started;
        let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let entry = streams::read(workers, name, reader, (user, group, now))?;
        // The folders above it, so that the tree is one.
        for (place, _) in name.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let metadata = Metadata {
                mode: 0o700,
                ..entry.metadata.clone()
            };
            self.write(Entry {
                path: name[..place].to_vec(),
                kind: EntryKind::Folder,
                metadata,
            })?;
        }
        self.run.report.counts.files_new += 1;
        self.write(entry)
    }

    pub(super) fn files(
        &mut self,
        workers: &Workers<'_, '_>,
        files: &mut dyn Iterator<Item = Result<MemoryFile>>,
    ) -> Result<()> {
        let (mut lot, mut above) = (Lot::default(), Vec::new());
        for file in files {
            let file = file?;
            if path::check(&file.path, 0).is_err() || file.path.is_empty() {
                let shown = String::from_utf8_lossy(&file.path);
                return Err(Error::Invalid(format!("A document cannot be stored as `{shown}`")));
            }
            let known = match &mut self.parent {
                Some(parent) => {
                    let (known, lost) = parent.known(&file.path);
                    self.note_lost_parent(lost);
                    known
                }
                None => None,
            };
            if self.run.progress.interrupted() {
                return Err(Error::Interrupted);
            }
            if lot.add(file, known) {
                self.write_lot(&mut lot, workers, &mut above)?;
            }
        }
        self.write_lot(&mut lot, workers, &mut above)
    }

    /// Stores a lot, and writes its entries with the folders above them.
    fn write_lot(&mut self, lot: &mut Lot, workers: &Workers<'_, '_>, above: &mut Vec<u8>) -> Result<()> {
        for entry in lot.store(workers, &mut self.scratch)? {
            let places = entry.path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
            for (place, _) in places {
                let folder = &entry.path[..place];
                let known = above.starts_with(folder) && above.get(place).is_none_or(|next| *next == b'/');
                if !known {
                    self.write(memory::folder(folder))?;
                    above.clear();
                    above.extend_from_slice(folder);
                }
            }
            self.count_file(Origin::New);
            self.run.progress.done(1, 0);
            self.write(entry)?;
        }
        Ok(())
    }

    fn found(&mut self, mut found: Found) -> Result<()> {
        if !matches!(found.kind, FoundKind::File { .. }) {
            self.add_attributes(&mut found);
            self.queue.push(Item::Ready(Box::new(found.into_entry(Content::Empty))));
            return Ok(());
        }
        if let Some(link) = found.link()
            && self.run.links.meet((link.device, found.metadata.inode))
        {
            let (origin, lost) = match &mut self.parent {
                Some(parent) => parent.origin(&found),
                None => (Origin::New, None),
            };
            self.note_lost_parent(lost);
            self.queue.push(Item::Link(Box::new(found), origin));
            return Ok(());
        }
        let (verdict, lost) = match &mut self.parent {
            Some(parent) => parent.judge(&found)?,
            None => (Verdict::New, None),
        };
        self.note_lost_parent(lost);
        let (origin, known) = match verdict {
            Verdict::Unchanged(mut entry, failure) => {
                if let Some(error) = failure {
                    self.attributes_failed(&entry.path, &error);
                    entry.metadata.changed = UNKNOWN_CHANGE;
                }
                self.run.report.counts.files_unmodified += 1;
                self.run.progress.done(1, entry.size());
                self.queue.push(Item::Ready(Box::new(entry)));
                return Ok(());
            }
            Verdict::Changed(known) => (Origin::Changed, known),
            Verdict::New => (Origin::New, None),
        };
        if !is_small(&found) {
            let outcome = self.queue.outcome();
            self.queue.push(Item::From(Arc::clone(&outcome), 0, origin));
            return self.send_file(found, outcome);
        }
        self.queue
            .push(Item::From(Arc::clone(&self.slab_outcome), self.slab.len(), origin));
        if self.slab.add(Small { found, known }) {
            self.send_slab()
        } else {
            Ok(())
        }
    }

    fn note_lost_parent(&self, lost: Option<Error>) {
        if let Some(error) = lost {
            let said = format!("The parent snapshot cannot be read on: {error}; what it would tell is read anew");
            self.run.progress.note(&said);
        }
    }

    fn attributes_failed(&mut self, path: &[u8], error: &std::io::Error) {
        let shown = String::from_utf8_lossy(path);
        let why = if error.kind() == std::io::ErrorKind::NotFound {
            format!("{shown} vanished before its attributes were read")
        } else {
            format!("Some attributes of {shown} could not be read: {error}")
        };
        self.run.failed(path, why);
    }

    /// Reads the attributes of what is no file, or takes the parent's when nothing about the inode has changed.
    fn add_attributes(&mut self, found: &mut Found) {
        if let Some(parent) = &mut self.parent {
            let (before, lost) = parent.attributes(found);
            self.note_lost_parent(lost);
            if let Some(attributes) = before {
                found.metadata.attributes = attributes;
                return;
            }
        }
        let attributes = found.attributes();
        found.metadata.attributes = attributes.values;
        if let Some(error) = attributes.failure {
            self.attributes_failed(&found.path, &error);
            found.metadata.changed = UNKNOWN_CHANGE;
        }
    }

    fn send_slab(&mut self) -> Result<()> {
        if self.slab.is_empty() {
            return Ok(());
        }
        let outcome = std::mem::replace(&mut self.slab_outcome, self.queue.outcome());
        let files = self.slab.take();
        self.send_files(files, outcome)
    }

    fn send_files(&self, files: Vec<Small>, outcome: Arc<Outcome>) -> Result<()> {
        let promise = Promise::of(outcome);
        self.short
            .send(Job::Slab(SlabJob { files, promise }))
            .map_err(|_| gone())
    }

    fn send_file(&self, found: Found, outcome: Arc<Outcome>) -> Result<()> {
        let is_long = found.size() > MEDIUM_BYTES;
        let (found, promise) = (Box::new(found), Promise::of(outcome));
        let job = FileJob { found, promise };
        if is_long {
            self.long.send(job).map_err(|_| gone())
        } else {
            self.short.send(Job::File(job)).map_err(|_| gone())
        }
    }

    /// Writes what is ready; more, waiting, while the queue is too full, or while there is anything when `all` is set.
    fn drain(&mut self, all: bool) -> Result<()> {
        // What workers make may fill the queue at any moment; but only a queue whose slabs are all under way may be waited for.
        let waits = all || self.queue.is_full();
        if waits {
            self.send_slab()?;
        }
        while let Some(next) = self.queue.pop(all || waits && self.queue.is_full())? {
            match next {
                Next::Ready(entry) => self.write(*entry)?,
                Next::Link(found, origin) => self.write_link(*found, origin)?,
                Next::Made(Made::Entry(entry, remarks), origin) => {
                    for remark in remarks {
                        self.run.failed(&entry.path, remark);
                    }
                    self.count_file(origin);
                    self.run.progress.done(1, 0);
                    self.write(*entry)?;
                }
                Next::Made(Made::Failed(path, why), _) => self.run.failed(&path, why),
                Next::Made(Made::Interrupted, _) => self.run.report.interrupted = true,
            }
        }
        Ok(())
    }

    fn count_file(&mut self, origin: Origin) {
        let counts = &mut self.run.report.counts;
        match origin {
            Origin::New => counts.files_new += 1,
            Origin::Changed => counts.files_changed += 1,
            Origin::Same => counts.files_unmodified += 1,
        }
    }

    /// Another name of a file that came before: the same content, if it has been read and still is the file's. Otherwise this name is read.
    fn write_link(&mut self, mut found: Found, origin: Origin) -> Result<()> {
        let Some(first) = self.run.links.take(&found) else {
            let outcome = self.queue.outcome();
            let origin = match origin {
                Origin::New => Origin::New,
                Origin::Changed | Origin::Same => Origin::Changed,
            };
            self.queue.push_first(Item::From(Arc::clone(&outcome), 0, origin));
            if is_small(&found) {
                let known = None;
                return self.send_files(vec![Small { found, known }], outcome);
            }
            return self.send_file(found, outcome);
        };
        found.metadata.attributes = first.attributes;
        self.count_file(origin);
        self.run.progress.done(1, first.size);
        let mut entry = found.into_entry(first.content);
        if let EntryKind::File { size: stored, .. } = &mut entry.kind {
            *stored = first.size;
        }
        self.write(entry)
    }

    fn write(&mut self, mut entry: Entry) -> Result<()> {
        if let Some(mut why) = refusal(&entry) {
            // Better without its attributes than not at all.
            let attributes = std::mem::take(&mut entry.metadata.attributes);
            let path = String::from_utf8_lossy(&entry.path).into_owned();
            if let Some(still) = refusal(&entry) {
                why = still;
                self.run.failed(&entry.path, format!("{path} cannot be stored: {why}"));
                return Ok(());
            }
            let said = format!("The {} attributes of {path} cannot be stored: {why}", attributes.len());
            self.run.failed(&entry.path, said);
        }
        self.run.owners.insert(entry.metadata.user);
        self.run.groups.insert(entry.metadata.group);
        self.run.links.keep(&entry);
        count(&mut self.run.report, &entry);
        self.tree.push(
            &entry,
            &mut Sink {
                writer: self.writer,
                scratch: &mut self.scratch,
            },
        )
    }
}

/// Whether a file may share a slab.
fn is_small(found: &Found) -> bool {
    let device = matches!(found.kind, FoundKind::File { from_device: true, .. });
    found.size() <= SMALL_BYTES && !device
}

fn gone() -> Error {
    Error::Internal("the threads that read files are gone".into())
}
