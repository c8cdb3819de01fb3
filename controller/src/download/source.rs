//! What a request asks for, and how it is made.

use std::io::Write;
use std::sync::Arc;

use api::download_request::{DownloadKind, DownloadTarget};
use api::{Backup, BackupPhase, BackupStorageLocation, Restore, RestorePhase, archive};
use axum::body::Bytes;
use engine::format::tree::{EntryKind, TreeReader};
use engine::repository::{Repository, SnapshotFilter, StoredSnapshot};
use engine::verbs::dump::{DumpOptions, dump};
use engine::words::{Error, NoProgress, Result as Done};
use kube::ResourceExt;
use serde_json::json;

use super::stream::{Stream, fill};
use crate::context::{Context, say};
use crate::location;
use crate::repositories::blocking;
use crate::server::{Maker, Output};

/// What is taken of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// One file.
    File(&'static str),
    /// All of it, as a tar archive.
    Everything,
    /// The path of each object, as a line of JSON.
    Resources,
}

/// Where the answer comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// From a snapshot.
    Snapshot {
        /// Which.
        id: String,
        /// The location that it is in.
        location: String,
        /// What of it.
        part: Part,
    },
    /// From what the object says itself.
    Text(String),
}

/// Finds out what is asked for; what it gives makes the answer, each time that it is read.
///
/// # Errors
/// Says why there is no answer.
pub async fn find(context: &Arc<Context>, target: &DownloadTarget) -> Result<Maker, String> {
    let answer = match target.kind {
        DownloadKind::BackupPlan => {
            let backup = Arc::new(backup(context, &target.name).await?);
            let context = Arc::clone(context);
            return Ok(Arc::new(move |output| {
                Box::pin(crate::backup::plan_lines(
                    Arc::clone(&context),
                    Arc::clone(&backup),
                    output,
                ))
            }));
        }
        DownloadKind::RestorePlan => {
            let restore = Arc::new(restore(context, &target.name).await?);
            let context = Arc::clone(context);
            return Ok(Arc::new(move |output| {
                Box::pin(crate::restore::plan_lines(
                    Arc::clone(&context),
                    Arc::clone(&restore),
                    output,
                ))
            }));
        }
        DownloadKind::BackupLog => of_backup(&backup(context, &target.name).await?, Part::File(archive::LOG))?,
        DownloadKind::BackupResults => of_backup(&backup(context, &target.name).await?, Part::File(archive::RESULTS))?,
        DownloadKind::BackupVolumes => of_backup(&backup(context, &target.name).await?, Part::File(archive::VOLUMES))?,
        DownloadKind::BackupContents => of_backup(&backup(context, &target.name).await?, Part::Everything)?,
        DownloadKind::BackupResources => of_backup(&backup(context, &target.name).await?, Part::Resources)?,
        DownloadKind::RestoreLog => of_restore(&restore(context, &target.name).await?, archive::LOG)?,
        DownloadKind::RestoreResults => of_restore(&restore(context, &target.name).await?, archive::RESULTS)?,
    };
    match answer {
        Answer::Text(text) => {
            let text = Bytes::from(text);
            Ok(Arc::new(move |output: Output| {
                let text = text.clone();
                Box::pin(async move {
                    let _ = output.send(Ok(text)).await;
                })
            }))
        }
        Answer::Snapshot { id, location, part } => of_snapshot(context, &id, &location, part).await,
    }
}

async fn backup(context: &Context, name: &str) -> Result<Backup, String> {
    let found = context
        .api::<Backup>()
        .get_opt(name)
        .await
        .map_err(|error| say(&error))?;
    found.ok_or_else(|| {
        let names: Vec<String> = context
            .watches
            .backups
            .all()
            .iter()
            .map(|backup| backup.name_any())
            .collect();
        format!(
            "There is no Backup {name}{}",
            api::nearest::hint(name, names.iter().map(String::as_str))
        )
    })
}

async fn restore(context: &Context, name: &str) -> Result<Restore, String> {
    let found = context
        .api::<Restore>()
        .get_opt(name)
        .await
        .map_err(|error| say(&error))?;
    found.ok_or_else(|| {
        let names: Vec<String> = context
            .watches
            .restores
            .all()
            .iter()
            .map(|restore| restore.name_any())
            .collect();
        format!(
            "There is no Restore {name}{}",
            api::nearest::hint(name, names.iter().map(String::as_str))
        )
    })
}

/// Where a part of a Backup is.
fn of_backup(backup: &Backup, part: Part) -> Result<Answer, String> {
    let name = backup.name_any();
    let status = backup.status.clone().unwrap_or_default();
    if let (Some(id), Some(location)) = (status.snapshot_id, status.storage_location) {
        return Ok(Answer::Snapshot { id, location, part });
    }
    if !status.phase.is_final() {
        return Err(format!(
            "The backup {name} is running ({:?}); its log and results come with its commit. Wait for its end, or look at its events: kubectl describe backups.ararat.dev {name}",
            status.phase
        ));
    }
    let why = status
        .failure_reason
        .into_iter()
        .chain(status.validation_errors)
        .collect::<Vec<_>>()
        .join("\n");
    let why = match (why.is_empty(), status.phase) {
        (false, _) => why,
        (true, BackupPhase::Canceled) => "It was stopped.".to_owned(),
        (true, _) => "Nobody has said why.".to_owned(),
    };
    match part {
        Part::File(archive::LOG) => Ok(Answer::Text(format!(
            "The backup {name} is {:?}; nothing of it was saved.\n{why}\n",
            status.phase
        ))),
        Part::File(archive::RESULTS) => {
            let results = archive::Results {
                errors: vec![archive::Issue {
                    reason: format!("{:?}", status.phase),
                    about: String::new(),
                    message: why,
                }],
                ..archive::Results::default()
            };
            serde_json::to_string_pretty(&results)
                .map(Answer::Text)
                .map_err(|error| error.to_string())
        }
        Part::File(_) | Part::Everything | Part::Resources => Err(format!(
            "The backup {name} is {:?}, and nothing of it was saved: {why}",
            status.phase
        )),
    }
}

