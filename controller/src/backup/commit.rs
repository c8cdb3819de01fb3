//! Objects, records, results and log become one commit, written once: the Backup is there when this is, and not before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow};
use api::archive::{self, Record, VolumeRecord};
use api::{BackupPhase, BackupSpec, BackupStatus, words};
use engine::format::mark::MarkKind;
use engine::repository::SnapshotFilter;
use engine::repository::writer::Machine;
use engine::source::SourceOptions;
use engine::verbs::backup::{BackupOptions, BackupReport, Input, MemoryFile, OwnerNames, ParentChoice, backup};
use engine::words::{Error, Progress, StoreFailure};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::collect;
use super::survey::Survey;
use super::work::{Work, unless};
use crate::context::{engine_now, machine, now};
use crate::location::sync;
use crate::repositories::{Opened, blocking};

/// Batches of documents on their way from the lists into the repository.
const BATCHES: usize = 4;
/// How long the engine is waited for when the backup is cancelled.
const STOPS_WITHIN: Duration = Duration::from_secs(15);

/// A Backup that can be restored.
pub(super) struct Committed {
    /// Its snapshot.
    pub(super) snapshot: String,
    /// Its status, as its record has it.
    pub(super) status: BackupStatus,
    /// Whether it was held when it was committed.
    pub(super) held: bool,
}

/// The commit of a Backup, if there is one.
pub(super) async fn find(opened: &Arc<Opened>, uid: &str) -> Result<Option<Committed>> {
    let (opened, uid) = (Arc::clone(opened), uid.to_owned());
    blocking(move || -> Result<Option<Committed>> {
        let filter = SnapshotFilter {
            labels: vec![
                (archive::LABEL_KIND.to_owned(), archive::KIND_BACKUP.to_owned()),
                (archive::LABEL_UID.to_owned(), uid),
            ],
            ..SnapshotFilter::default()
        };
        let found = opened.repository.snapshots(&filter)?;
        // What was read until it was cancelled is no commit.
        let Some(snapshot) = found.iter().find(|snapshot| !snapshot.summary.incomplete) else {
            return Ok(None);
        };
        let mut record = None;
        engine::verbs::read::read(
            &opened.repository,
            snapshot,
            archive::RECORD.as_bytes(),
            &mut |_, content| {
                record = serde_json::from_slice::<Record>(content).ok();
                Ok(())
            },
        )?;
        let record = record.ok_or_else(|| anyhow!("The snapshot {} has no record of its Backup", snapshot.id))?;
        Ok(Some(Committed {
            snapshot: snapshot.id.to_string(),
            status: record.status,
            held: sync::is_held(snapshot),
        }))
    })
    .await?
}

/// Whether trying again may help: the store, and not what is stored, is the trouble.
pub(super) fn may_pass(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<Error>() {
        Some(Error::Store { failure, .. }) => !matches!(failure, StoreFailure::Full),
        Some(Error::Fenced { .. }) => true,
        Some(_) => false,
        None => error
            .downcast_ref::<kube::Error>()
            .is_some_and(crate::context::is_passing),
    }
}

/// Stops the engine when the backup is cancelled, and counts.
struct Watch {
    cancelled: AtomicBool,
    items: AtomicU64,
}

impl Progress for Watch {
    fn done(&self, items: u64, _bytes: u64) {
        self.items.fetch_add(items, Ordering::Relaxed);
    }

