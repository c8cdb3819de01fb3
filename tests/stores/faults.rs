//! Failures in passing, lost replies, lost power: what the store makes of them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine::store::faulty::{FaultPlan, Faulty};
use engine::store::{Created, Store, StoreOptions};
use engine::words::{Error, StoreFailure};

use crate::{conformance, opening};

fn spoiled(store: &Store, options: &StoreOptions, plan: FaultPlan) -> Store {
    store.wrapped(options, |inner| Arc::new(Faulty::new(inner, plan)))
}

#[test]
fn what_fails_in_passing_is_tried_again() {
    let patient = StoreOptions {
        retries_max: 30,
        retry_pause: Duration::from_micros(10),
        ..opening::options()
    };
    for seed in 0..10 {
        let store = spoiled(
            &opening::memory(),
            &patient,
            FaultPlan {
                seed,
                fails: 100,
                is_busy: 50,
                loses_replies: 100,
                ..FaultPlan::default()
            },
        );
        for number in 0..100_u64 {
            let name = format!("p/{seed}/{number}");
            store.put(&name, conformance::noise(100, number)).unwrap();
            assert_eq!(
                store.create(&name, conformance::noise(100, number + 1)).unwrap(),
                Created::Exists(conformance::noise(100, number))
            );
        }
        let names: Vec<String> = store
            .list("p/")
            .unwrap()
            .into_iter()
            .map(|object| object.name)
            .collect();
        assert_eq!(names.len(), 100);
        for (name, bytes) in names
            .iter()
            .zip(store.get_many(names.iter().map(|name| (name.clone(), None)).collect()))
        {
            let number = name.rsplit('/').next().unwrap().parse().unwrap();
            assert_eq!(bytes.unwrap(), conformance::noise(100, number));
        }
        store.delete(&names).unwrap();
        assert_eq!(store.list("").unwrap(), []);
    }
}

#[test]
fn a_create_whose_every_reply_is_lost_is_found_by_reading_back() {
    // Every put is done and its reply lost; reads work, since the plan is asked anew for each: so wrap twice.
    let inner = opening::memory();
    let options = StoreOptions {
        retries_max: 0,
        ..opening::options()
    };
    let lossy = spoiled(
        &inner,
        &options,
        FaultPlan {
            loses_replies: 1_000,
            ..FaultPlan::default()
        },
    );
    // With no retries and a read-back that is lost as well nothing is known: that is said, and the object is there.
    let error = lossy.create("s/a/end", Bytes::from_static(b"ours")).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Store {
                failure: StoreFailure::Timeout,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(
        inner.create("s/a/end", Bytes::from_static(b"ours")).unwrap(),
        Created::Done
    );
    assert_eq!(
        inner.create("s/a/end", Bytes::from_static(b"theirs")).unwrap(),
        Created::Exists(Bytes::from_static(b"ours"))
    );
}

#[test]
fn what_never_passes_is_reported_with_its_kind() {
    let options = StoreOptions {
        retries_max: 3,
        ..opening::options()
    };
    let store = spoiled(
        &opening::memory(),
        &options,
        FaultPlan {
            is_busy: 1_000,
            ..FaultPlan::default()
        },
    );
    for error in [
        store.get("config").unwrap_err(),
        store.put("config", Bytes::new()).unwrap_err(),
        store.list("s/").unwrap_err(),
        store.delete(&["config".to_owned()]).unwrap_err(),
        store.get_many(vec![("config".to_owned(), None)]).remove(0).unwrap_err(),
    ] {
        assert!(
            matches!(
                error,
                Error::Store {
                    failure: StoreFailure::Busy,
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn after_power_is_lost_every_object_is_whole_or_not_there() {
    for seed in 0..50 {
        let (_folder, inner) = opening::local();
        let store = spoiled(
            &inner,
            &opening::options(),
            FaultPlan {
                seed,
                power_lost_at: Some(seed % 11),
                ..FaultPlan::default()
            },
        );
        let failed = (0..12_u64).find(|number| {
            store
                .put(&format!("p/a/{number:08x}"), conformance::noise(5_000, *number))
                .is_err()
        });
        let failed = failed.expect("the power went before the last put");
        assert!(store.get("p/a/00000000").is_err(), "nothing works without power");
        let listed = inner.list("").unwrap();
        let found = listed.len() as u64;
        assert!(found == failed || found == failed + 1);
        for (number, object) in listed.iter().enumerate() {
            assert_eq!(
                inner.get(&object.name).unwrap(),
                conformance::noise(5_000, number as u64)
            );
        }
    }
}
