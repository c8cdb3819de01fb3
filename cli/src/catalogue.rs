//! The Backups in a repository, and what became of Restores, read with no cluster: what `--from-location` shows.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use api::archive::{
    FORMAT, FilledVolume, KIND_BACKUP, KIND_RESTORE, LABEL_KIND, LABEL_NAME, LOG, OBJECTS, RECORD, RESULTS, Record,
    RestoreRecord, Results, TAG_HOLD, VOLUMES, VolumeRecord, parse_object_path,
};
use api::{Backup, Restore};
use engine::format::envelope::Access;
use engine::repository::{Repository, SnapshotFilter, StoredSnapshot};
use engine::verbs::dump::{DumpOptions, dump};
use engine::verbs::read::read;
use engine::words::{Error, Progress};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::ObjectMeta;
use serde::de::DeserializeOwned;

use crate::args::Global;
use crate::failure::Failure;
use crate::output::progress::Shown;
use crate::session::Session;

/// An open repository.
pub struct Catalogue {
    repository: Repository,
}

/// What the record of a snapshot is of: a Backup or a Restore.
pub trait Recorded: DeserializeOwned {
    /// What it is called, as a kind of the cluster.
    const KIND: &'static str;
    /// The same as a command, and several of them.
    const COMMAND: [&'static str; 2];
    /// What its snapshots are labelled as.
    const LABEL: &'static str;

    /// The version of its layout.
    fn format(&self) -> u32;
    /// Its name.
    fn name(&self) -> &str;
    /// Its labels.
    fn labels(&self) -> &BTreeMap<String, String>;
}

impl Recorded for Record {
    const KIND: &'static str = "Backup";
    const COMMAND: [&'static str; 2] = ["backup", "backups"];
    const LABEL: &'static str = KIND_BACKUP;

    fn format(&self) -> u32 {
        self.format
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }
}

impl Recorded for RestoreRecord {
    const KIND: &'static str = "Restore";
    const COMMAND: [&'static str; 2] = ["restore", "restores"];
    const LABEL: &'static str = KIND_RESTORE;

    fn format(&self) -> u32 {
        self.format
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }
}

/// A Backup or Restore in it.
pub struct Stored<R> {
    pub snapshot: StoredSnapshot,
    pub record: R,
}

/// Those that were asked for, oldest first.
pub struct Found<R> {
    pub stored: Vec<Stored<R>>,
    /// How many could not be read: each was told of.
    pub left_out: usize,
}

impl Catalogue {
    /// Opens the repository that was named.
    pub fn open(session: &Session) -> Result<Self> {
        let repository = session.open(Access::Read, false)?;
        Ok(Self { repository })
    }

    /// Those of these names; or all with these labels, when there are no names.
    pub fn meant<R: Recorded>(
        &self,
        names: &[String],
        labels: Option<&LabelSelector>,
        global: &Global,
    ) -> Result<Found<R>> {
        if !names.is_empty() {
            let stored = names.iter().map(|name| self.named(name));
            return Ok(Found {
                stored: stored.collect::<Result<_>>()?,
                left_out: 0,
            });
        }
        let shown = Shown::new(global.quiet, global.json);
        let found = self.all(&shown);
        shown.finish();
        let mut found = found?;
        if let Some(labels) = labels {
            let fits = |stored: &Stored<R>| api::selection::selects(labels, Some(stored.record.labels()));
            found.stored.retain(fits);
        }
        Ok(found)
    }

    fn all<R: Recorded>(&self, progress: &dyn Progress) -> Result<Found<R>> {
        let snapshots = self.snapshots::<R>(None)?;
        let [_, several] = R::COMMAND;
        progress.stage(&format!("Reading {several}"), several);
        progress.expect(snapshots.len() as u64, 0);
        let (mut stored, mut left_out) = (Vec::new(), 0);
        for snapshot in snapshots {
            match self.record(&snapshot) {
                Ok(record) => stored.push(Stored { snapshot, record }),
                Err(error) => {
                    left_out += 1;
                    let why = crate::failure::message_of(&error);
                    progress.note(&format!("Snapshot {} is left out: {why}", snapshot.id.short()));
                }
            }
            progress.done(1, 0);
        }
        Ok(Found { stored, left_out })
    }

    /// The newest one of that name.
    pub fn named<R: Recorded>(&self, name: &str) -> Result<Stored<R>> {
        if let Some(snapshot) = self.snapshots::<R>(Some(name))?.pop() {
            let record = self.record(&snapshot)?;
            return Ok(Stored { snapshot, record });
        }
        let snapshots = self.snapshots::<R>(None)?;
        let names: Vec<&str> = snapshots
            .iter()
            .filter_map(|snapshot| label(snapshot, LABEL_NAME))
            .collect();
        let near = api::nearest::nearest(name, names);
        let hint = if near.is_empty() {
            let [command, _] = R::COMMAND;
            format!("`ararat {command} get --from-location URL` lists those that are there.")
        } else {
            format!("Did you mean `{}`?", near.join("` or `"))
        };
        bail!(Failure::new(format!("There is no {} `{name}` in this location", R::KIND)).hint(hint))
    }

    fn snapshots<R: Recorded>(&self, name: Option<&str>) -> Result<Vec<StoredSnapshot>> {
        let mut labels = vec![(LABEL_KIND.to_owned(), R::LABEL.to_owned())];
        labels.extend(name.map(|name| (LABEL_NAME.to_owned(), name.to_owned())));
        let filter = SnapshotFilter {
            labels,
            ..SnapshotFilter::default()
        };
        let mut found = self.repository.snapshots(&filter)?;
        found.retain(|snapshot| !snapshot.summary.incomplete);
        Ok(found)
    }