    fn interrupted(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// Collects and commits.
pub(super) async fn commit(
    work: &Work,
    opened: &Arc<Opened>,
    survey: &Survey,
    volumes: &[VolumeRecord],
    status: &BackupStatus,
) -> Result<Committed> {
    let (sender, receiver) = mpsc::channel::<Batch>(BATCHES);
    let watch = Arc::new(Watch {
        cancelled: AtomicBool::new(false),
        items: AtomicU64::new(0),
    });
    let held = work.is_held();
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let labels = vec![
        label(archive::LABEL_KIND, archive::KIND_BACKUP),
        label(archive::LABEL_NAME, &work.name),
        label(archive::LABEL_UID, &work.uid),
    ];
    let options = BackupOptions {
        tags: held.then(|| archive::TAG_HOLD.to_owned()).into_iter().collect(),
        ..options(&work.context.cluster, machine(&work.context.args.pod), labels)
    };
    let name = source_name(&work.backup.spec);
    let mut stored = {
        let (opened, watch) = (Arc::clone(opened), Arc::clone(&watch));
        tokio::spawn(blocking(move || {
            let files = Box::new(Files {
                receiver,
                batch: Vec::new().into_iter(),
                ended: false,
            });
            backup(
                &opened.repository,
                Input::Files { name, files },
                &options,
                watch.as_ref(),
            )
        }))
    };
    // A kind may have any number of objects, and a page any number of tries: whoever stops it waits for none of them.
    let collected = async {
        let fed = unless(work.cancelled(), feed(work, survey, volumes, status, &watch, sender));
        fed.await.unwrap_or_else(|| Err(anyhow!("The backup was cancelled")))
    };
    let stopped = async {
        work.cancelled().await;
        watch.cancelled.store(true, Ordering::Relaxed);
        tokio::time::sleep(STOPS_WITHIN).await;
    };
    let ended = tokio::select! {
        both = async { tokio::join!(&mut stored, collected) } => Some(both),
        () = stopped => None,
    };
    let Some((stored, collected)) = ended else {
        tokio::spawn(forget_late(Arc::clone(opened), stored));
        return Err(anyhow!("The backup was cancelled"));
    };
    let (status, stored) = match (collected, stored??) {
        (_, Err(error)) if !matches!(error, Error::Interrupted) => return Err(error.into()),
        (Err(error), _) => return Err(error),
        (Ok(_), Err(error)) => return Err(error.into()),
        (Ok(_), Ok(stored)) if stored.interrupted => return Err(anyhow!("The backup was cancelled")),
        (Ok(status), Ok(stored)) => (status, stored),
    };
    let snapshot = stored.snapshot.ok_or_else(|| anyhow!("The engine made no snapshot"))?;
    Ok(Committed {
        snapshot: snapshot.to_string(),
        status,
        held,
    })
}

/// The engine may wait for its store longer than whoever cancels waits for it. What it has committed by then all the same is nobody's.
async fn forget_late(opened: Arc<Opened>, stored: JoinHandle<Result<engine::words::Result<BackupReport>>>) {
    let Ok(Ok(Ok(report))) = stored.await else { return };
    let Some(snapshot) = report.snapshot.filter(|_| !report.interrupted) else {
        return;
    };
    let reason = "its Backup was cancelled".to_owned();
    let forgotten = blocking(move || {
        opened
            .repository
            .mark(snapshot, MarkKind::Forget { reason }, engine_now())
    });
    if let Ok(Err(error)) = forgotten.await {
        tracing::warn!("The snapshot {snapshot} of a cancelled Backup could not be forgotten: {error}");
    }
}

/// Everything in the order of paths, and the word that it was everything.
async fn feed(
    work: &Work,
    survey: &Survey,
    volumes: &[VolumeRecord],
    status: &BackupStatus,
    watch: &Watch,
    sender: mpsc::Sender<Batch>,
) -> Result<BackupStatus> {
    let gone = || anyhow!("The engine has stopped");
    let (mut kinds, mut total) = (BTreeMap::new(), 0);
    let mut told = tokio::time::Instant::now();
    // The order of paths is that of the resources' names, and so is the order of the kinds.
    for kind in &survey.found.kinds {
        let items = collect::of_kind(&work.context, survey, kind, true, &work.issues).await;
        if items.is_empty() {
            continue;
        }
        total += items.len() as u64;
        kinds.insert(kind.resource(), items.len() as u64);
        let files: Vec<MemoryFile> = items
            .into_iter()
            .map(|item| MemoryFile {
                path: collect::path(kind, &item),
                content: item.json,
            })
            .collect();
        sender.send(Batch::Files(files)).await.map_err(|_| gone())?;
        if told.elapsed() > Duration::from_secs(1) {
            told = tokio::time::Instant::now();
            let done = watch.items.load(Ordering::Relaxed);
            work.patch(&json!({ "progress": { "totalItems": total, "itemsBackedUp": done } }))
                .await?;
        }
    }
    for (resource, count) in &kinds {
        work.issues.log(&format!("{resource}: {count} objects"));
    }
    for volume in volumes {
        let what = match &volume.snapshot_id {
            Some(snapshot) => format!(
                "snapshot {snapshot}, {} bytes of {} read",
                volume.bytes_read, volume.bytes
            ),
            None => "not saved".to_owned(),
        };
        work.issues
            .log(&format!("volume {}: {what} ({})", volume.source, volume.reason));
    }
    let (warnings, errors) = work.issues.counts();
    let status = BackupStatus {
        phase: if errors == 0 {
            BackupPhase::Completed
        } else {
            BackupPhase::PartiallyFailed
        },
        completion_timestamp: Some(Time(now())),
        progress: Some(api::backup::BackupProgress {
            total_items: total,
            items_backed_up: total,
        }),
        volumes: Some(counts(volumes)),
        warnings: Some(warnings),
        errors: Some(errors),
        ..status.clone()
    };
    work.issues.log(&format!(
        "{total} objects, {} volumes, {errors} errors, {warnings} warnings",
        volumes.len()
    ));
    let record = Record {
        format: archive::FORMAT,
        program: concat!("ararat-controller ", env!("CARGO_PKG_VERSION")).to_owned(),
        name: work.name.clone(),
        uid: work.uid.clone(),
        labels: work.backup.metadata.labels.clone().unwrap_or_default(),
        annotations: work.backup.metadata.annotations.clone().unwrap_or_default(),
        cluster: work.context.cluster.clone(),
        kubernetes: work.context.kubernetes.clone(),
        spec: work.backup.spec.clone(),
        status: status.clone(),
        kinds,
    };
    let file = |path: &str, content: Vec<u8>| MemoryFile {
        path: path.as_bytes().to_vec(),
        content,
    };
    let last = vec![
        file(archive::RECORD, serde_json::to_vec_pretty(&record)?),
        file(archive::RESULTS, serde_json::to_vec_pretty(&work.issues.results())?),
        file(archive::LOG, work.issues.text().into_bytes()),
        file(archive::VOLUMES, serde_json::to_vec_pretty(volumes)?),
    ];
    sender.send(Batch::Files(last)).await.map_err(|_| gone())?;
    sender.send(Batch::End).await.map_err(|_| gone())?;
    Ok(status)
}

fn counts(volumes: &[VolumeRecord]) -> api::backup::VolumeCounts {
    let saved = volumes
        .iter()
        .filter(|volume| volume.action == api::backup::VolumeAction::FsBackup);
    let total = saved.clone().count() as u64;
    let completed = saved.clone().filter(|volume| volume.snapshot_id.is_some()).count() as u64;
    let bytes = saved.map(|volume| volume.bytes).sum();
    api::backup::VolumeCounts {
        total,
        completed,
        failed: total - completed,
        skipped: volumes.len() as u64 - total,
        bytes_done: bytes,
        bytes_total: bytes,
    }
}

fn options(cluster: &str, machine: Machine, labels: Vec<(String, String)>) -> BackupOptions {
    BackupOptions {
        clock: engine_now,
        time: None,
        host: cluster.as_bytes().to_vec(),
        user: b"ararat-controller".to_vec(),
        tags: Vec::new(),
        labels,
        description: String::new(),
        machine,
        parent: ParentChoice::Newest,
        ignore_ctime: false,
        ignore_inode: false,
        skip_if_unchanged: false,
        dry_run: false,
        estimate: false,
        level: None,
        workers: 2,
        uploads: 2,
        volume_key: None,
        source: SourceOptions::default(),
        source_name: None,
        names: OwnerNames {
            user: |_| None,
            group: |_| None,
        },
    }
}

/// Backups of the same objects are compared with each other, whatever they are called.
fn source_name(spec: &BackupSpec) -> Vec<u8> {
    let same = BackupSpec {
        ttl: None,
        hooks: Vec::new(),
        storage_location: None,
        cancel: false,
        hold: false,
        ..spec.clone()
    };
    let text = serde_json::to_string(&same).unwrap_or_default();
    words::derived_name("backups", &[&text]).into_bytes()
}

/// What goes through the channel.
enum Batch {
    /// Documents.
    Files(Vec<MemoryFile>),
    /// These were all.
    End,
}

/// What comes through the channel, one by one. A channel that ends without the word that these were all, as it does when whoever collects has failed or died,
/// is an error: what is not whole is never committed.
struct Files {
    receiver: mpsc::Receiver<Batch>,
    batch: std::vec::IntoIter<MemoryFile>,
    ended: bool,
}

impl Iterator for Files {
    type Item = engine::words::Result<MemoryFile>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(file) = self.batch.next() {
                return Some(Ok(file));
            }
            if self.ended {
                return None;
            }
            match self.receiver.blocking_recv() {
                Some(Batch::Files(files)) => self.batch = files.into_iter(),
                Some(Batch::End) => self.ended = true,
                None => {
                    self.ended = true;
                    return Some(Err(Error::Interrupted));
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::trial;

    /// The bug: cancelling was seen between kinds only, and a kind may have 31,000 objects, in pages that are asked for again and again. Here one never ends.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_cancel_in_the_middle_of_a_kind_ends_the_commit_and_leaves_nothing_that_looks_whole() {
        let repository = Arc::new(trial::repository("cancelled"));
        let (sender, receiver) = mpsc::channel::<Batch>(BATCHES);
        let watch = Arc::new(Watch {
            cancelled: AtomicBool::new(false),
            items: AtomicU64::new(0),
        });
        let (held, watched) = (Arc::clone(&repository), Arc::clone(&watch));
        let stored = tokio::task::spawn_blocking(move || {
            let files = Box::new(Files {
                receiver,
                batch: Vec::new().into_iter(),
                ended: false,
            });
            let name = b"backups".to_vec();
            let options = options("we", machine("pod"), Vec::new());
            backup(&held, Input::Files { name, files }, &options, watched.as_ref())
        });
        let pages = async {
            for number in 0_u32.. {
                let file = MemoryFile {
                    path: format!("objects/secrets/namespaces/a/{number:010}").into_bytes(),
                    content: b"{}".to_vec(),
                };
                sender.send(Batch::Files(vec![file])).await.unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            drop(sender);
        };
        let asked = Instant::now();
        let cancel = tokio::time::sleep(Duration::from_millis(300));
        assert_eq!(unless(cancel, pages).await, None);
        watch.cancelled.store(true, Ordering::Relaxed);
        let stored = stored.await.unwrap();
        assert!(
            matches!(&stored, Err(Error::Interrupted)) || stored.is_ok_and(|stored| stored.interrupted),
            "it was committed"
        );
        assert!(asked.elapsed() < Duration::from_secs(30));
        assert!(
            trial::snapshots(&repository)
                .iter()
                .all(|snapshot| snapshot.summary.incomplete)
        );
    }
}
