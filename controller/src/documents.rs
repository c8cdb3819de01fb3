//! A few documents as a snapshot of their own: who owns a location, what became of a restore. (The objects of a backup are too many for this: they go through
//! `backup/commit`.)

use anyhow::{Context as _, Result};
use engine::repository::Repository;
use engine::source::SourceOptions;
use engine::verbs::backup::{BackupOptions, Input, MemoryFile, OwnerNames, ParentChoice, backup};
use engine::words::{NoProgress, SessionId, Timestamp};

use crate::context::{engine_now, machine};

/// What is stored, and as what.
pub struct Documents<'a> {
    /// What the source is called.
    pub source: &'a str,
    /// The cluster that it is of.
    pub cluster: &'a str,
    /// The pod that writes it.
    pub pod: &'a str,
    /// The labels of the snapshot.
    pub labels: &'a [(&'a str, &'a str)],
    /// The moment that it stands for.
    pub time: Timestamp,
    /// Path and content of each.
    pub files: Vec<(&'a str, Vec<u8>)>,
}

/// Stores them.
///
/// # Errors
/// What the engine says.
pub fn store(repository: &Repository, documents: Documents<'_>) -> Result<SessionId> {
    let options = BackupOptions {
        clock: engine_now,
        time: Some(documents.time),
        host: documents.cluster.as_bytes().to_vec(),
        user: b"ararat-controller".to_vec(),
        tags: Vec::new(),
        labels: documents
            .labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        description: String::new(),
        machine: machine(documents.pod),
        parent: ParentChoice::None,
        ignore_ctime: false,
        ignore_inode: false,
        skip_if_unchanged: false,
        dry_run: false,
        estimate: false,
        level: None,
        workers: 1,
        uploads: 1,
        volume_key: None,
        source: SourceOptions::default(),
        source_name: None,
        names: OwnerNames {
            user: |_| None,
            group: |_| None,
        },
    };
    let mut files = documents.files;
    // The engine takes them in the order of their paths, name by name.
    files.sort_by(|(left, _), (right, _)| left.split('/').cmp(right.split('/')));
    let files: Vec<engine::words::Result<MemoryFile>> = files
        .into_iter()
        .map(|(path, content)| {
            Ok(MemoryFile {
                path: path.as_bytes().to_vec(),
                content,
            })
        })
        .collect();
    let input = Input::Files {
        name: documents.source.as_bytes().to_vec(),
        files: Box::new(files.into_iter()),
    };
    let report = backup(repository, input, &options, &NoProgress)?;
    report.snapshot.context("The engine made no snapshot")
}
