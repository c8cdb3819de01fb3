//! Tables for what sync decides, and for the Backup that it makes of a record.

use api::backup::BackupSpec;
use api::delete_request::{DeleteBackupRequestSpec, DeleteBackupRequestStatus};
use api::{BackupStatus, DeleteBackupRequest};
use engine::format::snapshot::Summary;
use engine::words::{SessionId, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff;

use super::*;

fn snapshot(number: u8, name: &str, uid: &str) -> StoredSnapshot {
    let labels = [
        (archive::LABEL_KIND, archive::KIND_BACKUP),
        (archive::LABEL_NAME, name),
        (archive::LABEL_UID, uid),
    ];
    StoredSnapshot {
        id: SessionId([number; 16]),
        summary: Summary {
            time: Timestamp::new(i64::from(number), 0),
            labels: labels
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            ..Summary::default()
        },
        record: None,
    }
}

fn backup(name: &str, uid: &str, phase: BackupPhase, snapshot: Option<u8>) -> Arc<Backup> {
    let mut backup = Backup::new(name, BackupSpec::default());
    backup.metadata.uid = Some(uid.to_owned());
    backup.status = Some(BackupStatus {
        phase,
        snapshot_id: snapshot.map(|number| SessionId([number; 16]).to_string()),
        storage_location: Some("main".to_owned()),
        ..BackupStatus::default()
    });
    Arc::new(backup)
}

fn synced(backup: &Backup, origin: &str) -> Arc<Backup> {
    let mut backup = backup.clone();
    backup.annotations_mut().insert(SYNCED.to_owned(), "true".to_owned());
    backup
        .labels_mut()
        .insert(words::BACKUP_UID.to_owned(), origin.to_owned());
    Arc::new(backup)
}

fn deletion(name: &str, uid: Option<&str>, phase: DeletePhase, ended: Option<i64>) -> Arc<DeleteBackupRequest> {
    let spec = DeleteBackupRequestSpec {
        backup_name: name.to_owned(),
        backup_uid: uid.map(ToOwned::to_owned),
    };
    let mut request = DeleteBackupRequest::new("request", spec);
    request.status = Some(DeleteBackupRequestStatus {
        phase,
        completion_timestamp: ended.map(|ended| Time(jiff::Timestamp::from_second(ended).unwrap())),
        ..DeleteBackupRequestStatus::default()
    });
    Arc::new(request)
}

/// What is made, finished and removed, by name.
fn planned(
    snapshots: &[StoredSnapshot],
    backups: &[Arc<Backup>],
    deletions: &[Arc<DeleteBackupRequest>],
    whole: bool,
) -> [Vec<String>; 3] {
    let saved = saved(snapshots);
    let plan = plan(&saved, backups, deletions, "main", whole);
    [
        plan.create.into_iter().map(|(_, name)| name).collect(),
        plan.finish.into_iter().map(|(_, name)| name).collect(),
        plan.remove.iter().map(|backup| backup.name_any()).collect(),
    ]
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn an_empty_cluster_gets_every_backup_once_and_a_full_one_nothing() {
    let snapshots = [snapshot(1, "a", "u1"), snapshot(2, "b", "u2"), snapshot(3, "b", "u2")];
    assert_eq!(
        planned(&snapshots, &[], &[], true),
        [names(&["b", "a"]), vec![], vec![]]
    );
    let backups = [
        backup("a", "u1", BackupPhase::Completed, Some(1)),
        // Its own snapshot was committed, and it does not know that yet.
        backup("b", "u2", BackupPhase::Finalizing, None),
    ];
    assert_eq!(planned(&snapshots, &backups, &[], true), [(); 3].map(|()| names(&[])));
    let half = synced(&backup("a", "other", BackupPhase::New, None), "u1");
    assert_eq!(
        planned(&snapshots[..1], &[half], &[], true),
        [vec![], names(&["a"]), vec![]]
    );
}

#[test]
fn a_name_that_another_backup_has_is_told_apart_by_its_uid() {
    let snapshots = [snapshot(1, "a", "0123456789-x"), snapshot(2, "a", "89abcdef01")];
    let mine = [backup("a", "mine", BackupPhase::Completed, None)];
    let [made, ..] = planned(&snapshots, &mine, &[], true);
    assert_eq!(made, names(&["a-89abcdef", "a-01234567"]));
}

#[test]
fn a_backup_goes_only_when_its_data_is_certainly_gone() {
    let gone = |phase| backup("a", "u1", phase, Some(9));
    let snapshots = [snapshot(1, "b", "u2")];
    let removed = |backup: Arc<Backup>, whole| planned(&snapshots, &[backup], &[], whole)[2].clone();
    assert_eq!(removed(gone(BackupPhase::Completed), true), names(&["a"]));
    assert_eq!(removed(gone(BackupPhase::PartiallyFailed), true), names(&["a"]));
    // Something in the listing could not be read: it may be that one.
    assert!(removed(gone(BackupPhase::Completed), false).is_empty());
    for phase in [
        BackupPhase::Deleting,
        BackupPhase::Failed,
        BackupPhase::InProgress,
        BackupPhase::Canceled,
    ] {
        assert!(removed(gone(phase), true).is_empty(), "{phase:?}");
    }
    assert!(removed(backup("a", "u1", BackupPhase::Failed, None), true).is_empty());
    let mut elsewhere = Backup::clone(&gone(BackupPhase::Completed));
    elsewhere.status.as_mut().unwrap().storage_location = Some("other".to_owned());
    assert!(removed(Arc::new(elsewhere), true).is_empty());
}

#[test]
fn what_is_being_deleted_does_not_come_back() {
    let snapshots = [snapshot(10, "a", "u1")];
    let made = |request| !planned(&snapshots, &[], &[request], true)[0].is_empty();
    use DeletePhase::{Failed, InProgress, New, Processed};
    for (uid, phase, ended, expected) in [
        (Some("u1"), New, None, false),
        (Some("u1"), Processed, Some(5), false),
        (Some("u1"), Failed, Some(5), true),
        (Some("other"), InProgress, None, true),
        (None, New, None, false),
        (None, InProgress, None, false),
        (None, Processed, Some(11), false),
        // This backup is younger than the one that was deleted.
        (None, Processed, Some(9), true),
        (None, Failed, Some(11), true),
    ] {
        assert_eq!(
            made(deletion("a", uid, phase, ended)),
            expected,
            "{uid:?} {phase:?} {ended:?}"
        );
    }
    assert!(made(deletion("b", None, New, None)));
}

#[test]
fn a_record_becomes_a_backup_that_is_never_taken_for_new() {
    let snapshot = snapshot(1, "a", "u1");
    let snapshots = [snapshot];
    let saved = saved(&snapshots)[0];
    let record = Record {
        format: 1,
        name: "a".to_owned(),
        cluster: "first".to_owned(),
        labels: BTreeMap::from([("team".to_owned(), "blue".to_owned())]),
        annotations: BTreeMap::from([(
            "kubectl.kubernetes.io/last-applied-configuration".to_owned(),
            "{}".to_owned(),
        )]),
        spec: BackupSpec {
            storage_location: Some("default".to_owned()),
            cancel: true,
            ttl: Some("72h".to_owned()),
            ..BackupSpec::default()
        },
        status: BackupStatus {
            phase: BackupPhase::Finalizing,
            errors: Some(2),
            open_hooks: vec!["a/b".to_owned()],
            ..BackupStatus::default()
        },
        ..Record::default()
    };
    let (backup, status) = record::backup_of(&record, &saved, "a", "ararat", "other-name");
    assert_eq!(backup.spec.storage_location.as_deref(), Some("other-name"));
    assert_eq!((backup.spec.cancel, backup.spec.ttl.as_deref()), (false, Some("72h")));
    assert_eq!(backup.labels()["team"], "blue");
    assert_eq!(backup.labels()[words::LOCATION], "other-name");
    assert_eq!(origin_uid(&backup), Some("u1"));
    let annotations: Vec<_> = backup.annotations().iter().collect();
    assert_eq!(annotations.len(), 2, "{annotations:?}");
    assert_eq!(backup.annotations()[SYNCED], "true");
    assert_eq!(
        (status.phase, status.open_hooks.len()),
        (BackupPhase::PartiallyFailed, 0)
    );
    assert_eq!(status.cluster_id.as_deref(), Some("first"));
    assert_eq!(status.storage_location.as_deref(), Some("other-name"));
    assert!(status.snapshot_id.is_some() && status.completion_timestamp.is_some());
}

/// Its record has the spec of its start; what was said since stands in the tags of its snapshot.
#[test]
fn a_backup_that_is_found_again_is_held_if_its_snapshot_is_tagged_so() {
    for (at_start, tagged) in [(false, true), (true, false)] {
        let mut snapshot = snapshot(1, "a", "u1");
        if tagged {
            snapshot.summary.tags = vec![archive::TAG_HOLD.to_owned()];
        }
        let snapshots = [snapshot];
        let record = Record {
            spec: BackupSpec {
                hold: at_start,
                ..BackupSpec::default()
            },
            ..Record::default()
        };
        let (mut backup, status) = record::backup_of(&record, &saved(&snapshots)[0], "a", "ararat", "main");
        assert_eq!(backup.spec.hold, tagged);
        backup.status = Some(status);
        assert_eq!(super::super::hold::is_said(&backup), tagged);
    }
}

#[test]
fn only_backups_of_this_location_are_compared_with_its_snapshots() {
    let snapshots = [snapshot(1, "a", "u1")];
    let compared = |backup: Arc<Backup>| plan(&saved(&snapshots), &[backup], &[], "main", true).here.len();
    assert_eq!(compared(backup("a", "u1", BackupPhase::Completed, Some(1))), 1);
    assert_eq!(compared(backup("a", "u1", BackupPhase::Deleting, Some(1))), 0);
    let mut elsewhere = Backup::clone(&backup("a", "u1", BackupPhase::Completed, Some(1)));
    elsewhere.status.as_mut().unwrap().storage_location = Some("same-store-by-another-name".to_owned());
    assert_eq!(compared(Arc::new(elsewhere)), 0);
}

#[test]
fn labels_that_anybody_wrote_on_a_backup_make_it_no_other_one() {
    let mut mine = Backup::clone(&backup("a", "u1", BackupPhase::Completed, None));
    mine.labels_mut()
        .insert(words::BACKUP_UID.to_owned(), "theirs".to_owned());
    assert_eq!(origin_uid(&mine), Some("u1"));
    assert_eq!(origin_uid(&synced(&mine, "theirs")), Some("theirs"));
}

#[test]
fn backups_of_other_clusters_are_told_from_those_of_this_one() {
    let mine = backup("a", "u1", BackupPhase::New, None);
    assert!(is_of(&mine, "we"));
    let mut found = Backup::clone(&synced(&mine, "u2"));
    for (cluster, expected) in [("they", false), ("we", true)] {
        found
            .annotations_mut()
            .insert(record::SYNCED_FROM.to_owned(), cluster.to_owned());
        // Whether or not its status is written yet.
        found.status = None;
        assert_eq!(is_of(&found, "we"), expected, "{cluster}");
    }
}
