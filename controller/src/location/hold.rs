//! Holds: whether a Backup is kept whatever its time to live says. spec.hold says what is wanted, a tag of the Backup's snapshot what is kept: it counts in every
//! cluster, and outlives the Backup object.
//!
//! The condition Held says what both agreed on last, and of which generation of the spec; so it can be seen which side has changed since. What was changed here is
//! written to the repository, if this cluster writes there; what was changed there, by another cluster or `ararat repo tag`, becomes spec.hold. When nobody can
//! tell, spec.hold counts; and that a hold is gone is believed only of a listing in which nothing may be missing. [`decide`] is pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Result;
use api::Backup;
use api::archive::TAG_HOLD;
use api::condition::{self, Condition, Said};
use engine::format::mark::MarkKind;
use engine::repository::{Repository, SnapshotFilter};
use engine::words::SessionId;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::sync::Saved;
use crate::context::{Context, engine_now, is_conflict, is_not_found, now};
use crate::repositories::{Opened, blocking};

/// The condition that says whether the repository holds a backup.
const HELD: &str = "Held";

/// What this cluster may do, and how far it sees.
#[derive(Clone, Debug)]
pub struct Side {
    /// Why nothing is written to the location from here; none when it is this cluster's.
    pub refusal: Option<String>,
    /// Nothing may be missing from what was listed.
    pub whole: bool,
}

/// What is done about one backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Both sides say the same.
    Agree,
    /// The repository is told.
    Tell,
    /// spec.hold becomes what the repository says.
    Follow,
    /// spec.hold says another thing than the repository, which is not written to from here.
    Alone,
    /// It cannot be told yet.
    Unknown,
}

/// Decides, of what is wanted here, what the repository says, and what was said before.
fn decide(backup: &Backup, stored: bool, side: &Side) -> Step {
    let wanted = backup.spec.hold;
    if wanted == stored {
        return Step::Agree;
    }
    let changed_here = match said(backup) {
        Some(said) => wanted != holds(said) || said.observed_generation != backup.metadata.generation,
        None => wanted,
    };
    match (changed_here, &side.refusal) {
        (true, None) => Step::Tell,
        (true, Some(_)) => Step::Alone,
        (false, _) if !stored && !side.whole => Step::Unknown,
        (false, _) => Step::Follow,
    }
}

fn said(backup: &Backup) -> Option<&Condition> {
    condition::find(backup.status.iter().flat_map(|status| &status.conditions), HELD)
}

fn holds(condition: &Condition) -> bool {
    condition.status == "True"
}

/// Whether the repository was last seen to hold a backup.
pub fn is_said(backup: &Backup) -> bool {
    said(backup).is_some_and(holds)
}

/// The Backups of a location of whose spec.hold the repository has not heard, each with the generation that says it.
pub fn unsaid(backups: &[Arc<Backup>], location: &str) -> BTreeSet<(String, Option<i64>)> {
    let is_unsaid = |backup: &&Arc<Backup>| {
        let status = backup.status.as_ref();
        let is_here = status
            .is_some_and(|status| status.phase.is_restorable() && status.storage_location.as_deref() == Some(location));
        is_here
            && said(backup).map_or(backup.spec.hold, |said| {
                said.observed_generation != backup.metadata.generation
            })
    };
    let unsaid = backups.iter().filter(is_unsaid);
    unsaid
        .map(|backup| (backup.uid().unwrap_or_default(), backup.metadata.generation))
        .collect()
}

/// That the repository holds a backup, and its spec wants it so.
pub fn in_repository(generation: Option<i64>) -> Said<'static> {
    Said {
        kind: HELD,
        holds: true,
        reason: "InRepository",
        message: "Its repository says that it is held: it does not expire, whichever cluster looks after it".to_owned(),
        generation,
    }
}

/// What is said of a backup, whose spec is as given, once the repository says `stored`.
fn saying(wanted: bool, stored: bool, generation: Option<i64>, side: &Side) -> Said<'static> {
    let refusal = side.refusal.as_deref().unwrap_or_default();
    let (reason, message) = match (wanted, stored) {
        (true, true) => return in_repository(generation),
        (false, false) => ("NotHeld", "Nobody holds it".to_owned()),
        (true, false) => (
            "OnlyHere",
            format!(
                "spec.hold keeps nothing: the repository does not hold this backup, and whoever owns the location deletes it when its time is over. It cannot be told from here. {refusal}. Hold the \
                 backup in the cluster that owns the location"
            ),
        ),
        (false, true) => (
            "OnlyThere",
            format!(
                "The backup stays, though spec.hold is false: its repository holds it, and cannot be told otherwise from here. {refusal}. Release the backup in the cluster that owns the location"
            ),
        ),
    };
    Said {
        kind: HELD,
        holds: stored,
        reason,
        message,
        generation,
    }
}

