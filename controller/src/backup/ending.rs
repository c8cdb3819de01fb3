//! How a Backup ended is written down, once; and while it has not, its object stays.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use api::condition::{self, Said};
use api::{Backup, BackupPhase};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::commit;
use super::work::{Stop, Work};
use crate::context::{Context, is_passing, now};
use crate::location::hold;

/// Keeps a running Backup's object until its hooks are closed.
const FINALIZER: &str = "ararat.dev/backup";

/// Says how it ended, once it is committed.
pub(super) async fn finish(work: &Work, committed: commit::Committed) -> Result<(), Stop> {
    let mut status = committed.status;
    let mut conditions = work.conditions();
    let said = Said {
        kind: "Committed",
        holds: true,
        reason: "Committed",
        message: format!("Snapshot {} has it", committed.snapshot),
        generation: work.backup.metadata.generation,
    };
    condition::set(&mut conditions, &said, now());
    if committed.held {
        condition::set(
            &mut conditions,
            &hold::in_repository(work.backup.metadata.generation),
            now(),
        );
    }
    status.conditions = conditions;
    status.observed_generation = work.backup.metadata.generation;
    status.snapshot_id = Some(committed.snapshot);
    let mut patch = serde_json::to_value(&status).context("The status is no JSON")?;
    if let Some(patch) = patch.as_object_mut() {
        for emptied in ["openHooks", "hooksDone"] {
            patch.insert(emptied.to_owned(), json!([]));
        }
    }
    work.patch(&patch).await?;
    let (errors, warnings) = (status.errors.unwrap_or_default(), status.warnings.unwrap_or_default());
    let note = format!("{:?}: {errors} errors, {warnings} warnings", status.phase);
    work.context
        .event(&work.backup, errors > 0, "Ended", note.clone())
        .await;
    tracing::info!("Backup {}: {note}", work.name);
    Ok(())
}

/// Says how it ended, without a commit.
pub(super) async fn end(work: &Work, stop: Stop) {
    let (phase, reason, message) = match &stop {
        Stop::Invalid(errors) => (BackupPhase::FailedValidation, "Invalid", errors.join("; ")),
        Stop::Cancelled => (BackupPhase::Canceled, "Canceled", "It was cancelled".to_owned()),
        Stop::Failed(error) => (BackupPhase::Failed, "Failed", format!("{error:#}")),
        // It has not ended.
        Stop::Waits(_) => return,
    };
    let mut conditions = work.conditions();
    let said = Said {
        kind: "Committed",
        holds: false,
        reason,
        message: message.clone(),
        generation: work.backup.metadata.generation,
    };
    condition::set(&mut conditions, &said, now());
    let (warnings, errors) = work.issues.counts();
    let mut patch = json!({
        "phase": phase,
        "conditions": conditions,
        "observedGeneration": work.backup.metadata.generation,
        "completionTimestamp": Time(now()),
        "openHooks": [],
        "hooksDone": [],
        "warnings": warnings,
        "errors": errors,
    });
    if let Some(patch) = patch.as_object_mut() {
        match &stop {
            Stop::Invalid(errors) => patch.insert("validationErrors".to_owned(), json!(errors)),
            Stop::Failed(_) => patch.insert("failureReason".to_owned(), json!(message)),
            Stop::Cancelled | Stop::Waits(_) => None,
        };
    }
    if let Err(error) = work.patch(&patch).await {
        tracing::warn!("Could not write how the Backup {} ended: {error:#}", work.name);
    }
    work.context
        .event(&work.backup, phase != BackupPhase::Canceled, reason, message.clone())
        .await;
    tracing::info!("Backup {}: {phase:?}: {message}", work.name);
}

/// Keeps the object of a backup that runs, or lets it go.
///
/// # Errors
/// What the API server says.
pub(super) async fn set_finalizer(context: &Context, backup: &Backup, wanted: bool) -> Result<()> {
    let api: Api<Backup> = context.api();
    for _ in 0..60 {
        let current = match api.get_opt(&backup.name_any()).await {
            Ok(Some(current)) if current.uid() == backup.uid() => current,
            Ok(_) => return Ok(()),
            Err(error) if is_passing(&error) => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let mut finalizers = current.metadata.finalizers.clone().unwrap_or_default();
        let has = finalizers.iter().any(|finalizer| finalizer == FINALIZER);
        if has == wanted || (wanted && current.metadata.deletion_timestamp.is_some()) {
            return Ok(());
        }
        finalizers.retain(|finalizer| finalizer != FINALIZER);
        if wanted {
            finalizers.push(FINALIZER.to_owned());
        }
        let patch = json!({ "metadata": { "finalizers": finalizers, "resourceVersion": current.resource_version() } });
        match api
            .patch(&backup.name_any(), &PatchParams::default(), &Patch::Merge(patch))
            .await
        {
            Ok(_) => return Ok(()),
            Err(error) if crate::context::is_not_found(&error) => return Ok(()),
            // Somebody else has written meanwhile.
            Err(error) if crate::context::is_conflict(&error) || is_passing(&error) => {
                tokio::time::sleep(Duration::from_millis(200)).await
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(anyhow!("the API server does not answer"))
}
