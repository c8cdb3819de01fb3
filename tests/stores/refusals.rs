//! Each way in which a store says no, and what a person gets to read. No message holds a secret.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use bytes::Bytes;
use engine::store::{Store, StoreOptions};
use engine::words::{Error, StoreFailure};

use crate::opening::{self, hasty, options};
use crate::servers::fault_proxy::{Answer, Fault, FaultProxy, Rule};
use crate::servers::{AZURITE, GCS, Location, Server, VERSITYGW, VERSITYGW_TLS, authority, or_skip};

/// Every operation fails in this way, and says so without a secret.
fn all_fail(store: &Store, expected: StoreFailure, says: &str) {
    assert!(!format!("{store:?}").contains("secret"), "{store:?}");
    for error in [
        store.get("config").unwrap_err(),
        store.put("config", Bytes::from_static(b"x")).unwrap_err(),
        store.list("s/").unwrap_err(),
        store.delete(&["config".to_owned()]).unwrap_err(),
        store.delete(&["config".to_owned(), "p/a".to_owned()]).unwrap_err(),
        store
            .get_many(vec![("config".to_owned(), Some(0..1))])
            .remove(0)
            .unwrap_err(),
    ] {
        let Error::Store { failure, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(*failure, expected, "{error}");
        let text = format!("{error} {error:?}");
        assert!(text.contains(says), "{text}");
        for secret in [
            "ararat-tests-secret",
            "Eby8vdM02xNOcqFl",
            "Signature=",
            "hunter2",
            "Bearer",
            "\n",
        ] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn wrong_secret_is_denied() {
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let location = server.location("r").with("AWS_SECRET_ACCESS_KEY", "hunter2");
    all_fail(
        &opening::cloud(&location, &hasty()),
        StoreFailure::Denied,
        "SignatureDoesNotMatch",
    );
    let location = server.location("r").with("AWS_ACCESS_KEY_ID", "nobody");
    all_fail(
        &opening::cloud(&location, &hasty()),
        StoreFailure::Denied,
        "InvalidAccessKeyId",
    );
}

#[test]
fn wrong_key_of_an_azure_account_is_denied() {
    let Some(server) = or_skip(Server::start(&AZURITE)) else {
        return;
    };
    let location = server.location("r").with("AZURE_STORAGE_ACCOUNT_KEY", "aHVudGVyMg==");
    all_fail(&opening::cloud(&location, &hasty()), StoreFailure::Denied, "");
}

#[test]
fn missing_bucket_is_named_as_such() {
    for kind in [&VERSITYGW, &GCS, &AZURITE] {
        let Some(server) = or_skip(Server::start(kind)) else {
            return;
        };
        let mut location = server.location("r");
        location.url = location.url.replace("ararat", "nowhere");
        let store = opening::cloud(&location, &hasty());
        for error in [
            store.put("config", Bytes::from_static(b"x")).unwrap_err(),
            store.list("s/").unwrap_err(),
        ] {
            let Error::Store {
                failure: StoreFailure::NoBucket,
                name,
                ..
            } = &error
            else {
                panic!("{}: {error}", kind_name(&location))
            };
            assert!(name.contains("nowhere"), "{error}");
        }
    }
}

fn kind_name(location: &Location) -> &str {
    location.url.split("://").next().unwrap()
}

#[test]
fn nobody_listening_is_unreachable_and_said_soon() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let environment = vec![
        ("AWS_ACCESS_KEY_ID", "key".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "ararat-tests-secret".to_owned()),
        ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")),
    ];
    let location = Location {
        url: "s3://bucket/r".to_owned(),
        environment,
    };
    let begun = Instant::now();
    // Patient options: a store that was never reached is probably named wrongly.
    let patient = StoreOptions {
        retries_max: 1_000,
        retry_time: Duration::from_secs(600),
        retry_pause: Duration::from_millis(10),
        ..options()
    };
    all_fail(
        &opening::cloud(&location, &patient),
        StoreFailure::Unreachable,
        "Connection refused",
    );
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn host_without_a_name_is_unreachable() {
    let environment = vec![
        ("AWS_ACCESS_KEY_ID", "key".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "ararat-tests-secret".to_owned()),
        ("AWS_ENDPOINT_URL", "https://store.invalid".to_owned()),
    ];
    let location = Location {
        url: "s3://bucket/r".to_owned(),
        environment,
    };
    all_fail(
        &opening::cloud(&location, &hasty()),
        StoreFailure::Unreachable,
        "store.invalid",
    );
}

#[test]
fn plain_http_server_behind_an_https_address_is_unreachable() {
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let location = server
        .location("r")
        .with("AWS_ENDPOINT_URL", format!("https://{}", server.address()));
    all_fail(
        &opening::cloud(&location, &hasty()),
        StoreFailure::Unreachable,
        &server.address().to_string(),
    );
}

#[test]
fn certificate_of_an_authority_of_ones_own_is_trusted_when_it_is_given() {
    let Some(server) = or_skip(Server::start(&VERSITYGW_TLS)) else {
        return;
    };
    let location = server.location("r");
    all_fail(
        &opening::cloud(&location, &hasty()),
        StoreFailure::Unreachable,
        "certificate",
    );
    let file = authority(server.folder());
    let trusting = StoreOptions {
        ca_file: Some(file.clone()),
        ..hasty()
    };
    opening::cloud(&location, &trusting)
        .put("config", Bytes::from_static(b"x"))
        .unwrap();
    let location = location.with("AWS_CA_BUNDLE", file.to_str().unwrap());
    assert_eq!(opening::cloud(&location, &hasty()).get("config").unwrap(), "x");
    let none = StoreOptions {
        ca_file: Some(server.folder().join("none.pem")),
        ..hasty()
    };
    let place = engine::store::Location::parse("s3://ararat").unwrap();
    let error = Store::open(&place, &none, opening::runtime()).unwrap_err();
    assert!(error.to_string().contains("none.pem"), "{error}");
}

#[test]
fn refusals_of_a_server_have_their_kinds() {
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let proxy = FaultProxy::start(server.address());
    let store = opening::cloud(&server.location_through(proxy.address(), "r"), &hasty());
    let refuse = |status, code| {
        Fault::Refuse(Answer {
            status,
            code,
            retry_after: None,
        })
    };
    for (fault, kind, says) in [
        (Fault::access_denied(), StoreFailure::Denied, "AccessDenied"),
        (Fault::expired_token(), StoreFailure::Expired, "ExpiredToken"),
        (Fault::clock_skewed(), StoreFailure::ClockSkew, "RequestTimeTooSkewed"),
        (Fault::slow_down(), StoreFailure::Busy, "SlowDown"),
        (Fault::too_many_requests(), StoreFailure::Busy, "TooManyRequests"),
        (
            refuse(507, "InsufficientStorage"),
            StoreFailure::Full,
            "InsufficientStorage",
        ),
        (refuse(403, "QuotaExceeded"), StoreFailure::Full, "QuotaExceeded"),
        (refuse(500, "InternalError"), StoreFailure::Other, "InternalError"),
        (Fault::Hangup, StoreFailure::Timeout, ""),
    ] {
        proxy.clear();
        proxy.inject(Rule::always(fault));
        all_fail(&store, kind, says);
    }
}

#[test]
fn a_clock_that_is_wrong_is_told_from_a_wrong_key_by_the_dates() {
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let proxy = FaultProxy::start(server.address());
    let location = server
        .location_through(proxy.address(), "r")
        .with("AWS_SECRET_ACCESS_KEY", "hunter2");
    proxy.inject(Rule::always(Fault::WrongDate(
        "Thu, 01 Jan 1970 00:00:00 GMT".to_owned(),
    )));
    all_fail(
        &opening::cloud(&location, &hasty()),
        StoreFailure::ClockSkew,
        "minutes behind this machine's",
    );
}

#[test]
fn no_credentials_are_looked_for_at_the_metadata_server_and_then_missed() {
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    // A metadata server that answers nothing useful, on loopback; and one that is not there.
    let metadata = FaultProxy::start(server.address());
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [metadata.address(), gone] {
        let location = server.location("r").without("KEY");
        let location = location.with("AWS_METADATA_ENDPOINT", format!("http://{address}"));
        all_fail(
            &opening::cloud(&location, &hasty()),
            StoreFailure::Denied,
            "no credentials are given",
        );
    }
    assert!(metadata.count("PUT") > 0);
    let disabled = StoreOptions {
        environment: [("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned())].into(),
        ..hasty()
    };
    let place = engine::store::Location::parse("s3://ararat").unwrap();
    let error = Store::open(&place, &disabled, opening::runtime()).unwrap_err();
    assert!(error.to_string().contains("no credentials are given"), "{error}");
}

#[test]
fn given_credentials_never_ask_the_metadata_server() {
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let metadata = FaultProxy::start(server.address());
    let location = server
        .location("r")
        .with("AWS_METADATA_ENDPOINT", format!("http://{}", metadata.address()));
    let store = opening::cloud(&location, &hasty());
    store.put("config", Bytes::from_static(b"x")).unwrap();
    assert_eq!(metadata.seen().len(), 0);
}

#[test]
fn requests_go_through_the_proxy_that_was_asked_for_or_stands_in_the_environment() {
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let proxy = FaultProxy::start(server.address());
    let address = format!("http://user:hunter2@{}", proxy.address());
    let asked = StoreOptions {
        proxy: Some(address.clone()),
        ..hasty()
    };
    let store = opening::cloud(&server.location("r"), &asked);
    store.list("s/").unwrap();
    assert_eq!(proxy.count("GET"), 1);
    assert!(!format!("{store:?} {asked:?}").contains("hunter2"));
    let location = server.location("r").with("HTTP_PROXY", &address);
    opening::cloud(&location, &hasty()).list("s/").unwrap();
    assert_eq!(proxy.count("GET"), 2);
    opening::cloud(&location.with("NO_PROXY", "127.0.0.1"), &hasty())
        .list("s/")
        .unwrap();
    let none = StoreOptions {
        proxy: Some(String::new()),
        ..hasty()
    };
    opening::cloud(&location, &none).list("s/").unwrap();
    assert_eq!(proxy.count("GET"), 2);
}
