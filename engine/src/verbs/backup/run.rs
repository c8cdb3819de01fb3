//! The session around a backup: parent, walk, workers, tree, commit.

mod before;
mod estimate;
mod feed;
mod links;

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crossbeam_channel::bounded;

use self::feed::Feed;
use self::links::Links;
use super::change::Parent;
use super::jobs::{Jobs, LARGE_AT_ONCE, WORKERS_MAX, Workers};
use super::large::Spare;
use super::options::{BackupOptions, BackupReport, Input};
use crate::chunker::{Chunker, ChunkerParameters};
use crate::format::open::SessionKind;
use crate::format::snapshot::{RootId, Snapshot};
use crate::format::tree::{Content, Entry, EntryKind, TreeWriter};
use crate::repository::writer::WriterOptions;
use crate::repository::{Repository, Writer};
use crate::source::{SourceError, SourceOptions, StreamSource, Walk};
use crate::words::{BlobId, Error, Progress, Result, Timestamp};

const ERRORS_KEPT: usize = 100;
/// A session that was fenced is tried again so often; each time most of its data is there already.
const ATTEMPTS: usize = 3;

/// Backs up `input`.
///
/// # Errors
/// What makes a backup impossible. Items that cannot be read are in the report.
pub fn backup(
    repository: &Repository,
    mut input: Input,
    options: &BackupOptions,
    progress: &dyn Progress,
) -> Result<BackupReport> {
    for attempt in 1.. {
        match Run::new(repository, &input, options, progress)?.run(&mut input) {
            Err(Error::Fenced { session }) if attempt < ATTEMPTS && matches!(input, Input::Paths(_)) => {
                progress.note(&format!(
                    "Maintenance ended session {session} before it could commit; starting again with what it stored"
                ));
            }
            other => return other,
        }
    }
    Err(Error::Internal("a backup ended without an answer".into()))
}

/// A source as the snapshot's record names it: from the root on, without `.` and slashes too many.
pub fn source_path(path: &Path, here: &Path) -> Vec<u8> {
    tidy(here.join(path).as_os_str().as_bytes())
}

/// What tells one source from another: host and paths, keyed. The order of the paths, and how often one is named, say nothing.
///
/// # Errors
/// [`Error::RoleTooSmall`].
pub fn source_of(repository: &Repository, host: &[u8], paths: &[Vec<u8>]) -> Result<[u8; 16]> {
    let key = repository
        .keys()
        .id
        .as_ref()
        .ok_or_else(|| repository.role_too_small("a writer or an owner"))?;
    let mut message = [b"source".as_slice(), host, &[0]].concat();
    let mut paths: Vec<&Vec<u8>> = paths.iter().collect();
    paths.sort_unstable();
    paths.dedup();
    for path in paths {
        message.extend_from_slice(path);
        message.push(0);
    }
    let digest = key.subkey(&message);
    Ok(std::array::from_fn(|i| digest.expose()[i]))
}

struct Run<'r, 'o> {
    repository: &'r Repository,
    options: &'o BackupOptions,
    progress: &'o dyn Progress,
    started: Timestamp,
    paths: Vec<Vec<u8>>,
    source: [u8; 16],
    report: BackupReport,
    owners: BTreeSet<u32>,
    groups: BTreeSet<u32>,
    links: Links,
}

impl<'r, 'o> Run<'r, 'o> {
    fn new(
        repository: &'r Repository,
        input: &Input,
        options: &'o BackupOptions,
        progress: &'o dyn Progress,
    ) -> Result<Self> {
        let paths = match input {
            Input::Paths(_) if options.source_name.is_some() => options.source_name.iter().cloned().collect(),
            Input::Paths(paths) => paths
                .iter()
                .map(|path| source_path(path, &options.source.here))
                .collect(),
            Input::Stream { name, .. } | Input::Files { name, .. } => vec![name.clone()],
        };
        let source = source_of(repository, &options.host, &paths)?;
        let started = (options.clock)();
        let report = BackupReport {
            started,
            ..BackupReport::default()
        };
        Ok(Self {
            repository,
            options,
            progress,
            started,
            paths,
            source,
            report,
            owners: BTreeSet::new(),
            groups: BTreeSet::new(),
            links: Links::default(),
        })
    }

    fn run(mut self, input: &mut Input) -> Result<BackupReport> {
        if self.options.dry_run {
            return self.dry_run(input);
        }
        self.progress.stage("Opening the session", "");
        let writer = Writer::begin(
            self.repository,
            WriterOptions {
                now: self.started,
                machine: self.options.machine.clone(),
                kind: SessionKind::Backup,
                source: self.source,
                level: self.options.level,
                uploads: self.options.uploads,
                volume_key: self.options.volume_key.clone(),
            },
        )?;
        self.repository.adopt(Arc::clone(writer.view()))?;
        self.find_continued(&writer);
        let parent = self.find_parent(&writer)?;
        self.report.parent = parent.as_ref().map(|parent| parent.session);
        match self.write(&writer, parent, input) {
            Ok((root, parent_root)) => self.commit(writer, root, parent_root),
            Err(error) => {
                // What is stored can be used by the next run; that this one ended is said, if the store still listens.
                let _ = writer.abort((self.options.clock)());
                Err(error)
            }
        }
    }

