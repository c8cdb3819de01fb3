//! What is said of a location in its status, and what may be done with it. Pure.

use std::sync::Arc;

use api::BackupStorageLocation;
use api::condition::{self, Said};
use api::location::{AccessMode, BackupStorageLocationSpec, BackupStorageLocationStatus, LocationPhase};
use engine::words::{Error, StoreFailure};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::owner::{self, Decision};

/// The condition that says whether a location can be used.
const AVAILABLE: &str = "Available";

/// What looking at a location has shown.
#[derive(Clone, Debug)]
pub enum Seen {
    /// It cannot be used; what people should know.
    Failed(String),
    /// The repository is open and its snapshots were listed.
    Open {
        /// The repository's id.
        repository: String,
        /// Who owns it; none when nobody does.
        owner: Option<String>,
        /// What was decided about that, after it was done.
        decision: Decision,
        /// What is worth knowing besides.
        notes: Vec<String>,
    },
}

/// The status of a location after it was looked at.
pub fn judge(location: &BackupStorageLocation, seen: &Seen, now: Timestamp) -> BackupStorageLocationStatus {
    let mut status = location.status.clone().unwrap_or_default();
    let generation = location.metadata.generation;
    status.observed_generation = generation;
    let mut say = |kind, holds, reason, message: &str| {
        let message = message.to_owned();
        condition::set(
            &mut status.conditions,
            &Said {
                kind,
                holds,
                reason,
                message,
                generation,
            },
            now,
        );
    };
    match seen {
        Seen::Failed(why) => {
            // Whoever owned it still does, as far as anybody knows.
            say(AVAILABLE, false, "Unusable", why);
            status.phase = LocationPhase::Unavailable;
            status.message = Some(why.clone());
        }
        Seen::Open {
            repository,
            owner,
            decision,
            notes,
        } => {
            say(AVAILABLE, true, "Open", "The store answers and the repository is open");
            let (holds, reason, message) = said_of_owner(owner.as_deref(), *decision);
            say(owner::CONDITION, holds, reason, &message);
            status.phase = LocationPhase::Available;
            status.repository_id = Some(repository.clone());
            status.owner.clone_from(owner);
            status.last_validation_time = Some(Time(now));
            let shown = (!holds && location.spec.access_mode == AccessMode::ReadWrite).then_some(message);
            let sentences: Vec<String> = shown.into_iter().chain(notes.iter().cloned()).collect();
            status.message = (!sentences.is_empty()).then(|| sentences.join(". "));
        }
    }
    status
}

fn said_of_owner(owner: Option<&str>, decision: Decision) -> (bool, &'static str, String) {
    let owner = owner.unwrap_or("nobody");
    match decision {
        Decision::Ours | Decision::Claim | Decision::TakeOver => (
            true,
            "ThisCluster",
            "This cluster owns the location and writes there".to_owned(),
        ),
        Decision::Nobody => (
            false,
            "Nobody",
            "Nobody owns the location, and its accessMode is ReadOnly".to_owned(),
        ),
        Decision::Others => (
            false,
            "OtherCluster",
            format!("The cluster {owner} owns the location: {REMEDY}"),
        ),
        Decision::Lost => (
            false,
            owner::LOST,
            format!(
                "The cluster {owner} has taken the location over from this one: {REMEDY} (from false to true, if it is true)"
            ),
        ),
    }
}

/// What to do about a location of another cluster.
const REMEDY: &str = "its backups can be restored here, and nothing is written; to write, set spec.takeOver to true when the other cluster no longer does";

/// Whether two statuses say the same, apart from when it was seen.
pub fn says_the_same(one: &BackupStorageLocationStatus, other: &BackupStorageLocationStatus) -> bool {
    let timeless = |status: &BackupStorageLocationStatus| BackupStorageLocationStatus {
        last_validation_time: None,
        last_synced_time: None,
        ..status.clone()
    };
    timeless(one) == timeless(other)
}

/// Whether this cluster can write to a location at this moment: it may, the store answers, and it is the owner. `is_seen` says that this process has seen so
/// itself, for a status may be of yesterday.
///
/// # Errors
/// Says why not, and what to do.
pub fn can_write(location: &BackupStorageLocation, is_seen: bool) -> Result<(), String> {
    may_write(location)?;
    let name = location.name_any();
    let Some(status) = location.status.as_ref().filter(|status| !status.conditions.is_empty()) else {
        return Err(format!(
            "The location {name} was not looked at yet; that takes some seconds"
        ));
    };
    if status.phase != LocationPhase::Available {
        let why = status.message.as_deref().unwrap_or("nobody knows why");
        return Err(format!("The location {name} is unavailable: {why}"));
    }
    let owned = condition::holds(&status.conditions, owner::CONDITION);
    // One that is not owned and was not refused above has got another spec since it was looked at.
    match (owned, is_seen) {
        (true, true) => Ok(()),
        (true, false) => Err(format!(
            "The location {name} was not looked at since this controller leads; that takes some seconds"
        )),
        (false, _) => Err(format!(
            "The location {name} was changed and not looked at since; that takes some seconds"
        )),
    }
}

