//! What the probe says of good stores and of stores that lie.

use std::sync::Arc;
use std::time::Duration;

use engine::store::faulty::{FaultPlan, Faulty};
use engine::store::probe::{self, Verdict};
use engine::store::{Store, StoreOptions};

use crate::opening::{self, options};
use crate::servers::fault_proxy::{Fault, FaultProxy, Rule};
use crate::servers::{AZURITE, GCS, Server, VERSITYGW, or_skip};

fn is_good(store: &Store) {
    let report = probe::probe(store).unwrap();
    assert_eq!(report.verdict(), Verdict::Everything, "{report:?}");
    assert!(report.deletes && report.latency.put > Duration::ZERO);
    assert_eq!(probe::for_maintenance(store).unwrap(), Verdict::Everything);
    assert_eq!(store.list("").unwrap(), [], "nothing stays behind");
}

fn spoiled(plan: FaultPlan) -> Store {
    let impatient = StoreOptions {
        retries_max: 2,
        ..options()
    };
    opening::memory().wrapped(&impatient, |inner| Arc::new(Faulty::new(inner, plan)))
}

#[test]
fn good_stores_may_do_everything() {
    let (_folder, local) = opening::local();
    is_good(&local);
    is_good(&opening::memory());
    for kind in [&VERSITYGW, &GCS, &AZURITE] {
        let Some(server) = or_skip(Server::start(kind)) else {
            return;
        };
        is_good(&opening::cloud(&server.location("r"), &options()));
    }
}

#[test]
fn a_store_that_overwrites_gets_exclusive_maintenance() {
    let store = spoiled(FaultPlan {
        overwrites: true,
        ..FaultPlan::default()
    });
    let report = probe::probe(&store).unwrap();
    assert!(!report.create_if_absent && report.read_after_write && report.list_after_write);
    assert_eq!(report.verdict(), Verdict::ExclusiveMaintenance);
    assert_eq!(probe::for_maintenance(&store).unwrap(), Verdict::ExclusiveMaintenance);
    assert_eq!(store.list("").unwrap(), []);
}

#[test]
fn a_store_whose_condition_is_a_look_before_the_write_gets_exclusive_maintenance() {
    // Writers one after another see no difference, and in a race it may go well by luck.
    let store = spoiled(FaultPlan {
        looks: true,
        ..FaultPlan::default()
    });
    assert_eq!(probe::for_maintenance(&store).unwrap(), Verdict::ExclusiveMaintenance);
    assert_eq!(probe::probe(&store).unwrap().verdict(), Verdict::ExclusiveMaintenance);
    assert_eq!(store.list("").unwrap(), []);
}

#[test]
fn a_server_that_ignores_the_condition_is_found_out() {
    // The one that checks no signatures, which cover the header.
    let Some(server) = or_skip(Server::start(&GCS)) else {
        return;
    };
    let proxy = FaultProxy::start(server.address());
    proxy.inject(Rule::always(Fault::DropHeader("x-goog-if-generation-match")));
    let store = opening::cloud(&server.location_through(proxy.address(), "r"), &options());
    assert_eq!(probe::for_maintenance(&store).unwrap(), Verdict::ExclusiveMaintenance);
    assert_eq!(probe::probe(&store).unwrap().verdict(), Verdict::ExclusiveMaintenance);
}

#[test]
fn a_store_that_lags_gets_no_maintenance() {
    let store = spoiled(FaultPlan {
        lists_lag: 1,
        ..FaultPlan::default()
    });
    let report = probe::probe(&store).unwrap();
    assert!(report.read_after_write && !report.list_after_write);
    assert_eq!(report.verdict(), Verdict::NoMaintenance);
    assert_eq!(probe::for_maintenance(&store).unwrap(), Verdict::NoMaintenance);
    let store = spoiled(FaultPlan {
        reads_lag: 1,
        ..FaultPlan::default()
    });
    let report = probe::probe(&store).unwrap();
    assert!(!report.read_after_write);
    assert_eq!(report.verdict(), Verdict::NoMaintenance);
    assert_eq!(probe::for_maintenance(&store).unwrap(), Verdict::NoMaintenance);
}

#[test]
fn a_credential_that_may_not_delete_is_told() {
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let proxy = FaultProxy::start(server.address());
    proxy.inject(Rule::always(Fault::access_denied()).method("DELETE"));
    proxy.inject(Rule::always(Fault::access_denied()).method("POST"));
    let store = opening::cloud(&server.location_through(proxy.address(), "r"), &options());
    let report = probe::probe(&store).unwrap();
    assert!(!report.deletes);
    assert_eq!(report.verdict(), Verdict::Everything);
}
