//! Running the checker, and saying what it found.

use std::collections::BTreeSet;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model, Path};

use crate::claims;
use crate::config::Config;
use crate::model::{Action, Protocol};
use crate::rules::Rules;
use crate::state::State;

/// Whether the long campaign was asked for.
pub fn full() -> bool {
    std::env::var("ARARAT_MODEL").is_ok_and(|value| value == "full")
}

/// Explores a configuration to its end, prints the counts, and wants every claim to hold and every witness found.
pub fn explore(config: Config) {
    let (name, bounds) = (config.name, config.clone());
    let start = Instant::now();
    let checker = Protocol(config).checker().threads(2).spawn_dfs().join();
    println!(
        "{name}: {} unique states, {} generated, depth {}, {:.1} s; {} writers{}, {} maintainers, {} repackers, generations 1–{}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        start.elapsed().as_secs_f64(),
        bounds.writers(),
        if bounds.retries { " (twice)" } else { "" },
        bounds.maintainers(),
        bounds.repackers,
        bounds.last_generation,
    );
    for (claim, path) in checker.discoveries() {
        if claims::ALL.contains(&claim) {
            tell(claim, path);
        }
    }
    checker.assert_properties();
}

/// Switches one rule off and wants the checker to refute this claim; with the rule on, the same bounds must hold.
pub fn breaks(off: fn(&mut Rules), claim: &'static str, config: Config) {
    holds(|_| {}, config.clone());
    let mut broken = config;
    off(&mut broken.rules);
    refuted(claim, broken);
}

/// Wants the checker to refute a claim.
pub fn refuted(claim: &'static str, broken: Config) {
    let broken = Config {
        symmetric: false,
        ..broken
    };
    let wanted = HasDiscoveries::AnyOf(BTreeSet::from([claim]));
    let checker = Protocol(broken).checker().finish_when(wanted).spawn_bfs().join();
    let found = checker.discovery(claim);
    let states = checker.unique_state_count();
    match found {
        Some(path) => {
            println!(
                "Refuted in {} steps, {states} states: {claim}",
                path.clone().into_actions().len()
            );
            if std::env::var_os("ARARAT_MODEL_TRACE").is_some() {
                tell(claim, path);
            }
        }
        None => panic!("{states} states hold no counterexample of: {claim}"),
    }
}

/// Wants every claim to hold although a rule is off: within these bounds it is not what safety rests on.
pub fn holds(off: fn(&mut Rules), mut config: Config) {
    off(&mut config.rules);
    let checker = Protocol(config)
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_dfs()
        .join();
    for (claim, path) in checker.discoveries() {
        if claims::ALL.contains(&claim) {
            tell(claim, path);
            panic!("Refuted with this rule set: {claim}");
        }
    }
    println!("Holds in {} states", checker.unique_state_count());
}

/// Wants one claim to hold although a rule is off and other claims may not.
pub fn keeps(off: fn(&mut Rules), claim: &'static str, mut config: Config) {
    off(&mut config.rules);
    let wanted = HasDiscoveries::AnyOf(BTreeSet::from([claim]));
    let checker = Protocol(config).checker().finish_when(wanted).spawn_dfs().join();
    if let Some(path) = checker.discovery(claim) {
        tell(claim, path);
        panic!("Refuted with this rule set: {claim}");
    }
    println!("Kept in {} states: {claim}", checker.unique_state_count());
}

/// Prints a trace.
fn tell(claim: &str, path: Path<State, Action>) {
    println!("Counterexample of: {claim}");
    for (step, action) in path.into_actions().iter().enumerate() {
        println!("  {:2}. {action:?}", step + 1);
    }
}
