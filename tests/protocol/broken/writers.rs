//! Each rule of the writers removed.

use super::one;
use crate::claims::{DURABLE, NEVER_DELETED, REPORTED_STANDS};
use crate::config::Config;
use crate::run::breaks;

#[test]
fn w1_a_view_read_before_open_escapes_the_barrier() {
    breaks(|rules| rules.open_before_view = false, NEVER_DELETED, one());
}

#[test]
fn w2_a_reference_to_a_condemned_pack_is_lost() {
    breaks(|rules| rules.not_condemned = false, NEVER_DELETED, one());
}

/// "Not on the lists of condemned and dead packs" is not enough: the lists forget, a node's cache does not.
#[test]
fn w2_a_carried_over_reference_outlives_the_list_of_dead_packs() {
    let config = Config {
        hints: true,
        retire: true,
        rounds: &[2],
        last_generation: 4,
        ..one()
    };
    breaks(|rules| rules.known_to_the_view = false, NEVER_DELETED, config);
}

#[test]
fn w3_a_commit_before_its_pack_names_nothing() {
    breaks(
        |rules| rules.durable_before_commit = false,
        DURABLE,
        Config { base_blobs: 2, ..one() },
    );
}

#[test]
fn w3_exists_taken_for_success_reports_a_fenced_session_as_saved() {
    breaks(|rules| rules.read_back_end = false, REPORTED_STANDS, one());
}

#[test]
fn w3_a_fenced_writer_that_carries_its_references_over_unchecked_loses_them() {
    breaks(
        |rules| rules.recheck_after_fence = false,
        NEVER_DELETED,
        Config { retries: true, ..one() },
    );
}

#[test]
fn w4_an_advanced_view_with_old_references_escapes_the_barrier() {
    breaks(
        |rules| rules.recheck_before_at = false,
        NEVER_DELETED,
        Config { advance: true, ..one() },
    );
}

#[test]
fn w4_new_references_by_the_old_view_escape_the_barrier() {
    breaks(
        |rules| rules.new_view_for_new_references = false,
        NEVER_DELETED,
        Config { advance: true, ..one() },
    );
}
