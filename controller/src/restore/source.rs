//! The backup as a restore reads it: its record, the facts of its objects, and the objects themselves, which stream past and are never all in memory.

mod objects;

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use api::archive::{self, Record, VolumeRecord};
use engine::repository::{Repository, SnapshotFilter, StoredSnapshot};
use engine::verbs::read::read;
use engine::words::Error;
use serde_json::Value;
use tokio::sync::mpsc;

use super::plan::Plan;
use crate::repositories::{Opened, blocking};

pub use objects::{Gathered, Question};

/// Objects that are read ahead of those who make them.
const AHEAD: usize = 32;

/// A backup in its repository.
pub struct Source {
    /// The repository.
    pub opened: Arc<Opened>,
    /// The Backup's snapshot.
    pub snapshot: StoredSnapshot,
    /// What was asked for, and what became of it.
    pub record: Record,
    /// What was done with each volume.
    pub volumes: Vec<VolumeRecord>,
}

impl Source {
    /// Finds a backup's snapshot and reads its records.
    ///
    /// # Errors
    /// When it is not there, damaged, or of a newer layout.
    pub async fn open(opened: Arc<Opened>, snapshot: String) -> Result<Self> {
        blocking(move || {
            let snapshot = opened.repository.find_snapshot(&snapshot, &SnapshotFilter::default())?;
            let (record, volumes) = records(&opened.repository, &snapshot)?;
            Ok(Self {
                opened,
                snapshot,
                record,
                volumes,
            })
        })
        .await?
    }

    /// Reads every object once, for its facts.
    ///
    /// # Errors
    /// What the repository says.
    pub async fn gather(
        self: &Arc<Self>,
        question: Question,
        stop: impl Fn() -> bool + Send + 'static,
    ) -> Result<Gathered> {
        let source = Arc::clone(self);
        blocking(move || objects::gather(&source.opened.repository, &source.snapshot, &question, &stop)).await?
    }

    /// Reads objects, in the order of their places, which rise: each comes with its place. An error is the last that comes.
    pub fn feed(self: &Arc<Self>, plan: &Arc<Plan>, places: Vec<usize>) -> mpsc::Receiver<Result<(usize, Vec<u8>)>> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let (source, plan) = (Arc::clone(self), Arc::clone(plan));
        tokio::task::spawn_blocking(move || {
            let mut give = |place: usize, content: &[u8]| {
                // Whoever takes them has stopped.
                sender
                    .blocking_send(Ok((place, content.to_vec())))
                    .map_err(|_| Error::Interrupted)
            };
            if let Err(error) = objects::feed(&source.opened.repository, &source.snapshot, &plan, &places, &mut give)
                && !matches!(error.downcast_ref::<Error>(), Some(Error::Interrupted))
            {
                let _ = sender.blocking_send(Err(error));
            }
        });
        receiver
    }
}

/// The records of a Backup.
fn records(repository: &Repository, snapshot: &StoredSnapshot) -> Result<(Record, Vec<VolumeRecord>)> {
    let file = |path: &str| -> Result<Vec<u8>> {
        let mut found = None;
        read(repository, snapshot, path.as_bytes(), &mut |_, content| {
            found = Some(content.to_vec());
            Ok(())
        })?;
        found.ok_or_else(|| anyhow!("The snapshot {} has no {path}: it is no Backup", snapshot.id))
    };
    let record = file(archive::RECORD)?;
    // The layout's version comes first: what a newer one has besides may not be understood.
    let format = serde_json::from_slice::<Value>(&record).context("The record of the Backup is damaged")?;
    let format = format.get("format").and_then(Value::as_u64).unwrap_or_default();
    if format > u64::from(archive::FORMAT) {
        bail!(
            "The Backup has layout {format} and this controller knows {}: update Ararat to restore it",
            archive::FORMAT
        );
    }
    let record = serde_json::from_slice(&record).context("The record of the Backup is damaged")?;
    let volumes = serde_json::from_slice(&file(archive::VOLUMES)?).context("The volumes' records are damaged")?;
    Ok((record, volumes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::trial;
    use serde_json::json;

    #[test]
    fn a_record_of_a_newer_layout_is_refused_with_what_to_do() {
        let repository = trial::repository("restore-records");
        let mut record = serde_json::to_value(Record {
            format: archive::FORMAT,
            name: "a".into(),
            ..Record::default()
        })
        .unwrap();
        let open = |record: &Value| {
            trial::save(
                &repository,
                archive::KIND_BACKUP,
                "a",
                0,
                &[(archive::RECORD, &record.to_string()), (archive::VOLUMES, "[]")],
            );
            records(&repository, trial::snapshots(&repository).last().unwrap())
        };
        assert_eq!(open(&record).unwrap().0.name, "a");
        record["format"] = json!(archive::FORMAT + 1);
        record["status"] = json!("of another shape");
        assert!(open(&record).unwrap_err().to_string().contains("update Ararat"));
        trial::save(&repository, archive::KIND_VOLUME, "b", 0, &[("data", "x")]);
        let error = records(&repository, trial::snapshots(&repository).last().unwrap()).unwrap_err();
        assert!(error.to_string().contains("it is no Backup"), "{error}");
    }
}