/// Brings spec.hold of Backups and the tags of their snapshots together.
///
/// # Errors
/// What could not be done, the first of it; the rest is done all the same.
pub async fn compare(
    context: &Context,
    opened: &Arc<Opened>,
    backups: &[(Saved<'_>, Arc<Backup>)],
    side: &Side,
) -> Result<()> {
    let mut failed = None;
    for (saved, backup) in backups {
        if is_settled(backup, saved.is_held(), side) {
            continue;
        }
        if let Err(error) = settle(context, opened, saved, backup, side).await {
            let error = error.context(format!("Whether {} is held could not be settled", backup.name_any()));
            failed.get_or_insert(error);
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Whether everything is done and said.
fn is_settled(backup: &Backup, stored: bool, side: &Side) -> bool {
    match decide(backup, stored, side) {
        Step::Tell | Step::Follow => false,
        Step::Unknown => true,
        Step::Agree | Step::Alone => {
            let saying = saying(backup.spec.hold, stored, backup.metadata.generation, side);
            said(backup).map_or(!backup.spec.hold && !stored, |said| {
                holds(said) == saying.holds
                    && said.reason == saying.reason
                    && said.message == saying.message
                    && said.observed_generation == saying.generation
            })
        }
    }
}

/// Does what is to be done about one backup, and says it. What has changed under its hands is left to the next comparison.
async fn settle(context: &Context, opened: &Arc<Opened>, saved: &Saved<'_>, seen: &Backup, side: &Side) -> Result<()> {
    let (api, name): (Api<Backup>, String) = (context.api(), seen.name_any());
    let Some(mut backup) = api.get_opt(&name).await?.filter(|newest| newest.uid() == seen.uid()) else {
        return Ok(());
    };
    let mut stored = saved.is_held();
    match decide(&backup, stored, side) {
        Step::Unknown => return Ok(()),
        Step::Agree | Step::Alone => {}
        Step::Tell => {
            stored = backup.spec.hold;
            let (held, snapshot) = (Arc::clone(opened), saved.snapshot.clone());
            blocking(move || {
                held.writable()?;
                tag(&held.repository, snapshot.id, stored)
            })
            .await??;
            let verb = if stored { "is held" } else { "is not held any more" };
            tracing::info!("The backup {name} {verb}, which its repository says now");
        }
        Step::Follow => {
            let patch =
                json!({ "metadata": { "resourceVersion": backup.resource_version() }, "spec": { "hold": stored } });
            backup = match api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await {
                Ok(followed) => followed,
                Err(error) if is_conflict(&error) || is_not_found(&error) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            tracing::info!("The repository says of the backup {name} that hold is {stored}");
        }
    }
    say(context, &backup, stored, side).await
}

/// Gives a snapshot the tag, or takes it; its other tags stay, as they are now: a mark has all of them, and others may have been given since it was listed.
fn tag(repository: &Repository, snapshot: SessionId, held: bool) -> Result<()> {
    let newest = repository.find_snapshot(&snapshot.to_string(), &SnapshotFilter::default())?;
    let mut tags = newest.summary.tags;
    tags.retain(|tag| tag != TAG_HOLD);
    if held {
        tags.push(TAG_HOLD.to_owned());
    }
    Ok(repository.mark(snapshot, MarkKind::Tags { tags }, engine_now())?)
}

async fn say(context: &Context, backup: &Backup, stored: bool, side: &Side) -> Result<()> {
    let saying = saying(backup.spec.hold, stored, backup.metadata.generation, side);
    let is_news = said(backup).is_none_or(|before| before.reason != saying.reason);
    let mut conditions = backup
        .status
        .as_ref()
        .map(|status| status.conditions.clone())
        .unwrap_or_default();
    condition::set(&mut conditions, &saying, now());
    // Others write conditions, too.
    let status = json!({ "conditions": conditions });
    if context.patch_status_as_seen(backup, &status).await? && is_news {
        let is_warning = backup.spec.hold != stored;
        context.event(backup, is_warning, saying.reason, saying.message).await;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
#[path = "hold/tests.rs"]
mod tests;
