//! What clouds do beyond the suite: limits, resuming, retries over a network that fails.

use std::time::{Duration, Instant};

use bytes::Bytes;
use engine::store::probe::{self, Verdict};
use engine::store::{Created, Store, StoreOptions};
use engine::words::{Error, StoreFailure};

use crate::conformance::{self, noise};
use crate::opening::{self, options};
use crate::servers::fault_proxy::{Answer, Fault, FaultProxy, Rule};
use crate::servers::toxiproxy::{Stream, Toxiproxy};
use crate::servers::{AZURITE, GCS, Kind, MOTO, Server, VERSITYGW, or_skip};

fn runs_the_suite(kind: &'static Kind, prefix: &str) {
    let Some(server) = or_skip(Server::start(kind)) else {
        return;
    };
    conformance::suite(&opening::cloud(&server.location(prefix), &options()));
}

#[test]
fn s3_does_what_the_engine_needs() {
    runs_the_suite(&VERSITYGW, "deep/prefix");
}

#[test]
fn s3_does_so_with_a_whole_bucket_for_the_repository() {
    runs_the_suite(&VERSITYGW, "");
}

#[test]
fn another_s3_does_what_the_engine_needs() {
    runs_the_suite(&MOTO, "r");
}

#[test]
fn google_does_what_the_engine_needs() {
    runs_the_suite(&GCS, "deep/prefix");
}

#[test]
fn azure_does_what_the_engine_needs() {
    runs_the_suite(&AZURITE, "deep/prefix");
}

/// A server and a store behind a proxy that breaks what it is told to.
fn behind_proxy(kind: &'static Kind, options: &StoreOptions) -> Option<(Server, FaultProxy, Store)> {
    let server = or_skip(Server::start(kind))?;
    let proxy = FaultProxy::start(server.address());
    let store = opening::cloud(&server.location_through(proxy.address(), "r"), options);
    Some((server, proxy, store))
}

#[test]
fn passing_faults_of_every_cloud_are_outlasted() {
    for kind in [&VERSITYGW, &GCS, &AZURITE] {
        let Some((_server, proxy, store)) = behind_proxy(kind, &options()) else {
            return;
        };
        store.put("config", noise(10_000, 1)).unwrap();
        for (number, fault) in [
            Fault::too_many_requests(),
            Fault::slow_down(),
            Fault::internal_error(),
            Fault::internal_error_after_work(),
            Fault::Hangup,
            Fault::HangupAfterWork,
            Fault::TruncateBody { at_bytes: 20 },
        ]
        .into_iter()
        .enumerate()
        {
            proxy.clear();
            proxy.inject(Rule::always(fault.clone()).times(2));
            assert_eq!(store.get("config").unwrap(), noise(10_000, 1), "{fault:?}");
            for method in ["PUT", "GET", "POST", "DELETE"] {
                proxy.inject(Rule::always(fault.clone()).method(method).times(2));
            }
            let name = format!("p/{number}");
            assert_eq!(
                store.create(&name, noise(5_000, 2)).unwrap(),
                Created::Done,
                "{fault:?}"
            );
            assert_eq!(store.list("p/").unwrap().len(), 1, "{fault:?}");
            store.delete(&[name.clone(), "p/none".to_owned()]).unwrap();
            store.delete(&[name]).unwrap();
        }
    }
}

#[test]
fn a_create_that_was_done_and_called_failed_is_ours() {
    let Some((_server, proxy, store)) = behind_proxy(&VERSITYGW, &options()) else {
        return;
    };
    for (number, fault) in [Fault::HangupAfterWork, Fault::internal_error_after_work()]
        .into_iter()
        .enumerate()
    {
        let name = format!("s/{number}/end");
        proxy.clear();
        proxy.inject(Rule::always(fault).method("PUT").times(1));
        assert_eq!(store.create(&name, noise(100, 1)).unwrap(), Created::Done);
        assert_eq!(
            store.create(&name, noise(100, 2)).unwrap(),
            Created::Exists(noise(100, 1))
        );
    }
}

