//! The Backups in a repository, read with no cluster: what `--from-location` shows.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use api::Backup;
use api::archive::{
    FORMAT, KIND_BACKUP, LABEL_KIND, LABEL_NAME, LOG, OBJECTS, RECORD, RESULTS, Record, Results, VOLUMES, VolumeRecord,
    parse_object_path,
};
use engine::format::envelope::Access;
use engine::repository::{Repository, SnapshotFilter, StoredSnapshot};
use engine::verbs::dump::{DumpOptions, dump};
use engine::verbs::read::read;
use engine::words::{Error, Progress};
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::session::Session;

/// An open repository.
pub struct Catalogue {
    repository: Repository,
}

/// A Backup in it.
pub struct Stored {
    pub snapshot: StoredSnapshot,
    pub record: Record,
}

impl Catalogue {
    /// Opens the repository that was named.
    pub fn open(session: &Session) -> Result<Self> {
        let repository = session.open(Access::Read, false)?;
        Ok(Self { repository })
    }

    /// All Backups, oldest first, and how many could not be read: each is told of, and left out.
    pub fn backups(&self, progress: &dyn Progress) -> Result<(Vec<Stored>, usize)> {
        let snapshots = self.snapshots(None)?;
        progress.stage("Reading backups", "backups");
        progress.expect(snapshots.len() as u64, 0);
        let (mut found, mut left_out) = (Vec::new(), 0);
        for snapshot in snapshots {
            match self.record(&snapshot) {
                Ok(record) => found.push(Stored { snapshot, record }),
                Err(error) => {
                    left_out += 1;
                    let why = crate::failure::message_of(&error);
                    progress.note(&format!("Snapshot {} is left out: {why}", snapshot.id.short()));
                }
            }
            progress.done(1, 0);
        }
        Ok((found, left_out))
    }

    /// The newest Backup of that name.
    pub fn backup(&self, name: &str) -> Result<Stored> {
        if let Some(snapshot) = self.snapshots(Some(name))?.pop() {
            let record = self.record(&snapshot)?;
            return Ok(Stored { snapshot, record });
        }
        let snapshots = self.snapshots(None)?;
        let names: Vec<&str> = snapshots
            .iter()
            .filter_map(|snapshot| label(snapshot, LABEL_NAME))
            .collect();
        let near = api::nearest::nearest(name, names);
        let hint = if near.is_empty() {
            "`ararat backup get --from-location URL` lists those that are there.".to_owned()
        } else {
            format!("Did you mean `{}`?", near.join("` or `"))
        };
        bail!(Failure::new(format!("There is no Backup `{name}` in this location")).hint(hint))
    }

    fn snapshots(&self, name: Option<&str>) -> Result<Vec<StoredSnapshot>> {
        let mut labels = vec![(LABEL_KIND.to_owned(), KIND_BACKUP.to_owned())];
        labels.extend(name.map(|name| (LABEL_NAME.to_owned(), name.to_owned())));
        let filter = SnapshotFilter {
            labels,
            ..SnapshotFilter::default()
        };
        let mut found = self.repository.snapshots(&filter)?;
        found.retain(|snapshot| !snapshot.summary.incomplete);
        Ok(found)
    }

    fn record(&self, snapshot: &StoredSnapshot) -> Result<Record> {
        let record: Record = self.document(snapshot, RECORD)?;
        if record.format > FORMAT {
            bail!(
                Failure::new(format!("Backup `{}` was written by a newer version", record.name))
                    .hint("Use a newer version of Ararat for it.")
            );
        }
        Ok(record)
    }

    /// Warnings and errors of a Backup.
    pub fn results(&self, stored: &Stored) -> Result<Results> {
        self.document(&stored.snapshot, RESULTS)
    }

    /// The records of its volumes.
    pub fn volumes(&self, stored: &Stored) -> Result<Vec<VolumeRecord>> {
        self.document(&stored.snapshot, VOLUMES)
    }

    /// Its log.
    pub fn log(&self, stored: &Stored) -> Result<Vec<u8>> {
        self.file(&stored.snapshot, LOG)
    }

    /// The objects that it has: kind, namespace (empty for none), name.
    pub fn objects(&self, stored: &Stored) -> Result<Vec<[String; 3]>> {
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

    /// Everything of it but volume data, as a tar archive.
    pub fn contents(&self, stored: &Stored, output: &mut dyn std::io::Write, progress: &dyn Progress) -> Result<()> {
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

impl Stored {
    /// The Backup as a cluster would show it.
    pub fn backup(&self) -> Backup {
        let record = &self.record;
        let mut backup = Backup::new(&record.name, record.spec.clone());
        let some = |map: &BTreeMap<String, String>| Some(map.clone()).filter(|map| !map.is_empty());
        backup.metadata.uid = Some(record.uid.clone());
        backup.metadata.labels = some(&record.labels);
        backup.metadata.annotations = some(&record.annotations);
        backup
            .metadata
            .creation_timestamp
            .clone_from(&record.status.start_timestamp);
        let mut status = record.status.clone();
        status.snapshot_id = Some(self.snapshot.id.to_string());
        status.cluster_id = Some(record.cluster.clone())
            .filter(|cluster| !cluster.is_empty())
            .or(status.cluster_id);
        backup.status = Some(status);
        backup
    }
}
