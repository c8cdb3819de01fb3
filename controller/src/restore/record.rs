//! What is kept of a restore: what was asked for and what became of it, log and results, as a small snapshot in the location that it was restored from. It
//! outlives the Restore and its cluster: `ararat restore describe --from-location` reads it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use api::archive::{self, FilledVolume, RestoreRecord, Results};
use api::{Restore, RestoreStatus};
use engine::repository::SnapshotFilter;
use serde_json::Value;

use super::work::Work;
use crate::context::engine_now;
use crate::documents::{self, Documents};
use crate::location;
use crate::repositories::blocking;

/// How often it is tried while the store is away.
const TRIES: u32 = 10;
/// Issues that are told in the status when nothing can be written.
const TOLD: usize = 20;

/// Writes the record, unless it is there; gives its snapshot. `last` is what is about to be said of the Restore.
///
/// # Errors
/// Says why nothing can be written there.
pub async fn write(work: &Arc<Work>, restore: &Restore, last: &Value) -> Result<String, String> {
    let opened = Arc::clone(&work.source.opened);
    opened.writable().map_err(|error| error.to_string())?;
    if let Some(location) = work.context.watches.locations.named(&opened.location) {
        location::may_write(&location)?;
    }
    let record = Arc::new(record(work, restore, last));
    let mut failure = String::new();
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        let (work, opened, record) = (Arc::clone(work), Arc::clone(&opened), Arc::clone(&record));
        match blocking(move || store(&work, &opened.repository, &record)).await {
            Ok(Ok(snapshot)) => return Ok(snapshot),
            Ok(Err(error)) | Err(error) => failure = format!("{error:#}"),
        }
    }
    Err(failure)
}

fn record(work: &Work, restore: &Restore, last: &Value) -> RestoreRecord {
    let mut status = ended(restore.status.as_ref(), last);
    status.backup_name.get_or_insert_with(|| work.backup.clone());
    RestoreRecord {
        format: archive::FORMAT,
        program: concat!("ararat-controller ", env!("CARGO_PKG_VERSION")).to_owned(),
        name: work.name.clone(),
        uid: work.uid.clone(),
        labels: restore.metadata.labels.clone().unwrap_or_default(),
        annotations: restore.metadata.annotations.clone().unwrap_or_default(),
        cluster: work.context.cluster.clone(),
        kubernetes: work.context.kubernetes.clone(),
        spec: restore.spec.clone(),
        status,
    }
}

/// The status once `last` has been written: each of its fields takes the place of what was there, and what is null goes.
fn ended(before: Option<&RestoreStatus>, last: &Value) -> RestoreStatus {
    let before = before.cloned().unwrap_or_default();
    let mut status = serde_json::to_value(&before).unwrap_or_default();
    for (field, value) in last.as_object().into_iter().flatten() {
        if !value.is_null() {
            status[field] = value.clone();
        } else if let Some(status) = status.as_object_mut() {
            status.remove(field);
        }
    }
    serde_json::from_value(status).unwrap_or(before)
}

/// The volumes of a restore, as their agents have left them.
fn volumes(work: &Work) -> Vec<FilledVolume> {
    let all = work.context.watches.volume_restores.all();
    let ours = all.iter().filter(|volume| volume.spec.restore_uid == work.uid);
    let mut volumes: Vec<FilledVolume> = ours.map(|volume| FilledVolume::from(&**volume)).collect();
    volumes.sort_by(|left, right| left.source.cmp(&right.source));
    volumes
}

fn store(work: &Work, repository: &engine::repository::Repository, record: &RestoreRecord) -> Result<String> {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let filter = SnapshotFilter {
        labels: vec![
            label(archive::LABEL_KIND, archive::KIND_RESTORE),
            label(archive::LABEL_UID, &work.uid),
        ],
        ..SnapshotFilter::default()
    };
    // Of a controller that died before it could say so; or of an attempt whose answer was lost.
    if let Some(snapshot) = repository.snapshots(&filter)?.last() {
        return Ok(snapshot.id.to_string());
    }
    let documents = Documents {
        source: &format!("restores/{}", work.name),
        cluster: &work.context.cluster,
        pod: &work.context.args.pod,
        labels: &[
            (archive::LABEL_KIND, archive::KIND_RESTORE),
            (archive::LABEL_NAME, &work.name),
            (archive::LABEL_UID, &work.uid),
        ],
        time: engine_now(),
        files: vec![
            (archive::LOG, work.issues.text().into_bytes()),
            (archive::RECORD, serde_json::to_vec_pretty(record)?),
            (archive::RESULTS, serde_json::to_vec_pretty(&work.issues.results())?),
            (archive::VOLUMES, serde_json::to_vec_pretty(&volumes(work))?),
        ],
    };
    Ok(documents::store(repository, documents)?.to_string())
}

/// The first issues in a line, for a status that is all there is.
pub fn summary(results: &Results) -> String {
    let mut text = String::new();
    for (level, issues) in [("error", &results.errors), ("warning", &results.warnings)] {
        for issue in issues.iter().take(TOLD) {
            let _ = write!(text, "; {level} {} {}: {}", issue.reason, issue.about, issue.message);
        }
        if issues.len() > TOLD {
            let _ = write!(text, "; {} more {level}s", issues.len() - TOLD);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::RestorePhase;
    use api::archive::Issue;
    use serde_json::json;

    #[test]
    fn a_record_has_the_status_as_it_is_about_to_be() {
        let before = RestoreStatus {
            phase: RestorePhase::InProgress,
            step: Some("Objects".to_owned()),
            backup_name: Some("shop".to_owned()),
            warnings: Some(1),
            ..RestoreStatus::default()
        };
        let last = json!({ "phase": "Completed", "step": null, "warnings": 2, "volumes": { "total": 1, "completed": 1, "failed": 0 } });
        let status = ended(Some(&before), &last);
        assert_eq!((status.phase, status.step), (RestorePhase::Completed, None));
        assert_eq!(
            (status.backup_name.as_deref(), status.warnings),
            (Some("shop"), Some(2))
        );
        assert_eq!(status.volumes.map(|volumes| volumes.completed), Some(1));
    }

    #[test]
    fn a_status_that_is_all_there_is_tells_the_first_issues() {
        let issue = Issue {
            reason: "Differs".into(),
            about: "secrets/a/b".into(),
            message: "It differs".into(),
        };
        let results = Results {
            warnings: vec![issue; 25],
            errors: Vec::new(),
        };
        let text = summary(&results);
        assert!(text.starts_with("; warning Differs secrets/a/b: It differs") && text.ends_with("; 5 more warnings"));
        assert_eq!(summary(&Results::default()), "");
    }
}
