//! What a download answers, and from where.

use api::backup::BackupSpec;
use api::restore::RestoreSpec;
use api::{BackupStatus, RestoreStatus};

use super::*;
use crate::trial;

fn backup(phase: BackupPhase, snapshot: Option<&str>, failure: Option<&str>) -> Backup {
    let mut backup = Backup::new("a", BackupSpec::default());
    backup.status = Some(BackupStatus {
        phase,
        snapshot_id: snapshot.map(ToOwned::to_owned),
        storage_location: Some("main".to_owned()),
        failure_reason: failure.map(ToOwned::to_owned),
        ..BackupStatus::default()
    });
    backup
}

#[test]
fn a_backup_answers_from_its_snapshot_or_says_why_there_is_none() {
    let log = Part::File(archive::LOG);
    let committed = of_backup(&backup(BackupPhase::Completed, Some("12"), None), log).unwrap();
    assert!(matches!(committed, Answer::Snapshot { id, part, .. } if id == "12" && part == log));
    let runs = of_backup(&backup(BackupPhase::InProgress, None, None), log).unwrap_err();
    assert!(runs.contains("is running") && runs.contains("commit"), "{runs}");
    let failed = backup(BackupPhase::Failed, None, Some("the store is full"));
    let text = |answer| match answer {
        Answer::Text(text) => text,
        Answer::Snapshot { .. } => panic!("there is no snapshot"),
    };
    assert!(text(of_backup(&failed, log).unwrap()).contains("the store is full"));
    let results = text(of_backup(&failed, Part::File(archive::RESULTS)).unwrap());
    let results: archive::Results = serde_json::from_str(&results).unwrap();
    assert_eq!(results.errors[0].message, "the store is full");
    assert!(
        of_backup(&failed, Part::Everything)
            .unwrap_err()
            .contains("the store is full")
    );
    assert!(text(of_backup(&backup(BackupPhase::Canceled, None, None), log).unwrap()).contains("stopped"));
}

#[test]
fn a_restore_answers_from_its_record_or_says_why_there_is_none() {
    let restore = |phase, record: Option<&str>, failure: Option<&str>| {
        let mut restore = Restore::new("a", RestoreSpec::default());
        restore.status = Some(RestoreStatus {
            phase,
            record_id: record.map(ToOwned::to_owned),
            storage_location: Some("main".to_owned()),
            failure_reason: failure.map(ToOwned::to_owned),
            ..RestoreStatus::default()
        });
        restore
    };
    let recorded = of_restore(&restore(RestorePhase::Completed, Some("34"), None), archive::LOG);
    assert!(matches!(recorded, Ok(Answer::Snapshot { id, .. }) if id == "34"));
    assert!(
        of_restore(&restore(RestorePhase::InProgress, None, None), archive::LOG)
            .unwrap_err()
            .contains("is running")
    );
    // Nothing could be written to its location.
    let unwritten = of_restore(&restore(RestorePhase::Completed, None, None), archive::RESULTS).unwrap();
    assert!(matches!(unwritten, Answer::Text(text) if text.contains("Completed") && text.contains("\"errors\": []")));
    let failed = of_restore(
        &restore(RestorePhase::Failed, None, Some("no such backup")),
        archive::RESULTS,
    );
    assert!(matches!(failed, Ok(Answer::Text(text)) if text.contains("no such backup")));
}

/// What a download of a snapshot gives.
fn read(repository: &Repository, snapshot: &StoredSnapshot, part: Part) -> Result<Vec<u8>, String> {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(64);
    make(repository, snapshot, part, sender);
    let mut bytes = Vec::new();
    while let Some(part) = receiver.blocking_recv() {
        bytes.extend_from_slice(&part.map_err(|error| error.to_string())?);
    }
    Ok(bytes)
}

#[test]
fn files_objects_and_archives_come_out_of_a_snapshot() {
    let repository = trial::repository("downloads");
    let files = [
        (archive::RECORD, "{}"),
        (archive::LOG, "it began\nit ended\n"),
        ("objects/configmaps/namespaces/web/settings", "{}"),
        ("objects/namespaces/cluster/web", "{}"),
    ];
    trial::save(&repository, archive::KIND_BACKUP, "u1", 0, &files);
    let snapshots = trial::snapshots(&repository);
    let read = |part| read(&repository, &snapshots[0], part);
    assert_eq!(read(Part::File(archive::LOG)).unwrap(), b"it began\nit ended\n");
    let lines = String::from_utf8(read(Part::Resources).unwrap()).unwrap();
    let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        lines[0],
        json!({ "resource": "configmaps", "namespace": "web", "name": "settings" })
    );
    assert_eq!(
        lines[1],
        json!({ "resource": "namespaces", "namespace": "", "name": "web" })
    );
    let archived = read(Part::Everything).unwrap();
    // A tar archive ends with two empty blocks of 512 bytes.
    assert!(archived.len() % 512 == 0 && archived.ends_with(&[0; 1024]));
    let text = String::from_utf8_lossy(&archived);
    assert!(text.contains("it ended") && text.contains("objects/configmaps/namespaces/web/settings"));
    assert!(read(Part::File("nothing.json")).is_err());
}
