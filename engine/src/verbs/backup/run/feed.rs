//! Between the walk and the tree: what is found becomes entries, jobs or names of files that came before; what is ready is written in order.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::super::change::{Parent, Verdict};
use super::super::jobs::{Job, SMALL_BYTES, SlabPlan, Small, Workers};
use super::super::large::Sink;
use super::super::queue::{Item, Made, Next, Origin, Outcome, Queue};
use super::super::streams;
use super::{Run, count};
use crate::format::tree::{Content, Entry, EntryKind, Metadata, Root, TreeWriter};
use crate::repository::{Scratch, Writer};
use crate::source::{Found, FoundKind, Walk};
use crate::words::{Error, Result};

/// Entries between the walk and the tree at most: what workers may be behind.
const QUEUE_MAX: usize = 32 << 10;

/// Takes what the walk finds, gives jobs to workers and entries to the tree.
pub(super) struct Feed<'f, 'w, 'r, 'o, 'p> {
    run: &'f mut Run<'r, 'o>,
    writer: &'w Writer<'r>,
    jobs: Sender<Job>,
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
        jobs: Sender<Job>,
        parent: Option<Parent<'p>>,
        tree: TreeWriter,
    ) -> Self {
        Self {
            run,
            writer,
            jobs,
            queue: Queue::default(),
            slab: SlabPlan::default(),
            slab_outcome: Arc::default(),
            parent,
            tree,
            scratch: Scratch::new(),
        }
    }

    /// Waits for all jobs, and stores the rest of the tree.
    pub(super) fn finish(mut self) -> Result<Root> {
        self.drain(0)?;
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
        self.run.progress.stage("Reading");
        let mut walk = Walk::new(paths, self.run.options.source.clone())?;
        for batch in &mut walk {
            for found in batch {
                match found {
                    Ok(found) => self.found(found)?,
                    Err(error) if error.vanished() => {}
                    Err(error) => self.run.failed(&error.path.clone(), error.to_string()),
                }
            }
            self.drain(QUEUE_MAX)?;
            if self.run.progress.interrupted() {
                self.run.report.interrupted = true;
                break;
            }
        }
        self.run.report.excluded = walk.excluded();
        self.send_slab()
    }

    pub(super) fn stream(
        &mut self,
        workers: &Workers<'_, '_>,
        name: &[u8],
        reader: &mut dyn std::io::Read,
    ) -> Result<()> {
        self.run.progress.stage("Reading the stream");
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

    fn found(&mut self, mut found: Found) -> Result<()> {
        if !matches!(found.kind, FoundKind::File { .. }) {
            found.metadata.attributes = self.attributes_of(&found);
            self.queue.push(Item::Ready(Box::new(found.into_entry(Content::Empty))));
            return Ok(());
        }
        if let Some(link) = found.link() {
            let key = (link.device, found.metadata.inode);
            if self.run.links.contains_key(&key) {
                self.queue.push(Item::Link(Box::new(found)));
                return Ok(());
            }
            self.run.links.insert(key, None);
        }
        let (verdict, lost) = match &mut self.parent {
            Some(parent) => parent.judge(&found, self.writer)?,
            None => (Verdict::New, None),
        };
        if let Some(error) = lost {
            self.run.progress.note(&format!(
                "The parent snapshot cannot be read on: {error}; everything else is read anew"
            ));
        }
        let (origin, known) = match verdict {
            Verdict::Unchanged(entry) => {
                self.run.report.counts.files_unmodified += 1;
                self.run.progress.done(1, entry.size());
                self.queue.push(Item::Ready(Box::new(entry)));
                return Ok(());
            }
            Verdict::Changed(known) => (Origin::Changed, known),
            Verdict::New => (Origin::New, None),
        };
        let device = matches!(found.kind, FoundKind::File { from_device: true, .. });
        if found.size() > SMALL_BYTES || device {
            let outcome = Arc::<Outcome>::default();
            self.queue.push(Item::From(Arc::clone(&outcome), 0, origin));
            return self.send(Job::File(Box::new(found), outcome));
        }
        self.queue
            .push(Item::From(Arc::clone(&self.slab_outcome), self.slab.len(), origin));
        if self.slab.add(Small { found, known }) {
            self.send_slab()
        } else {
            Ok(())
        }
    }

    /// Attributes of what is no file: those of the parent when nothing about the inode has changed.
    fn attributes_of(&mut self, found: &Found) -> Vec<(Vec<u8>, Vec<u8>)> {
        if let Some(parent) = &mut self.parent
            && let (Some(before), _) = parent.find(&found.path)
            && before.metadata.changed == found.metadata.changed
            && before.metadata.inode == found.metadata.inode
        {
            return before.metadata.attributes.clone();
        }
        let attributes = found.attributes();
        if let Some(error) = attributes
            .failure
            .filter(|error| error.kind() != std::io::ErrorKind::NotFound)
        {
            let path = String::from_utf8_lossy(&found.path);
            self.run.failed(
                &found.path,
                format!("Some attributes of {path} could not be read: {error}"),
            );
        }
        attributes.values
    }

    fn send_slab(&mut self) -> Result<()> {
        if self.slab.is_empty() {
            return Ok(());
        }
        let outcome = std::mem::take(&mut self.slab_outcome);
        let files = self.slab.take();
        self.send(Job::Slab(files, outcome))
    }

    fn send(&self, job: Job) -> Result<()> {
        self.jobs
            .send(job)
            .map_err(|_| Error::Internal("the threads that read files are gone".into()))
    }

    /// Writes what is ready; more, waiting, while over `most` entries are in the queue.
    fn drain(&mut self, most: usize) -> Result<()> {
        if self.queue.len() > most {
            // The head may be waiting for a slab that is not under way yet.
            self.send_slab()?;
        }
        while let Some(next) = self.queue.pop(self.queue.len() > most)? {
            match next {
                Next::Ready(entry) => self.write(*entry)?,
                Next::Link(found) => self.write_link(*found)?,
                Next::Made(Made::Entry(entry), origin) => {
                    match origin {
                        Origin::New => self.run.report.counts.files_new += 1,
                        Origin::Changed => self.run.report.counts.files_changed += 1,
                    }
                    self.run.progress.done(1, 0);
                    self.write(*entry)?;
                }
                Next::Made(Made::Failed(path, why), _) => self.run.failed(&path, why),
                Next::Made(Made::Vanished, _) => {}
            }
        }
        Ok(())
    }

    /// Another name of a file that has been written: the same content.
    fn write_link(&mut self, found: Found) -> Result<()> {
        let key = found.link().map(|link| (link.device, found.metadata.inode));
        let first = key.and_then(|key| self.run.links.get(&key).cloned().flatten());
        let Some((size, content, attributes)) = first else {
            // The first name could not be read, so this one cannot either.
            let why = format!(
                "Could not read {}: another name of it could not be read",
                String::from_utf8_lossy(&found.path)
            );
            self.run.failed(&found.path, why);
            return Ok(());
        };
        let mut found = found;
        found.metadata.attributes = attributes;
        self.run.report.counts.files_unmodified += 1;
        self.run.progress.done(1, 0);
        let mut entry = found.into_entry(content);
        if let EntryKind::File { size: stored, .. } = &mut entry.kind {
            *stored = size;
        }
        self.write(entry)
    }

    fn write(&mut self, entry: Entry) -> Result<()> {
        self.run.owners.insert(entry.metadata.user);
        self.run.groups.insert(entry.metadata.group);
        if let EntryKind::File {
            size,
            content,
            link: Some(link),
            ..
        } = &entry.kind
        {
            let known = (*size, content.clone(), entry.metadata.attributes.clone());
            self.run.links.insert((link.device, entry.metadata.inode), Some(known));
        }
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
