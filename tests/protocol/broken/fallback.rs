//! Each rule of the commit without create-if-absent removed.

use super::one;
use crate::claims::REPORTED_STANDS;
use crate::config::{Config, Store};
use crate::run::breaks;

#[test]
fn fallback_a_writer_that_does_not_read_the_fence_reports_what_is_not_counted() {
    let config = Config {
        store: Store::Plain,
        ..one()
    };
    breaks(|rules| rules.read_fence_after_commit = false, REPORTED_STANDS, config);
}

#[test]
fn fallback_a_maintainer_that_does_not_read_the_commit_discards_it() {
    let config = Config {
        store: Store::Plain,
        ..one()
    };
    breaks(|rules| rules.read_commit_after_fence = false, REPORTED_STANDS, config);
}