/// Whether a location is one that this cluster writes to (makes backups there, deletes them, prunes), whether or not its store answers at this moment.
///
/// # Errors
/// Says why not, and what to do.
pub fn may_write(location: &BackupStorageLocation) -> Result<(), String> {
    let name = location.name_any();
    if location.spec.access_mode == AccessMode::ReadOnly {
        return Err(format!(
            "The location {name} is ReadOnly: nothing is written there; set spec.accessMode to ReadWrite to change that"
        ));
    }
    let conditions = location.status.iter().flat_map(|status| &status.conditions);
    let refused = condition::find(conditions, owner::CONDITION).filter(|condition| condition.status == "False");
    match refused {
        // What was said when it was ReadOnly says nothing now.
        Some(condition) if condition.observed_generation == location.metadata.generation => Err(format!(
            "The location {name} is not this cluster's. {}",
            condition.message
        )),
        _ => Ok(()),
    }
}

/// The location that is meant by a name, or by none.
///
/// # Errors
/// Says which there are.
pub fn chosen(
    locations: &[Arc<BackupStorageLocation>],
    name: Option<&str>,
) -> Result<Arc<BackupStorageLocation>, String> {
    let names = || {
        locations
            .iter()
            .filter_map(|location| location.metadata.name.as_deref())
    };
    if let Some(name) = name {
        let found = locations
            .iter()
            .find(|location| location.metadata.name.as_deref() == Some(name));
        return found.cloned().ok_or_else(|| {
            let hint = api::nearest::hint(name, names());
            format!("There is no BackupStorageLocation {name}{hint}; `ararat backup-location get` lists them")
        });
    }
    let mut defaults = locations.iter().filter(|location| location.spec.default);
    match (defaults.next(), defaults.next(), locations) {
        (Some(one), None, _) | (None, _, [one]) => Ok(Arc::clone(one)),
        (Some(one), Some(other), _) => Err(format!(
            "More than one location is the default ({} and {}); name one in spec.storageLocation, or set spec.default of one of them to false",
            one.name_any(),
            other.name_any()
        )),
        (None, _, []) => Err("There is no BackupStorageLocation; `ararat backup-location create` makes one".to_owned()),
        (None, ..) => Err(format!(
            "No location is the default; name one of {} in spec.storageLocation, or set spec.default of one to true",
            names().collect::<Vec<_>>().join(", ")
        )),
    }
}

/// What a failure means for people: what happened, and what to do.
pub fn explain(error: &anyhow::Error, spec: &BackupStorageLocationSpec) -> String {
    let cause = error.chain().find_map(|cause| cause.downcast_ref::<Error>());
    let advice = cause.and_then(|cause| advice(cause, spec));
    match advice {
        Some(advice) => format!("{error:#}. {advice}"),
        None => format!("{error:#}"),
    }
}

/// Whether a repository must be opened anew after a failure: what is there is not what was opened. A store that is only out of reach is waited for.
pub fn needs_opening(error: &anyhow::Error) -> bool {
    let passing = [
        StoreFailure::Unreachable,
        StoreFailure::Timeout,
        StoreFailure::Busy,
        StoreFailure::Expired,
        StoreFailure::ClockSkew,
        StoreFailure::Full,
    ];
    let cause = error.chain().find_map(|cause| cause.downcast_ref::<Error>());
    !matches!(cause, Some(Error::Store { failure, .. }) if passing.contains(failure))
}

fn advice(error: &Error, spec: &BackupStorageLocationSpec) -> Option<String> {
    let key = &spec.repository_key.name;
    let secret = spec.credential.as_ref().map_or_else(
        || "name a Secret with the store's credentials in spec.credential".to_owned(),
        |credential| format!("check the Secret {} that spec.credential names", credential.name),
    );
    let capital = |text: String| {
        let mut letters = text.chars();
        letters
            .next()
            .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    };
    match error {
        Error::NoRepository { .. } => Some("A ReadOnly location needs a repository that is there: check spec.url".to_owned()),
        Error::WrongKey { .. } => Some(format!(
            "The Secret {key} holds the key of another repository: put the key of this one under owner.key, or choose another prefix in a new location"
        )),
        Error::NewerFormat { .. } => Some("Install a newer version of Ararat".to_owned()),
        Error::Store { failure, .. } => match failure {
            StoreFailure::NoBucket => Some(format!("Make the bucket or container of {}, or check spec.url", spec.url)),
            StoreFailure::Denied | StoreFailure::NotAllowed => Some(capital(secret)),
            StoreFailure::Expired => Some(format!("Put fresh credentials into the Secret: {secret}")),
            StoreFailure::ClockSkew => Some("Set the clocks of the nodes right".to_owned()),
            StoreFailure::Unreachable | StoreFailure::Timeout => Some(
                "Check spec.url, spec.options.endpoint and whether pods of this cluster reach the store; it is tried on".to_owned(),
            ),
            StoreFailure::Full => Some("Make room in the store".to_owned()),
            StoreFailure::ReadOnly => Some("Set spec.accessMode to ReadOnly to restore from it".to_owned()),
            StoreFailure::Busy | StoreFailure::NotFound | StoreFailure::Other => None,
        },
        Error::Damaged { .. } | Error::Missing { .. } | Error::Forged { .. } | Error::MissingBlob { .. } => {
            Some("`ararat repo check` says what is hurt".to_owned())
        }
        Error::RepositoryExists { .. }
        | Error::RoleTooSmall { .. }
        | Error::NoSnapshot { .. }
        | Error::Fenced { .. }
        | Error::Io { .. }
        | Error::Invalid(_)
        | Error::Interrupted
        | Error::Internal(_) => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
#[path = "judge/tests.rs"]
mod tests;
