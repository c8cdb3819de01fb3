//! Breaking the way between a client and a server: each fault does what its name says, and only to what it is for.

use std::time::{Duration, Instant};

use object_store::Error;

use crate::servers::fault_proxy::{Fault, FaultProxy, Rule};
use crate::servers::toxiproxy::{Stream, Toxiproxy};
use crate::servers::{Server, VERSITYGW, or_skip};
use crate::{client, create, read, wait};

/// A server, a proxy before it, and one object `a` of 100,000 bytes behind both.
fn broken_way() -> Option<(Server, FaultProxy, std::sync::Arc<dyn object_store::ObjectStore>)> {
    static DATA: [u8; 100_000] = [7; 100_000];
    let server = or_skip(Server::start(&VERSITYGW))?;
    let proxy = FaultProxy::start(server.address());
    let store = client(&server.location_through(proxy.address(), ""));
    wait(create(&*store, "a", &DATA)).unwrap();
    proxy.forget_seen();
    Some((server, proxy, store))
}

#[test]
fn refusals_are_retried_and_counted() {
    let Some((_server, proxy, store)) = broken_way() else {
        return;
    };
    for fault in [Fault::too_many_requests(), Fault::slow_down(), Fault::internal_error()] {
        proxy.forget_seen();
        proxy.inject(Rule::always(fault.clone()).method("GET").target_contains("/a").times(1));
        assert_eq!(wait(read(&*store, "a")).unwrap().len(), 100_000);
        assert_eq!(proxy.count("GET"), 2, "{fault:?}");
        assert_eq!(proxy.seen()[0].fault, Some(fault));
    }
}

#[test]
fn refusals_that_no_retry_mends_reach_the_caller() {
    let Some((_server, proxy, store)) = broken_way() else {
        return;
    };
    for (fault, code) in [
        (Fault::clock_skewed(), "RequestTimeTooSkewed"),
        (Fault::access_denied(), "AccessDenied"),
        (Fault::expired_token(), "ExpiredToken"),
    ] {
        proxy.clear();
        proxy.inject(Rule::always(fault));
        let error = wait(read(&*store, "a")).unwrap_err();
        assert!(format!("{error:?}").contains(code), "{error:?}");
    }
}

#[test]
fn error_after_the_work_leaves_the_object_there() {
    let Some((_server, proxy, store)) = broken_way() else {
        return;
    };
    for (key, fault) in [("b", Fault::internal_error_after_work()), ("c", Fault::HangupAfterWork)] {
        proxy.clear();
        proxy.inject(Rule::always(fault).method("PUT").times(1));
        // Retried or not, the caller is not told of its success: `AlreadyExists` is the client's own object.
        let error = wait(create(&*store, key, b"mine")).unwrap_err();
        assert!(
            matches!(error, Error::AlreadyExists { .. } | Error::Generic { .. }),
            "{error:?}"
        );
        assert_eq!(wait(read(&*store, key)).unwrap(), b"mine");
    }
}

#[test]
fn hangup_before_the_work_leaves_nothing_there() {
    let Some((_server, proxy, store)) = broken_way() else {
        return;
    };
    proxy.inject(Rule::always(Fault::Hangup).method("PUT"));
    wait(create(&*store, "b", b"lost")).unwrap_err();
    assert!(matches!(wait(read(&*store, "b")).unwrap_err(), Error::NotFound { .. }));
}

#[test]
fn truncated_body_is_never_taken_for_whole() {
    let Some((_server, proxy, store)) = broken_way() else {
        return;
    };
    proxy.inject(
        Rule::always(Fault::TruncateBody { at_bytes: 999 })
            .method("GET")
            .times(1),
    );
    // The client may resume; what it must not do is hand out less.
    if let Ok(data) = wait(read(&*store, "a")) {
        assert_eq!(data.len(), 100_000);
        assert!(proxy.count("GET") > 1);
    }
}

#[test]
fn flipped_bit_passes_the_client_unseen() {
    let Some((_server, proxy, store)) = broken_way() else {
        return;
    };
    proxy.inject(Rule::always(Fault::FlipBit { at_bytes: 5 }).method("GET").times(1));
    let data = wait(read(&*store, "a")).unwrap();
    assert_eq!((data[4], data[5]), (7, 6));
}

#[test]
fn slow_late_and_stalled_bodies_take_their_time() {
    let Some((_server, proxy, store)) = broken_way() else {
        return;
    };
    let pause = Duration::from_millis(50);
    for fault in [
        Fault::SlowBody {
            piece_bytes: 25_000,
            pause,
        },
        Fault::Delay(pause * 4),
    ] {
        proxy.clear();
        proxy.inject(Rule::always(fault));
        let start = Instant::now();
        assert_eq!(wait(read(&*store, "a")).unwrap().len(), 100_000);
        assert!(start.elapsed() >= pause * 4);
    }
    proxy.clear();
    proxy.inject(Rule::always(Fault::StallBody { at_bytes: 10 }));
    let patience = async { tokio::time::timeout(pause * 4, read(&*store, "a")).await };
    assert!(wait(patience).is_err(), "a stalled body came to its end");
}

#[test]
fn wrong_date_stands_in_the_reply() {
    let Some((server, proxy, _store)) = broken_way() else {
        return;
    };
    let date = "Thu, 01 Jan 1970 00:00:00 GMT";
    proxy.inject(Rule::always(Fault::WrongDate(date.into())));
    let head = |address: std::net::SocketAddr| {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    assert!(head(proxy.address()).contains(date));
    assert!(!head(server.address()).contains(date));
}

#[test]
fn rule_skips_and_ends_as_it_says() {
    let Some((_server, proxy, store)) = broken_way() else {
        return;
    };
    proxy.inject(Rule::always(Fault::access_denied()).after(2).times(1));
    let outcomes: Vec<bool> = (0..5).map(|_| wait(read(&*store, "a")).is_ok()).collect();
    assert_eq!(outcomes, [true, true, false, true, true]);
}

#[test]
fn toxiproxy_delays_refuses_and_recovers() {
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let Some(toxiproxy) = or_skip(Toxiproxy::start()) else {
        return;
    };
    let address = toxiproxy.open("s3", server.address());
    let store = client(&server.location_through(address, ""));
    wait(create(&*store, "a", b"data")).unwrap();
    toxiproxy.toxic("s3", Stream::Replies, "latency", r#"{"latency":300}"#);
    let start = Instant::now();
    assert_eq!(wait(read(&*store, "a")).unwrap(), b"data");
    assert!(start.elapsed() >= Duration::from_millis(300));
    toxiproxy.clear();
    toxiproxy.enable("s3", false);
    assert!(std::net::TcpStream::connect(address).is_err());
    toxiproxy.enable("s3", true);
    assert_eq!(wait(read(&*store, "a")).unwrap(), b"data");
}