    fn commit(mut self, writer: Writer<'_>, root: BlobId, parent_root: Option<BlobId>) -> Result<BackupReport> {
        self.progress.stage("Committing", "");
        let ended = (self.options.clock)();
        self.report.root = Some(root);
        self.report.ended = ended;
        if self.options.skip_if_unchanged && parent_root == Some(root) && self.parent_stands()? {
            self.report.unchanged = true;
            self.report.written = writer.written();
            writer.abort(ended)?;
            return Ok(self.report);
        }
        let written = writer.written();
        let counts = &mut self.report.counts;
        (counts.blobs_new, counts.bytes_new) = (written.blobs, written.plaintext);
        let named = |numbers: &BTreeSet<u32>, name: fn(u32) -> Option<Vec<u8>>| {
            numbers
                .iter()
                .filter_map(|number| Some((*number, name(*number)?)))
                .collect::<Vec<_>>()
        };
        let snapshot = Snapshot {
            time: self.options.time.unwrap_or(self.started),
            started: self.started,
            ended,
            host: self.options.host.clone(),
            user: self.options.user.clone(),
            paths: self.paths,
            tags: self.options.tags.clone(),
            labels: self.options.labels.clone(),
            description: self.options.description.clone(),
            root: RootId(root),
            parent: self.report.parent,
            incomplete: self.report.interrupted,
            program: self.options.machine.program.clone(),
            owners: named(&self.owners, self.options.names.user),
            groups: named(&self.groups, self.options.names.group),
            excludes: self.options.source.left_out(),
            counts: *counts,
            errors: self.report.errors.clone(),
        };
        let (session, written) = writer.commit(snapshot)?;
        self.report.snapshot = Some(session);
        self.report.written = written;
        self.report.counts.bytes_stored = written.stored;
        Ok(self.report)
    }

    /// Whether the parent will still be there when this backup leaves no snapshot of its own: it has not been forgotten. What a mark says is sealed
    /// to writers, so any mark counts. The marks of a snapshot go after it has left the catalogue, so they are looked at first.
    fn parent_stands(&self) -> Result<bool> {
        let Some(parent) = self.report.parent else {
            return Ok(false);
        };
        if !self.repository.store().list(&format!("f/{parent}."))?.is_empty() {
            return Ok(false);
        }
        let view = self.repository.refresh()?;
        Ok(view.committed(parent).is_some_and(|end| end.is_snapshot()))
    }

    fn chunker(&self) -> Result<Chunker> {
        let cutting = self.repository.config().chunker;
        if cutting.algorithm != 1 {
            return Err(Error::NewerFormat {
                name: "config".into(),
                what: format!("it cuts files by method {}", cutting.algorithm),
            });
        }
        let (min, average, max) = (cutting.min, cutting.average, cutting.max);
        let parameters = ChunkerParameters {
            min,
            average,
            max,
            normalization: cutting.normalization,
        };
        let key = self
            .repository
            .keys()
            .cut
            .as_ref()
            .ok_or_else(|| self.repository.role_too_small("a writer or an owner"))?;
        Chunker::new(&parameters, key.expose())
    }