#[test]
fn a_broken_read_goes_on_where_it_broke() {
    let Some((_server, proxy, store)) = behind_proxy(&VERSITYGW, &options()) else {
        return;
    };
    store.put("p/a", noise(1_000_000, 1)).unwrap();
    proxy.forget_seen();
    // More often than a request is tried again: each try brings something, so none counts as failed.
    proxy.inject(Rule::always(Fault::TruncateBody { at_bytes: 50_000 }).method("GET"));
    assert_eq!(store.get("p/a").unwrap(), noise(1_000_000, 1));
    assert_eq!(
        store.get_range("p/a", 100..900_000).unwrap(),
        noise(1_000_000, 1).slice(100..900_000)
    );
    assert_eq!(proxy.count("GET"), 20 + 18);
    assert!(store.requests().bytes_down >= 1_899_900);
}

#[test]
fn a_list_that_breaks_between_pages_goes_on() {
    let Some((_server, proxy, store)) = behind_proxy(&VERSITYGW, &options()) else {
        return;
    };
    let names: Vec<String> = (0..1_100).map(|number| format!("p/{number:08x}")).collect();
    names.iter().for_each(|name| store.put(name, Bytes::new()).unwrap());
    proxy.inject(Rule::always(Fault::Hangup).method("GET").after(1).times(3));
    let listed = store.list("p/").unwrap();
    assert!(listed.iter().map(|object| &object.name).eq(names.iter()));
}

#[test]
fn a_stalled_answer_is_given_up_and_a_slow_one_is_not() {
    let quick = StoreOptions {
        stall_timeout: Duration::from_millis(400),
        ..options()
    };
    let Some((_server, proxy, store)) = behind_proxy(&VERSITYGW, &quick) else {
        return;
    };
    store.put("p/a", noise(100_000, 1)).unwrap();
    let slow = Fault::SlowBody {
        piece_bytes: 10_000,
        pause: Duration::from_millis(150),
    };
    proxy.inject(Rule::always(slow).method("GET").times(1));
    assert_eq!(store.get("p/a").unwrap(), noise(100_000, 1));
    assert_eq!(
        proxy.count("GET"),
        1,
        "slow for longer than the timeout, but never still"
    );
    proxy.inject(
        Rule::always(Fault::StallBody { at_bytes: 60_000 })
            .method("GET")
            .times(1),
    );
    proxy.inject(
        Rule::always(Fault::Delay(Duration::from_secs(2)))
            .method("GET")
            .times(1),
    );
    assert_eq!(store.get("p/a").unwrap(), noise(100_000, 1));
    let impatient = StoreOptions {
        retries_max: 1,
        ..quick
    };
    let store = opening::cloud(&_server.location_through(proxy.address(), "r"), &impatient);
    proxy.inject(Rule::always(Fault::StallBody { at_bytes: 0 }).method("GET"));
    let error = store.get("p/a").unwrap_err();
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
}