    fn record<R: Recorded>(&self, snapshot: &StoredSnapshot) -> Result<R> {
        let record: R = self.document(snapshot, RECORD)?;
        if record.format() > FORMAT {
            bail!(
                Failure::new(format!(
                    "{} `{}` was written by a newer version",
                    R::KIND,
                    record.name()
                ))
                .hint("Use a newer version of Ararat for it.")
            );
        }
        Ok(record)
    }

    /// Warnings and errors.
    pub fn results<R>(&self, stored: &Stored<R>) -> Result<Results> {
        self.document(&stored.snapshot, RESULTS)
    }

    /// The records of a Backup's volumes.
    pub fn volumes(&self, stored: &Stored<Record>) -> Result<Vec<VolumeRecord>> {
        self.document(&stored.snapshot, VOLUMES)
    }

    /// The volumes that a Restore was to fill.
    pub fn filled(&self, stored: &Stored<RestoreRecord>) -> Result<Vec<FilledVolume>> {
        self.document(&stored.snapshot, VOLUMES)
    }

    /// The log.
    pub fn log<R>(&self, stored: &Stored<R>) -> Result<Vec<u8>> {
        self.file(&stored.snapshot, LOG)
    }

    /// The objects that a Backup has: kind, namespace (empty for none), name.
    pub fn objects(&self, stored: &Stored<Record>) -> Result<Vec<[String; 3]>> {
        let mut objects = Vec::new();
        read(
            &self.repository,
            &stored.snapshot,
            OBJECTS.as_bytes(),
            &mut |path, _| {
                if let Some((resource, namespace, name)) = std::str::from_utf8(path).ok().and_then(parse_object_path) {
                    objects.push([resource, namespace, name].map(str::to_owned));
                }
                Ok(())
            },
        )?;
        Ok(objects)
    }

    /// Everything of a Backup but volume data, as a tar archive.
    pub fn contents(
        &self,
        stored: &Stored<Record>,
        output: &mut dyn std::io::Write,
        progress: &dyn Progress,
    ) -> Result<()> {
        let options = DumpOptions {
            path: Vec::new(),
            tar: true,
        };
        dump(&self.repository, &stored.snapshot, &options, output, progress)?;
        Ok(())
    }

    fn document<T: DeserializeOwned>(&self, snapshot: &StoredSnapshot, file: &str) -> Result<T> {
        let bytes = self.file(snapshot, file)?;
        let damaged =
            |error: serde_json::Error| Error::damaged(format!("{file} of snapshot {}", snapshot.id), error.to_string());
        Ok(serde_json::from_slice(&bytes).map_err(damaged)?)
    }

    fn file(&self, snapshot: &StoredSnapshot, file: &str) -> Result<Vec<u8>> {
        let mut content = None;
        read(&self.repository, snapshot, file.as_bytes(), &mut |_, bytes| {
            content = Some(bytes.to_vec());
            Ok(())
        })?;
        content.ok_or_else(|| Error::damaged(format!("Snapshot {}", snapshot.id), format!("it has no {file}")).into())
    }
}

fn label<'a>(snapshot: &'a StoredSnapshot, name: &str) -> Option<&'a str> {
    let labels = &snapshot.summary.labels;
    labels
        .iter()
        .find(|(label, _)| label == name)
        .map(|(_, value)| value.as_str())
}

/// What a cluster would show of an object besides its spec and status.
fn metadata(name: &str, uid: &str, labels: &BTreeMap<String, String>, more: &BTreeMap<String, String>) -> ObjectMeta {
    let some = |map: &BTreeMap<String, String>| Some(map.clone()).filter(|map| !map.is_empty());
    ObjectMeta {
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()),
        labels: some(labels),
        annotations: some(more),
        ..ObjectMeta::default()
    }
}

/// The cluster's own name for itself, unless there is none.
fn cluster(id: &str) -> Option<String> {
    Some(id.to_owned()).filter(|id| !id.is_empty())
}

impl Stored<Record> {
    /// The Backup as a cluster would show it.
    pub fn backup(&self) -> Backup {
        let record = &self.record;
        let mut backup = Backup::new(&record.name, record.spec.clone());
        // What was said since stands in its snapshot's tags.
        backup.spec.hold = self.snapshot.summary.tags.iter().any(|tag| tag == TAG_HOLD);
        backup.metadata = metadata(&record.name, &record.uid, &record.labels, &record.annotations);
        let mut status = record.status.clone();
        backup.metadata.creation_timestamp.clone_from(&status.start_timestamp);
        status.snapshot_id = Some(self.snapshot.id.to_string());
        status.cluster_id = cluster(&record.cluster).or(status.cluster_id);
        backup.status = Some(status);
        backup
    }
}

impl Stored<RestoreRecord> {
    /// The Restore as a cluster would show it.
    pub fn restore(&self) -> Restore {
        let record = &self.record;
        let mut restore = Restore::new(&record.name, record.spec.clone());
        restore.metadata = metadata(&record.name, &record.uid, &record.labels, &record.annotations);
        let mut status = record.status.clone();
        restore.metadata.creation_timestamp.clone_from(&status.start_timestamp);
        status.record_id = Some(self.snapshot.id.to_string());
        restore.status = Some(status);
        restore
    }
}