    /// Reads the input and writes its tree. Gives its root and the parent's.
    fn write(
        &mut self,
        writer: &Writer<'r>,
        parent: Option<Parent<'_>>,
        input: &mut Input,
    ) -> Result<(BlobId, Option<BlobId>)> {
        let chunker = self.chunker()?;
        let cut = self
            .repository
            .keys()
            .cut
            .as_ref()
            .ok_or_else(|| self.repository.role_too_small("a writer or an owner"))?;
        let tree = TreeWriter::new(*cut.expose());
        let count = self.options.workers.clamp(1, WORKERS_MAX);
        let workers = Workers {
            writer,
            chunker: &chunker,
            progress: self.progress,
            bytes_read: AtomicU64::new(0),
            chunks: bounded(count * 2),
            count,
            chunk_bytes: AtomicUsize::new(0),
            idle: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            died: AtomicBool::new(false),
            chunk_buffers: Spare::new(16 << 20),
            long_buffers: Spare::new(LARGE_AT_ONCE * (16 << 20)),
            short_buffers: Spare::new(8 << 20),
        };
        let parent_root = parent.as_ref().map(|parent| parent.root);
        match input {
            Input::Paths(_) => self.progress.stage("Reading", "files"),
            Input::Stream { .. } => self.progress.stage("Reading the stream", ""),
            Input::Files { .. } => self.progress.stage("Storing", "documents"),
        }
        if let Some(parent) = &parent {
            self.progress.expect(parent.counts.files, parent.counts.bytes);
        }
        let estimated = match input {
            Input::Paths(paths) if self.options.estimate && parent.is_none() => {
                Some((paths.clone(), self.source_options()))
            }
            Input::Paths(_) | Input::Stream { .. } | Input::Files { .. } => None,
        };
        let progress = self.progress;
        let (short, long) = (bounded(count * 2), bounded(LARGE_AT_ONCE * 2));
        let root = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..count)
                .map(|number| {
                    let jobs = Jobs {
                        short: short.1.clone(),
                        long: (number < LARGE_AT_ONCE).then(|| long.1.clone()),
                    };
                    let workers = &workers;
                    scope.spawn(move || workers.run(number, jobs))
                })
                .collect();
            // However this ends: those that wait for their turn are not joined for ever.
            let ends = Ends(&workers.ended);
            let ended = &workers.ended;
            let scan = estimated.map(|(paths, options)| {
                // What it does not find out, nobody is told.
                scope.spawn(move || estimate::estimate(&paths, options, progress, ended).is_ok())
            });
            let (senders, receivers) = ((short.0, long.0), (short.1, long.1));
            drop(receivers);
            let mut feed = Feed::new(self, writer, senders, parent, tree);
            let fed = match input {
                Input::Paths(paths) => feed.walk(paths),
                Input::Stream { name, source } => feed.stream(&workers, name, source.reader.as_mut()),
                Input::Files { files, .. } => feed.files(&workers, files.as_mut()),
            };
            let root = fed.and_then(|()| feed.finish());
            drop(ends);
            let _ = scan.map(|scan| scan.join());
            // Without the feed there are no more jobs, and the threads end.
            let died = threads.into_iter().map(|thread| thread.join().is_err()).max();
            match root {
                Ok(_) if died == Some(true) => Err(Error::Internal("a thread that reads files died".into())),
                root => root,
            }
        })?;
        if let Input::Stream { source, .. } = input {
            // Only a command that ended well has said everything.
            std::mem::replace(source, StreamSource::of_reader(std::io::empty()))
                .completion
                .finish()?;
        }
        self.report.counts.bytes_read = workers.bytes_read.load(Ordering::Relaxed);
        Ok((root.id, parent_root))
    }

    /// How the sources are walked: around what is the repository's own.
    fn source_options(&self) -> SourceOptions {
        let mut options = self.options.source.clone();
        options.left_out.extend(self.repository.folders());
        options
    }

    /// Takes over what a walk has left out.
    fn walked(&mut self, walk: &Walk) {
        self.report.excluded = walk.excluded();
        for path in walk.left_out() {
            let path = String::from_utf8_lossy(&path);
            self.progress.note(&format!(
                "Left out {path}: it belongs to the repository that is written"
            ));
        }
    }

    /// An item that the walk could not deliver.
    fn not_found(&mut self, error: &SourceError) {
        let why = if error.vanished() {
            format!("{} vanished before it was read", String::from_utf8_lossy(&error.path))
        } else {
            error.to_string()
        };
        self.failed(&error.path, why);
    }

    /// Counts, shows and records what is wrong with an item.
    fn failed(&mut self, path: &[u8], why: String) {
        self.report.counts.errors += 1;
        self.progress.note(&why);
        if self.report.errors.len() < ERRORS_KEPT {
            self.report.errors.push((path.to_vec(), why));
        }
    }

    fn dry_run(mut self, input: &Input) -> Result<BackupReport> {
        if let Input::Paths(paths) = input {
            let mut walk = Walk::new(paths, self.source_options())?;
            for batch in &mut walk {
                for found in batch {
                    match found {
                        Ok(found) => count(&mut self.report, &found.into_entry(Content::Empty)),
                        Err(error) => self.not_found(&error),
                    }
                }
                if self.progress.interrupted() {
                    return Err(Error::Interrupted);
                }
            }
            self.walked(&walk);
        }
        self.report.ended = (self.options.clock)();
        Ok(self.report)
    }
}

/// Says when it is dropped that everything was given to the workers.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A path without `.` and doubled separators; `..` stays, since a symbolic link may stand before it.
fn tidy(path: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = path
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .collect();
    [b"/".as_slice(), &parts.join(&b'/')].concat()
}

fn count(report: &mut BackupReport, entry: &Entry) {
    let counts = &mut report.counts;
    match &entry.kind {
        EntryKind::Folder => counts.folders += 1,
        EntryKind::File { size, .. } => {
            counts.files += 1;
            counts.bytes += size;
        }
        EntryKind::Symlink { .. }
        | EntryKind::Fifo
        | EntryKind::Socket
        | EntryKind::CharacterDevice { .. }
        | EntryKind::BlockDevice { .. } => counts.others += 1,
    }
}
