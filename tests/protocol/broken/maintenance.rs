//! Each rule of maintenance removed: condemning, the barrier, the verdict, bookkeeping and retirement.

use super::{one, two};
use crate::claims::{FINDABLE, NEVER_DELETED, ONE_NUMBER, REPORTED_STANDS};
use crate::config::Config;
use crate::rules::Rules;
use crate::run::breaks;

#[test]
fn g1_a_running_sessions_own_pack_must_not_be_condemned() {
    let config = Config {
        base_blobs: 2,
        advance: true,
        ..one()
    };
    breaks(|rules| rules.condemn_ended_only = false, NEVER_DELETED, config);
}

#[test]
fn g1_an_overwritten_generation_gives_one_number_twice() {
    let config = Config {
        rounds: &[1, 1],
        last_generation: 5,
        ..one()
    };
    breaks(|rules| rules.create_generations_if_absent = false, ONE_NUMBER, config);
}

#[test]
fn g1_an_overwritten_generation_loses_data() {
    // The other writer only gives a maintainer something to fold before the base snapshot is forgotten.
    let config = Config {
        wants: &[1, 2],
        rounds: &[1, 1],
        base_forgotten: false,
        forget_base: true,
        last_generation: 4,
        ..one()
    };
    breaks(
        |rules| rules.create_generations_if_absent = false,
        NEVER_DELETED,
        config,
    );
}

#[test]
fn g1_a_deleted_generation_gives_its_number_to_a_paused_maintainer() {
    let config = Config {
        rounds: &[1, 1],
        last_generation: 5,
        ..one()
    };
    breaks(|rules| rules.keep_generations = false, ONE_NUMBER, config);
}

#[test]
fn g2_a_list_from_before_the_generation_misses_sessions() {
    breaks(|rules| rules.list_after_publish = false, NEVER_DELETED, one());
}

#[test]
fn g2_without_waiting_or_fencing_old_views_commit_too_late() {
    breaks(|rules| rules.wait_or_fence = false, NEVER_DELETED, one());
}

#[test]
fn b4_an_unknown_view_is_an_old_one() {
    breaks(|rules| rules.unknown_view_is_old = false, NEVER_DELETED, one());
}

#[test]
fn g3_late_commits_count() {
    breaks(|rules| rules.count_late_commits = false, NEVER_DELETED, one());
}

/// A pack condemned by a maintainer that died, named by a commit that the next maintainer already counts: the next
/// one must not take that commit for "not late".
#[test]
fn g3_late_is_meant_against_the_generation_that_condemned() {
    let config = Config {
        rounds: &[1, 1],
        last_generation: 4,
        ..one()
    };
    breaks(
        |rules| rules.late_by_condemning_generation = false,
        NEVER_DELETED,
        config,
    );
}

#[test]
fn g3_what_was_condemned_after_the_barrier_waits_for_its_own() {
    let config = Config {
        wants: &[2, 2],
        rounds: &[1, 1],
        forget_others: true,
        last_generation: 4,
        ..one()
    };
    breaks(
        |rules| rules.only_condemned_before_barrier = false,
        NEVER_DELETED,
        config,
    );
}

#[test]
fn g3_a_generation_that_does_not_carry_the_newest_on_forgets_snapshots() {
    let config = Config {
        rounds: &[1, 1],
        retire: true,
        last_generation: 4,
        ..one()
    };
    breaks(|rules| rules.succeed_the_newest = false, REPORTED_STANDS, config);
}

#[test]
fn b1_a_dead_pack_that_leaves_the_list_too_early_is_referred_to() {
    let config = Config {
        rounds: &[2],
        retire: true,
        forget_others: true,
        last_generation: 4,
        ..two()
    };
    breaks(|rules| rules.dead_stay_listed = false, NEVER_DELETED, config);
}

#[test]
fn b2_segments_listed_before_the_view_name_packs_that_are_no_more() {
    let config = Config {
        rounds: &[2],
        retire: true,
        forget_others: true,
        last_generation: 4,
        ..two()
    };
    breaks(|rules| rules.open_seen_after_view = false, NEVER_DELETED, config);
}

/// The fenced writer goes on: what it writes after the levels were prepared is in no index once it is folded.
#[test]
fn b2_what_a_fenced_session_writes_later_is_found_by_nobody() {
    let config = Config {
        retire: true,
        last_generation: 4,
        rounds: &[2],
        ..two()
    };
    breaks(|rules| rules.fenced_end_counts_segments = false, FINDABLE, config);
}

#[test]
fn b2_a_session_seen_running_may_be_fenced_before_its_segments_are_listed() {
    let config = Config {
        retire: true,
        last_generation: 4,
        rounds: &[2],
        ..two()
    };
    breaks(|rules| rules.runs_after_segments_are_listed = false, FINDABLE, config);
}

#[test]
fn b3_a_late_commit_that_was_retired_is_known_to_the_catalogue_alone() {
    let config = Config {
        rounds: &[1, 1],
        retire: true,
        last_generation: 4,
        ..one()
    };
    breaks(|rules| rules.late_commits_from_catalogue = false, NEVER_DELETED, config);
}

#[test]
fn b5_a_fenced_sessions_late_pack_may_be_in_use() {
    let config = Config {
        rounds: &[2],
        last_generation: 4,
        ..two()
    };
    // Where writers use what a fenced session's `end` counts and no more, what lands later is in nobody's use: `spare.rs`.
    let off = |rules: &mut Rules| {
        rules.junk_is_condemned_first = false;
        rules.fenced_end_counts_segments = false;
    };
    breaks(off, NEVER_DELETED, config);
}