#[test]
fn a_slow_upload_is_no_stall() {
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let Some(toxiproxy) = or_skip(Toxiproxy::start()) else {
        return;
    };
    let address = toxiproxy.open("s3", server.address());
    let quick = StoreOptions {
        stall_timeout: Duration::from_millis(1_500),
        ..options()
    };
    let store = opening::cloud(&server.location_through(address, "r"), &quick);
    toxiproxy.toxic("s3", Stream::Requests, "bandwidth", r#"{"rate":2000}"#);
    let begun = Instant::now();
    store.put("p/a", noise(12 << 20, 1)).unwrap();
    assert!(
        begun.elapsed() > Duration::from_secs(2),
        "it took longer than the timeout: {:?}",
        begun.elapsed()
    );
    assert_eq!(store.requests().put, 1, "and was sent once");
    toxiproxy.clear();
    assert_eq!(store.get("p/a").unwrap(), noise(12 << 20, 1));
}

#[test]
fn a_network_that_resets_and_comes_back_is_outlasted() {
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let Some(toxiproxy) = or_skip(Toxiproxy::start()) else {
        return;
    };
    let address = toxiproxy.open("s3", server.address());
    let patient = StoreOptions {
        retries_max: 100,
        retry_pause: Duration::from_millis(20),
        ..options()
    };
    let store = opening::cloud(&server.location_through(address, "r"), &patient);
    store.put("config", noise(100, 1)).unwrap();
    toxiproxy.toxic("s3", Stream::Replies, "reset_peer", r#"{"timeout":0}"#);
    std::thread::scope(|scope| {
        let created = scope.spawn(|| store.create("s/a/end", noise(100, 2)));
        let read = scope.spawn(|| store.get("config"));
        std::thread::sleep(Duration::from_millis(300));
        toxiproxy.clear();
        toxiproxy.enable("s3", false);
        std::thread::sleep(Duration::from_millis(300));
        toxiproxy.enable("s3", true);
        assert_eq!(created.join().unwrap().unwrap(), Created::Done);
        assert_eq!(read.join().unwrap().unwrap(), noise(100, 1));
    });
}

#[test]
fn bandwidth_limits_hold_for_all_connections_together() {
    let limited = StoreOptions {
        upload_bytes_per_second: Some(2 << 20),
        download_bytes_per_second: Some(4 << 20),
        ..options()
    };
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let store = opening::cloud(&server.location("r"), &limited);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..4 {
            let store = &store;
            scope.spawn(move || store.put(&format!("p/{number}"), noise(1 << 20, number)).unwrap());
        }
    });
    let up = begun.elapsed();
    assert!(
        up > Duration::from_millis(1_800) && up < Duration::from_secs(10),
        "{up:?}"
    );
    let begun = Instant::now();
    let got = store.get_many((0..4).map(|number| (format!("p/{number}"), None)).collect());
    assert!(
        got.into_iter()
            .enumerate()
            .all(|(number, bytes)| bytes.unwrap() == noise(1 << 20, number as u64))
    );
    assert!(begun.elapsed() > Duration::from_millis(850), "{:?}", begun.elapsed());
}

#[test]
fn a_store_without_conditions_or_bulk_deletes_is_used_without() {
    let Some((_server, proxy, store)) = behind_proxy(&VERSITYGW, &options()) else {
        return;
    };
    let unknown = Answer {
        status: 501,
        code: "NotImplemented",
        retry_after: None,
    };
    proxy.inject(Rule::always(Fault::Refuse(unknown.clone())).method("PUT").times(3));
    proxy.inject(Rule::always(Fault::Refuse(unknown)).method("POST"));
    store.put("p/a", noise(10, 1)).unwrap();
    assert!(
        matches!(store.create("p/a", noise(10, 2)).unwrap(), Created::Exists(_)),
        "it looks before it writes"
    );
    assert_eq!(
        probe::for_maintenance(&store).unwrap(),
        Verdict::ExclusiveMaintenance,
        "a look before the write is no condition"
    );
    store.put("p/b", noise(10, 2)).unwrap();
    store
        .delete(&["p/a".to_owned(), "p/b".to_owned(), "p/c".to_owned()])
        .unwrap();
    assert_eq!(store.list("").unwrap(), []);
}

/// A gateway in front of a good store hiccups: going on without conditions would let a writer replace what maintenance has just written.
#[test]
fn a_store_that_has_kept_a_condition_is_never_used_without() {
    let Some((_server, proxy, store)) = behind_proxy(&VERSITYGW, &options()) else {
        return;
    };
    let hiccup = Answer {
        status: 501,
        code: "NotImplemented",
        retry_after: None,
    };
    store.put("p/a", noise(10, 1)).unwrap();
    proxy.inject(Rule::always(Fault::Refuse(hiccup)).method("PUT").times(6));
    store.put("p/b", noise(10, 2)).unwrap();
    assert!(matches!(store.create("p/b", noise(10, 3)).unwrap(), Created::Exists(_)));
    assert!(!store.has_only_looked());
    assert_eq!(probe::for_maintenance(&store).unwrap(), Verdict::Everything);
}
