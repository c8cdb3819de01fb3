//! What is said of a volume: merge patches of its status. Pure. A field that is null in a patch is removed.

use api::condition::{self, Said};
use api::volume::{VolumePhase, VolumeProgress};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::volume::Volume;
use crate::work::Outcome;

/// The condition that says whether the volume is done; `kubectl wait --for=condition=Complete` waits for it.
const COMPLETE: &str = "Complete";
/// Longer texts are cut: the API server refuses objects that grow without bounds.
const TEXT_BYTES_MAX: usize = 4096;

/// There is a place for it; what must be known is to be sealed to this recipient. What an agent before this one has said of it is taken back.
pub fn accepted(volume: &Volume, recipient: &str, now: Timestamp) -> Value {
    json!({
        "phase": VolumePhase::Accepted,
        "observedGeneration": volume.meta().generation,
        "conditions": conditions(volume, VolumePhase::Accepted, "Waiting for the credentials", now),
        "recipient": recipient,
        "handover": null,
        "message": null,
        "acceptedTimestamp": Time(now),
        "heartbeat": Time(now),
        "completionTimestamp": null,
        "snapshotID": null,
        "parentSnapshotID": null,
        "progress": null,
    })
}

/// The agent lives, and there is nothing else to say.
pub fn heartbeat(now: Timestamp) -> Value {
    json!({ "heartbeat": Time(now) })
}

/// The handover was of no use, or somebody answered an agent before this one: another one is wanted, sealed to this recipient. It must be a fresh one:
/// the controller answers each only once.
pub fn asking_again(recipient: &str, why: &str, now: Timestamp) -> Value {
    json!({
        "recipient": recipient,
        "handover": null,
        "message": cut(why),
        "heartbeat": Time(now),
    })
}

/// Reading or filling begins.
pub fn in_progress(volume: &Volume, now: Timestamp) -> Value {
    json!({
        "phase": VolumePhase::InProgress,
        "conditions": conditions(volume, VolumePhase::InProgress, "The agent works on it", now),
        "message": null,
        "startTimestamp": Time(now),
        "heartbeat": Time(now),
    })
}

/// So far it is, and this is worth knowing meanwhile.
pub fn progress(progress: &VolumeProgress, remark: Option<&str>, now: Timestamp) -> Value {
    json!({
        "progress": progress,
        "message": remark.map(cut),
        "heartbeat": Time(now),
    })
}

/// The last word.
pub fn finished(volume: &Volume, outcome: &Outcome, now: Timestamp) -> Value {
    let message = outcome.message.as_deref().map(cut);
    let failures: Vec<&str> = outcome.failures.iter().map(|failure| cut(failure)).collect();
    let mut patch = json!({
        "phase": outcome.phase,
        "observedGeneration": volume.meta().generation,
        "conditions": conditions(volume, outcome.phase, message.unwrap_or_default(), now),
        "recipient": null,
        "handover": null,
        "message": message,
        "heartbeat": Time(now),
        "completionTimestamp": Time(now),
        "snapshotID": outcome.snapshot_id,
        "parentSnapshotID": outcome.parent_snapshot_id,
        "bytesRead": outcome.bytes_read,
        "bytesStored": outcome.bytes_stored,
        "errors": outcome.errors,
        "failures": failures,
    });
    // Of one that was stopped, what was said last is how far it came.
    if let (Some(progress), Some(fields)) = (&outcome.progress, patch.as_object_mut()) {
        fields.insert("progress".into(), json!(progress));
    }
    patch
}

fn conditions(volume: &Volume, phase: VolumePhase, message: &str, now: Timestamp) -> Vec<condition::Condition> {
    let mut conditions = volume
        .status()
        .map(|status| status.conditions.clone())
        .unwrap_or_default();
    let (holds, reason) = match phase {
        VolumePhase::New => (false, "New"),
        VolumePhase::Accepted => (false, "Accepted"),
        VolumePhase::InProgress => (false, "InProgress"),
        VolumePhase::Completed => (true, "Completed"),
        VolumePhase::PartiallyFailed => (true, "PartiallyFailed"),
        VolumePhase::Failed => (false, "Failed"),
        VolumePhase::Canceled => (false, "Canceled"),
    };
    let said = Said {
        kind: COMPLETE,
        holds,
        reason,
        message: message.to_owned(),
        generation: volume.meta().generation,
    };
    condition::set(&mut conditions, &said, now);
    conditions
}

/// The beginning of a text, whole letters.
pub fn cut(text: &str) -> &str {
    let end = (0..=text.len().min(TEXT_BYTES_MAX))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use api::volume::PodVolumeStatus;

    use super::*;
    use crate::volume::samples::backup;

    /// As the API server merges: null removes.
    fn merged(before: &Value, patch: &Value) -> PodVolumeStatus {
        let mut status = before.as_object().cloned().unwrap_or_default();
        for (field, value) in patch.as_object().unwrap() {
            if value.is_null() {
                drop(status.remove(field));
            } else {
                drop(status.insert(field.clone(), value.clone()));
            }
        }
        serde_json::from_value(Value::Object(status)).unwrap()
    }

    #[test]
    fn the_last_word_leaves_no_key_and_says_what_became_of_it() {
        let now = Timestamp::UNIX_EPOCH;
        let volume = backup("a", 1, None);
        let status = merged(&Value::Null, &accepted(&volume, "recipient", now));
        assert_eq!(
            (status.phase, status.recipient.as_deref()),
            (VolumePhase::Accepted, Some("recipient"))
        );
        let mut before = serde_json::to_value(&status).unwrap();
        before["handover"] = "sealed".into();
        let status = merged(&before, &in_progress(&volume, now));
        assert_eq!(
            (status.phase, status.handover.as_deref()),
            (VolumePhase::InProgress, Some("sealed"))
        );
        let outcome = Outcome {
            phase: VolumePhase::PartiallyFailed,
            message: Some("why".into()),
            snapshot_id: Some("id".into()),
            bytes_read: Some(0),
            errors: 2,
            failures: vec!["a: why".into(), "é".repeat(4096)],
            ..Outcome::default()
        };
        let status = merged(
            &serde_json::to_value(&status).unwrap(),
            &finished(&volume, &outcome, now),
        );
        assert_eq!((status.recipient, status.handover), (None, None));
        assert_eq!((status.phase, status.errors), (VolumePhase::PartiallyFailed, Some(2)));
        assert_eq!(
            (status.snapshot_id.as_deref(), status.bytes_read, status.bytes_stored),
            (Some("id"), Some(0), None)
        );
        assert!(status.completion_timestamp.is_some() && status.accepted_timestamp.is_some());
        assert_eq!(status.failures[1].len(), TEXT_BYTES_MAX);
        assert_eq!(status.conditions.len(), 1);
        assert_eq!(
            (
                status.conditions[0].status.as_str(),
                status.conditions[0].reason.as_str()
            ),
            ("True", "PartiallyFailed")
        );
    }

    #[test]
    fn an_agent_that_begins_again_takes_back_what_was_said_but_not_when_it_began() {
        let now = Timestamp::UNIX_EPOCH;
        let before = json!({"phase": "InProgress", "startTimestamp": "2026-11-26T00:00:00Z", "handover": "old", "recipient": "old", "progress":
            {"bytesDone": 1, "bytesTotal": 2, "filesDone": 3, "filesTotal": 4, "bytesPerSecond": 5}});
        let status = merged(&before, &accepted(&backup("a", 1, None), "new", now));
        assert_eq!(
            (status.handover, status.progress, status.recipient.as_deref()),
            (None, None, Some("new"))
        );
        assert!(status.start_timestamp.is_some());
    }
}