/// Where a document of a Restore is.
fn of_restore(restore: &Restore, document: &'static str) -> Result<Answer, String> {
    let name = restore.name_any();
    let status = restore.status.clone().unwrap_or_default();
    if let (Some(id), Some(location)) = (status.record_id, status.storage_location) {
        let part = Part::File(document);
        return Ok(Answer::Snapshot { id, location, part });
    }
    if !status.phase.is_final() {
        return Err(format!(
            "The restore {name} is running ({:?}); its log and results are there when it has ended. Look at its events: kubectl describe restores.ararat.dev {name}",
            status.phase
        ));
    }
    // Where nothing could be written, what became of it stands in its conditions.
    let said = status.conditions.into_iter().map(|said| said.message);
    let why: Vec<String> = status
        .failure_reason
        .into_iter()
        .chain(status.validation_errors)
        .chain(said)
        .collect();
    let why = why.join("\n");
    if document == archive::LOG {
        return Ok(Answer::Text(format!(
            "The restore {name} is {:?}.\n{why}\n",
            status.phase
        )));
    }
    let issue = archive::Issue {
        reason: format!("{:?}", status.phase),
        about: String::new(),
        message: why,
    };
    let mut results = archive::Results::default();
    match status.phase {
        RestorePhase::Completed | RestorePhase::Planned => results.warnings.push(issue),
        RestorePhase::New
        | RestorePhase::FailedValidation
        | RestorePhase::InProgress
        | RestorePhase::Canceling
        | RestorePhase::Canceled
        | RestorePhase::PartiallyFailed
        | RestorePhase::Failed => results.errors.push(issue),
    }
    serde_json::to_string_pretty(&results)
        .map(Answer::Text)
        .map_err(|error| error.to_string())
}

async fn of_snapshot(context: &Arc<Context>, id: &str, location: &str, part: Part) -> Result<Maker, String> {
    let locations: Vec<Arc<BackupStorageLocation>> = context.watches.locations.all();
    let location = location::chosen(&locations, Some(location))?;
    let explain = |error: &anyhow::Error| location::explain(error, &location.spec);
    let opened = context
        .repositories
        .open(&location)
        .await
        .map_err(|error| explain(&error))?;
    let (held, id) = (Arc::clone(&opened), id.to_owned());
    let found = blocking(move || -> Done<StoredSnapshot> {
        let snapshot = held.repository.find_snapshot(&id, &SnapshotFilter::default())?;
        if let Part::File(path) = part
            && reader(&held.repository, &snapshot, path)?.next_entry()?.is_none()
        {
            return Err(Error::Invalid(format!(
                "The snapshot {} has no {path}",
                snapshot.id.short()
            )));
        }
        Ok(snapshot)
    });
    let snapshot = found
        .await
        .and_then(|found| Ok(found?))
        .map_err(|error| explain(&error))?;
    let source = Arc::new((opened, snapshot));
    Ok(Arc::new(move |output: Output| {
        let source = Arc::clone(&source);
        Box::pin(async move {
            let failing = output.clone();
            let made = blocking(move || {
                let (opened, snapshot) = source.as_ref();
                make(&opened.repository, snapshot, part, output);
            });
            if let Err(error) = made.await {
                let _ = failing.send(Err(std::io::Error::other(error.to_string()))).await;
            }
        })
    }))
}

fn reader<'r>(repository: &'r Repository, snapshot: &StoredSnapshot, path: &str) -> Done<TreeReader<&'r Repository>> {
    let record = snapshot.record.as_ref().ok_or(Error::RoleTooSmall {
        needed: "a reader or an owner",
        role: "a maintainer",
    })?;
    TreeReader::new(repository, record.root.0).subtree(path.as_bytes())
}

/// Writes a part of a snapshot.
fn make(repository: &Repository, snapshot: &StoredSnapshot, part: Part, output: Output) {
    fill(output, |stream| {
        let options = match part {
            Part::Resources => return resources(repository, snapshot, stream),
            Part::Everything => DumpOptions {
                path: Vec::new(),
                tar: true,
            },
            Part::File(path) => DumpOptions {
                path: path.as_bytes().to_vec(),
                tar: false,
            },
        };
        dump(repository, snapshot, &options, stream, &NoProgress).map(drop)
    });
}

/// Every object that a backup has: a line of JSON each.
fn resources(repository: &Repository, snapshot: &StoredSnapshot, stream: &mut Stream) -> Done<()> {
    let mut reader = reader(repository, snapshot, archive::OBJECTS)?;
    while let Some(entry) = reader.next_entry()? {
        if !matches!(entry.kind, EntryKind::File { .. }) {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path);
        let Some((resource, namespace, name)) = archive::parse_object_path(&path) else {
            return Err(Error::damaged(
                format!("Snapshot {}", snapshot.id.short()),
                format!("{path} is no object"),
            ));
        };
        let line = json!({ "resource": resource, "namespace": namespace, "name": name });
        writeln!(stream, "{line}").map_err(|error| Error::io("write to", "the download", error))?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
#[path = "source/tests.rs"]
mod tests;
