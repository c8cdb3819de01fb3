//! How a store is reached: the flags for it, and each way in which a cloud says no that takes a proxy to bring about.

use std::net::SocketAddr;

use crate::errors::in_cloud;
use crate::home::Home;
use crate::servers::fault_proxy::{Fault, FaultProxy, Rule};
use crate::servers::{Server, VERSITYGW, VERSITYGW_TLS, authority, or_skip};

#[test]
fn a_clock_that_is_wrong_is_named_as_the_cause() {
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let proxy = FaultProxy::start(server.address());
    let home = in_cloud(&server.location_through(proxy.address(), "r"));
    home.ok(["init"]);
    proxy.inject(Rule::always(Fault::clock_skewed()));
    home.repo(["snapshots"])
        .ends(1)
        .says(&["s3://ararat/r", "RequestTimeTooSkewed", "Set this machine's clock"]);
}

#[test]
fn a_token_that_has_expired_is_named_as_the_cause() {
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let proxy = FaultProxy::start(server.address());
    let home = in_cloud(&server.location_through(proxy.address(), "r"));
    home.ok(["init"]);
    proxy.inject(Rule::always(Fault::expired_token()));
    home.repo(["snapshots"])
        .ends(1)
        .says(&["s3://ararat/r", "ExpiredToken", "Get new credentials"]);
}

#[test]
fn an_authority_and_an_endpoint_can_be_said_on_the_command_line() {
    let Some(server) = or_skip(Server::start(&VERSITYGW_TLS)) else {
        return;
    };
    let mut home = in_cloud(&server.location("r"));
    home.set("AWS_ENDPOINT_URL", "https://nowhere.invalid");
    let endpoint = format!("https://{}", server.address());
    home.repo(["--store-endpoint", &endpoint, "init"])
        .ends(1)
        .says(&["certificate", "--store-ca-file"]);
    let file = authority(server.folder());
    let file = file.to_str().unwrap();
    home.ok(["--store-endpoint", &endpoint, "--store-ca-file", file, "init"]);
    home.set("ARARAT_STORE_ENDPOINT", &endpoint);
    home.set("ARARAT_STORE_CA_FILE", file);
    assert!(home.ok(["snapshots"]).out.contains("0 snapshots"));
    home.repo(["--store-ca-file", "none.pem", "snapshots"])
        .ends(2)
        .says(&["none.pem"]);
    let ran = home
        .repo(["--store-endpoint", "https://me:hunter2@host", "snapshots"])
        .ends(2);
    assert!(!ran.err.contains("hunter2"), "{}", ran.err);
}

/// A proxy for a host that has no address: what gets through went through the proxy.
fn through(proxy: SocketAddr, home: &mut Home) {
    home.unset("AWS_ENDPOINT_URL");
    home.set("ARARAT_STORE_ENDPOINT", "http://store.invalid");
    home.set("ARARAT_STORE_PROXY", &format!("http://{proxy}"));
}

#[test]
fn a_proxy_can_be_said_and_so_can_none() {
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let proxy = FaultProxy::start(server.address());
    let mut home = in_cloud(&server.location("r"));
    through(proxy.address(), &mut home);
    home.ok(["init"]);
    assert!(home.ok(["snapshots"]).out.contains("0 snapshots"));
    assert!(
        proxy
            .seen()
            .iter()
            .any(|seen| seen.target.contains("store.invalid/ararat/r/"))
    );

    // What the environment says of proxies is overruled by an empty one.
    home.set("HTTP_PROXY", "http://127.0.0.1:1");
    home.set("ARARAT_STORE_PROXY", "");
    home.set("ARARAT_STORE_ENDPOINT", &format!("http://{}", server.address()));
    assert!(home.ok(["snapshots"]).out.contains("0 snapshots"));
}

#[test]
fn the_bucket_goes_into_the_host_when_that_is_wanted() {
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let proxy = FaultProxy::start(server.address());
    let mut home = in_cloud(&server.location("r"));
    through(proxy.address(), &mut home);
    proxy.inject(Rule::always(Fault::access_denied()));
    for (style, target) in [
        ("virtual", "http://ararat.store.invalid/r/config"),
        ("path", "http://store.invalid/ararat/r/config"),
        ("auto", "http://store.invalid/ararat/r/config"),
    ] {
        proxy.forget_seen();
        home.repo(["--store-path-style", style, "snapshots"]).ends(1);
        let seen = proxy.seen();
        assert!(seen.iter().any(|seen| seen.target == target), "{style}: {seen:?}");
    }
}
