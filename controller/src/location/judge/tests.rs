//! What is said of a location, and what may be done with it.

use super::*;

fn location(name: &str, spec: BackupStorageLocationSpec) -> BackupStorageLocation {
    let mut location = BackupStorageLocation::new(name, spec);
    location.metadata.generation = Some(1);
    location
}

fn open(decision: Decision, owner: Option<&str>) -> Seen {
    Seen::Open {
        repository: "abcd".to_owned(),
        owner: owner.map(ToOwned::to_owned),
        decision,
        notes: Vec::new(),
    }
}

fn judged(mut location: BackupStorageLocation, seen: &Seen) -> BackupStorageLocation {
    location.status = Some(judge(&location, seen, Timestamp::UNIX_EPOCH));
    location
}

#[test]
fn only_an_available_location_of_this_cluster_is_written_to_and_others_say_what_to_do() {
    let new = location("main", BackupStorageLocationSpec::default());
    assert!(can_write(&new, true).unwrap_err().contains("not looked at yet"));
    assert!(may_write(&new).is_ok());
    assert_eq!(
        can_write(&judged(new.clone(), &open(Decision::Claim, Some("we"))), true),
        Ok(())
    );
    // The status says so, and may be of a time when this controller was away.
    let unseen = judged(new.clone(), &open(Decision::Claim, Some("we")));
    assert!(
        can_write(&unseen, false)
            .unwrap_err()
            .contains("since this controller leads")
    );
    let theirs = judged(new.clone(), &open(Decision::Others, Some("they")));
    assert!(can_write(&theirs, true).unwrap_err().contains("takeOver"), "{theirs:?}");
    assert!(may_write(&theirs).unwrap_err().contains("they"));
    assert_eq!(theirs.status.as_ref().unwrap().phase, LocationPhase::Available);
    assert!(
        theirs
            .status
            .as_ref()
            .unwrap()
            .message
            .as_ref()
            .unwrap()
            .contains("they")
    );
    let failed = judged(
        judged(new.clone(), &open(Decision::Ours, Some("we"))),
        &Seen::Failed("no route".to_owned()),
    );
    assert!(can_write(&failed, true).unwrap_err().contains("no route"));
    assert!(may_write(&failed).is_ok());
    let looks_on = location(
        "main",
        BackupStorageLocationSpec {
            access_mode: AccessMode::ReadOnly,
            ..BackupStorageLocationSpec::default()
        },
    );
    let looks_on = judged(looks_on, &open(Decision::Nobody, None));
    assert!(can_write(&looks_on, true).unwrap_err().contains("accessMode"));
    assert_eq!(looks_on.status.as_ref().unwrap().message, None);
    // The spec was changed, and nobody has looked since.
    let mut changed = theirs;
    changed.metadata.generation = Some(2);
    assert!(may_write(&changed).is_ok());
    assert!(can_write(&changed, true).unwrap_err().contains("some seconds"));
}

#[test]
fn without_a_name_the_default_or_the_only_location_is_meant() {
    let one = |name: &str, default| {
        let spec = BackupStorageLocationSpec {
            default,
            ..BackupStorageLocationSpec::default()
        };
        Arc::new(location(name, spec))
    };
    let name =
        |locations: &[Arc<BackupStorageLocation>], name| chosen(locations, name).map(|location| location.name_any());
    assert!(name(&[], None).unwrap_err().contains("backup-location create"));
    assert_eq!(name(&[one("a", false)], None), Ok("a".to_owned()));
    assert_eq!(name(&[one("a", false), one("b", true)], None), Ok("b".to_owned()));
    assert!(
        name(&[one("a", true), one("b", true)], None)
            .unwrap_err()
            .contains("a and b")
    );
    assert!(
        name(&[one("a", false), one("b", false)], None)
            .unwrap_err()
            .contains("a, b")
    );
    assert_eq!(name(&[one("a", false), one("b", true)], Some("a")), Ok("a".to_owned()));
    assert!(
        name(&[one("main", false)], Some("mian"))
            .unwrap_err()
            .contains("perhaps main")
    );
}

#[test]
fn failures_are_told_with_what_to_do() {
    let spec = BackupStorageLocationSpec {
        url: "s3://bucket/prefix".to_owned(),
        ..BackupStorageLocationSpec::default()
    };
    let store = |failure| Error::Store {
        action: "list",
        name: "keys/".to_owned(),
        failure,
        cause: "NoSuchBucket".to_owned(),
    };
    let cases = [
        (store(StoreFailure::NoBucket), "Make the bucket"),
        (store(StoreFailure::Denied), "Name a Secret"),
        (store(StoreFailure::Unreachable), "endpoint"),
        (
            Error::WrongKey {
                location: "s3://bucket/prefix".to_owned(),
                slots: 1,
            },
            "owner.key",
        ),
    ];
    for (error, expected) in cases {
        let error = anyhow::Error::from(error).context("There is no repository there yet, and it could not be made");
        let said = explain(&error, &spec);
        assert!(said.contains(expected), "{said}");
    }
    let plain = anyhow::anyhow!("The Secret key is not there");
    assert_eq!(explain(&plain, &spec), "The Secret key is not there");
}

#[test]
fn a_status_that_says_the_same_is_the_same_whenever_it_was_seen() {
    let seen = open(Decision::Ours, Some("we"));
    let first = judge(
        &location("main", BackupStorageLocationSpec::default()),
        &seen,
        Timestamp::UNIX_EPOCH,
    );
    let mut again = location("main", BackupStorageLocationSpec::default());
    again.status = Some(first.clone());
    let later = Timestamp::from_second(60).unwrap();
    assert!(says_the_same(&first, &judge(&again, &seen, later)));
    assert!(!says_the_same(
        &first,
        &judge(&again, &Seen::Failed("x".to_owned()), later)
    ));
}
