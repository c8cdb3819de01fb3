//! Tables for which side counts, and a repository in memory that outlives the Backup objects.

use api::archive::{self, KIND_BACKUP};
use api::backup::BackupSpec;
use api::{BackupPhase, BackupStatus};

use super::*;
use crate::location::sync;
use crate::trial;

/// A Backup of generation 2 that wants to be held, or not; `before` is what was said, and of which generation.
fn backup(wanted: bool, before: Option<(bool, i64)>) -> Backup {
    let mut backup = Backup::new(
        "a",
        BackupSpec {
            hold: wanted,
            ..BackupSpec::default()
        },
    );
    backup.metadata.uid = Some("u1".to_owned());
    backup.metadata.generation = Some(2);
    let mut status = BackupStatus {
        phase: BackupPhase::Completed,
        storage_location: Some("main".to_owned()),
        ..BackupStatus::default()
    };
    if let Some((held, generation)) = before {
        let said = saying(held, held, Some(generation), &OURS);
        condition::set(&mut status.conditions, &said, now());
    }
    backup.status = Some(status);
    backup
}

const OURS: Side = Side {
    refusal: None,
    whole: true,
};

fn theirs() -> Side {
    Side {
        refusal: Some("The location main is ReadOnly".to_owned()),
        whole: true,
    }
}

#[test]
fn the_side_that_has_changed_since_both_agreed_counts() {
    use Step::{Agree, Alone, Follow, Tell};
    for (wanted, before, stored, ours, there) in [
        (false, None, false, Agree, Agree),
        (true, Some((true, 2)), true, Agree, Agree),
        // Somebody holds it here, or releases it.
        (true, None, false, Tell, Alone),
        (true, Some((false, 1)), false, Tell, Alone),
        (false, Some((true, 1)), true, Tell, Alone),
        // Somebody holds it elsewhere, or releases it.
        (false, None, true, Follow, Follow),
        (false, Some((false, 2)), true, Follow, Follow),
        (true, Some((true, 2)), false, Follow, Follow),
        // Held, released and held again before that was said: nobody can tell, and what people see counts.
        (true, Some((true, 1)), false, Tell, Alone),
    ] {
        let backup = backup(wanted, before);
        assert_eq!(decide(&backup, stored, &OURS), ours, "{wanted} {before:?} {stored}");
        assert_eq!(
            decide(&backup, stored, &theirs()),
            there,
            "{wanted} {before:?} {stored}"
        );
    }
}

#[test]
fn a_hold_is_not_believed_gone_while_a_mark_cannot_be_read() {
    let damaged = Side { whole: false, ..OURS };
    assert_eq!(decide(&backup(true, Some((true, 2))), false, &damaged), Step::Unknown);
    assert_eq!(decide(&backup(false, None), true, &damaged), Step::Follow);
}

#[test]
fn what_is_wanted_where_nothing_is_written_is_said_once_and_with_what_it_means() {
    let mut alone = backup(true, None);
    assert!(!is_settled(&alone, false, &theirs()));
    let said = saying(true, false, Some(2), &theirs());
    assert!(said.message.contains("keeps nothing") && said.message.contains("ReadOnly"));
    condition::set(&mut alone.status.as_mut().unwrap().conditions, &said, now());
    assert!(is_settled(&alone, false, &theirs()) && !is_said(&alone));
    // The location is taken over: now it is told.
    assert_eq!(decide(&alone, false, &OURS), Step::Tell);
    let kept = saying(false, true, Some(2), &theirs());
    assert!(kept.holds && kept.message.contains("stays"));
}

#[test]
fn a_location_is_compared_at_once_when_a_hold_was_not_said_yet() {
    let unsaid = |backup: Backup| !super::unsaid(&[Arc::new(backup)], "main").is_empty();
    assert!(unsaid(backup(true, None)) && unsaid(backup(false, Some((true, 1)))));
    assert!(!unsaid(backup(false, None)) && !unsaid(backup(true, Some((true, 2)))));
    assert!(super::unsaid(&[Arc::new(backup(true, None))], "other").is_empty());
    let mut runs = backup(true, None);
    runs.status.as_mut().unwrap().phase = BackupPhase::InProgress;
    assert!(!unsaid(runs));
}

/// The bug: spec.hold stood in the Backup object alone, so a backup that was found again in its store, here or elsewhere, expired.
#[test]
fn a_hold_outlives_the_backup_object_in_the_repository_and_so_does_its_end() {
    let repository = trial::repository("hold");
    trial::save(&repository, KIND_BACKUP, "u1", 20, &[(archive::RECORD, "{}")]);
    let held = || {
        let snapshots = trial::snapshots(&repository);
        let saved = sync::saved(&snapshots);
        let tags = saved[0].snapshot.summary.tags.clone();
        (saved[0].is_held(), tags, saved[0].snapshot.clone())
    };
    let (before, _, snapshot) = held();
    assert!(!before);
    repository
        .mark(
            snapshot.id,
            MarkKind::Tags {
                tags: vec!["audit".to_owned()],
            },
            engine_now(),
        )
        .unwrap();
    for wanted in [true, false, true] {
        tag(&repository, snapshot.id, wanted).unwrap();
        let (now, tags, _) = held();
        assert_eq!(now, wanted);
        // What else people have written there since it was listed stays.
        assert!(tags.contains(&"audit".to_owned()), "{tags:?}");
    }
}
