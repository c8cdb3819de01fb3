//! Who owns a location: a table of decisions, and records as they lie in a repository.

use super::*;
use api::condition::{self, Said};
use k8s_openapi::jiff;

use crate::trial;

fn condition(holds: bool, reason: &str, generation: i64) -> Condition {
    let mut conditions = Vec::new();
    let said = Said {
        kind: CONDITION,
        holds,
        reason,
        message: String::new(),
        generation: Some(generation),
    };
    condition::set(&mut conditions, &said, jiff::Timestamp::UNIX_EPOCH);
    conditions.remove(0)
}

#[test]
fn a_location_has_one_owner_who_is_replaced_only_when_somebody_says_so() {
    let (ours, lost, others) = (
        condition(true, "Owner", 1),
        condition(false, LOST, 1),
        condition(false, "OtherCluster", 1),
    );
    let cases = [
        // owner, read_write, take_over, generation, before
        (None, true, false, 1, None, Decision::Claim),
        (None, false, false, 1, None, Decision::Nobody),
        (None, false, true, 1, None, Decision::Nobody),
        (Some("we"), true, false, 1, None, Decision::Ours),
        (Some("we"), false, false, 1, Some(&lost), Decision::Ours),
        (Some("they"), true, false, 1, None, Decision::Others),
        (Some("they"), false, true, 1, None, Decision::Others),
        (Some("they"), true, true, 1, None, Decision::TakeOver),
        (Some("they"), true, true, 2, Some(&others), Decision::TakeOver),
        (Some("they"), true, true, 1, Some(&others), Decision::TakeOver),
        // It was taken over before, and was lost after that.
        (Some("they"), true, true, 1, Some(&ours), Decision::Lost),
        (Some("they"), true, true, 1, Some(&lost), Decision::Lost),
        (Some("they"), true, true, 2, Some(&lost), Decision::TakeOver),
        (Some("they"), true, false, 2, Some(&lost), Decision::Lost),
    ];
    for (number, (owner, read_write, take_over, generation, before, expected)) in cases.into_iter().enumerate() {
        let facts = Facts {
            cluster: "we",
            owner,
            read_write,
            take_over,
            generation: Some(generation),
            before,
        };
        assert_eq!(decide(&facts), expected, "case {number}");
    }
}

#[test]
fn the_newest_record_counts_also_when_a_clock_was_ahead_and_older_ones_are_forgotten() {
    let repository = trial::repository("owners");
    assert!(newest(&trial::snapshots(&repository)).is_none());
    write(&repository, "first", "pod", &trial::snapshots(&repository)).unwrap();
    let said = |snapshots: &[StoredSnapshot]| read_record(&repository, newest(snapshots).unwrap()).unwrap().cluster;
    assert_eq!(said(&trial::snapshots(&repository)), "first");
    // A cluster whose clock is an hour ahead.
    let owner = r#"{"cluster": "ahead", "time": "", "program": ""}"#;
    trial::save(&repository, archive::KIND_OWNER, "", -3600, &[(archive::OWNER, owner)]);
    assert_eq!(said(&trial::snapshots(&repository)), "ahead");
    write(&repository, "second", "pod", &trial::snapshots(&repository)).unwrap();
    let snapshots = trial::snapshots(&repository);
    assert_eq!((said(&snapshots), snapshots.len()), ("second".to_owned(), 1));
}
