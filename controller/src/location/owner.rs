//! Which cluster owns a location: the one that the newest record of its kind in the repository names.
//!
//! The record keeps two clusters from taking turns at what only one should do (prune, expire, answer for the backups); it is not what keeps data safe: the
//! repository's protocol does that, whoever writes. So two clusters that claim a location at the same moment do no harm, and a minute later one of them
//! stops.

use anyhow::{Context as _, Result};
use api::archive;
use api::condition::Condition;
use engine::format::mark::MarkKind;
use engine::repository::{Repository, StoredSnapshot};
use engine::verbs::read::read;
use engine::words::Timestamp;
use serde::{Deserialize, Serialize};

use crate::context::{engine_now, now};
use crate::documents::{Documents, store};

/// The condition that says whether this cluster owns the location.
pub const CONDITION: &str = "Owned";
/// Reason of that condition: this cluster had it, and another one has taken it.
pub const LOST: &str = "TakenOver";

/// Who owns a location, as it stands in the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// The cluster: the UID of its namespace kube-system.
    pub cluster: String,
    /// Since when, for people.
    pub time: String,
    /// The program that wrote it.
    pub program: String,
}

/// What is to be done about who owns a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// This cluster owns it.
    Ours,
    /// Nobody does, and this cluster writes there: it becomes the owner.
    Claim,
    /// Another does, and it was said that this one takes over.
    TakeOver,
    /// Nobody does, and this cluster only looks on.
    Nobody,
    /// Another does.
    Others,
    /// Another does, which took it from this one.
    Lost,
}

/// What decides about who owns a location.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// This cluster.
    pub cluster: &'a str,
    /// The cluster that the repository names.
    pub owner: Option<&'a str>,
    /// Whether the location is written to at all.
    pub read_write: bool,
    /// Whether its spec says that this cluster takes over.
    pub take_over: bool,
    /// The generation of that spec.
    pub generation: Option<i64>,
    /// The condition of this name as it was.
    pub before: Option<&'a Condition>,
}

/// Decides. A cluster that took over and lost the location again takes it only once for each time that somebody said so, or two clusters would take it
/// from each other for ever.
pub fn decide(facts: &Facts<'_>) -> Decision {
    let Some(owner) = facts.owner else {
        return if facts.read_write {
            Decision::Claim
        } else {
            Decision::Nobody
        };
    };
    if owner == facts.cluster {
        return Decision::Ours;
    }
    let before = facts
        .before
        .filter(|condition| condition.status == "True" || condition.reason == LOST);
    let same_spec = before.is_some_and(|condition| condition.observed_generation == facts.generation);
    match (facts.read_write && facts.take_over, before) {
        (true, _) if !same_spec => Decision::TakeOver,
        (_, Some(_)) => Decision::Lost,
        (_, None) => Decision::Others,
    }
}

/// The newest record among snapshots, which are given oldest first.
pub fn newest(snapshots: &[StoredSnapshot]) -> Option<&StoredSnapshot> {
    snapshots.iter().rfind(|snapshot| is_record(snapshot))
}

fn is_record(snapshot: &StoredSnapshot) -> bool {
    let labels = &snapshot.summary.labels;
    labels
        .iter()
        .any(|(name, value)| name == archive::LABEL_KIND && value == archive::KIND_OWNER)
}

/// What a record says.
///
/// # Errors
/// What the store says; a record that is not one.
pub fn read_record(repository: &Repository, snapshot: &StoredSnapshot) -> Result<Owner> {
    let mut owner = None;
    read(repository, snapshot, archive::OWNER.as_bytes(), &mut |_, content| {
        owner = serde_json::from_slice(content).ok();
        Ok(())
    })?;
    owner.with_context(|| {
        format!(
            "The snapshot {} does not say who owns the repository",
            snapshot.id.short()
        )
    })
}

/// Writes that a cluster owns the repository, and forgets what was said before; `snapshots` are all of them, oldest first.
///
/// # Errors
/// What the store says.
pub fn write(repository: &Repository, cluster: &str, pod: &str, snapshots: &[StoredSnapshot]) -> Result<Owner> {
    let owner = Owner {
        cluster: cluster.to_owned(),
        time: now().to_string(),
        program: concat!("ararat-controller ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    // A record that is to count must be the newest, also when the clock of the cluster before was ahead.
    let after = newest(snapshots).map_or(Timestamp(0), |record| {
        Timestamp(record.summary.time.0.saturating_add(1))
    });
    let documents = Documents {
        source: archive::KIND_OWNER,
        cluster,
        pod,
        labels: &[(archive::LABEL_KIND, archive::KIND_OWNER)],
        time: after.max(engine_now()),
        files: vec![(archive::OWNER, serde_json::to_vec(&owner)?)],
    };
    store(repository, documents)?;
    for record in snapshots.iter().filter(|snapshot| is_record(snapshot)) {
        let reason = format!("cluster {cluster} owns the repository now");
        repository.mark(record.id, MarkKind::Forget { reason }, engine_now())?;
    }
    Ok(owner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
#[path = "owner/tests.rs"]
mod tests;
