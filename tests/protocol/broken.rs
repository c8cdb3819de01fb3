//! Each rule removed: the checker finds what goes wrong. `breaks` also shows that with the rule the bounds hold.

use crate::claims::{COMPLETE, DURABLE, NEVER_DELETED, NO_FALSE_ALARM, ONE_NUMBER, PIN_HOLDS, REPORTED_STANDS};
use crate::config::{Config, Reading, Store};
use crate::run::{breaks, holds};

/// One writer that finds its blob in the pack of a forgotten snapshot, one maintainer that condemns that pack.
fn one() -> Config {
    Config::default()
}

/// Two writers of a blob that the base pack lacks; the first one's pack is what the second may refer to.
fn two() -> Config {
    Config {
        wants: &[1, 1],
        base_blobs: 2,
        ..Config::default()
    }
}

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
fn w3_a_zombie_that_does_not_read_open_reports_a_retired_session_as_saved() {
    let config = Config {
        retire: true,
        rounds: &[2],
        last_generation: 4,
        ..one()
    };
    breaks(|rules| rules.read_open_after_commit = false, REPORTED_STANDS, config);
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
fn g2_a_read_session_is_waited_for_like_any_other() {
    let config = Config {
        wants: &[],
        reader: Reading::Pinned,
        base_forgotten: false,
        forget_base: true,
        ..one()
    };
    breaks(|rules| rules.wait_for_readers = false, PIN_HOLDS, config);
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
    breaks(|rules| rules.junk_is_condemned_first = false, NEVER_DELETED, config);
}

#[test]
fn retirement_before_folding_loses_the_snapshot() {
    let config = Config { retire: true, ..one() };
    breaks(|rules| rules.fold_before_retiring = false, REPORTED_STANDS, config);
}

#[test]
fn retirement_of_end_before_open_lets_a_zombie_report_success() {
    let config = Config {
        retire: true,
        rounds: &[2],
        last_generation: 4,
        ..one()
    };
    breaks(|rules| rules.open_goes_first = false, REPORTED_STANDS, config);
}

#[test]
fn retirement_a_commit_without_open_is_no_commit() {
    let config = Config {
        retire: true,
        rounds: &[3],
        last_generation: 5,
        ..one()
    };
    breaks(|rules| rules.commit_needs_open = false, NEVER_DELETED, config);
}

/// Repacking the base pack (blobs 1 and 2), whose snapshot names blob 1.
fn relocation() -> Config {
    Config {
        base_blobs: 3,
        base_forgotten: false,
        repackers: 1,
        ..one()
    }
}

#[test]
fn relocation_a_blob_that_no_table_moves_takes_its_pack_back() {
    breaks(
        |rules| rules.take_back = false,
        NEVER_DELETED,
        Config {
            wants: &[2],
            ..relocation()
        },
    );
}

/// The old pack may live on for another blob's sake while the new one is condemned: a reference to the old place
/// would be resolved to a pack that dies.
#[test]
fn relocation_a_moved_blob_is_referred_to_at_its_new_place() {
    let config = Config {
        wants: &[1, 2],
        forget_base: true,
        ..relocation()
    };
    breaks(
        |rules| rules.relocated_is_looked_up_again = false,
        NEVER_DELETED,
        config,
    );
}

#[test]
fn relocation_two_tables_for_one_blob_are_followed_in_one_order() {
    let config = Config {
        wants: &[],
        repackers: 2,
        rounds: &[1, 1],
        last_generation: 5,
        ..relocation()
    };
    breaks(|rules| rules.one_order_of_tables = false, NEVER_DELETED, config);
}

#[test]
fn relocation_a_table_is_dropped_only_when_every_reference_is_rewritten() {
    let config = Config {
        rewrite: true,
        rounds: &[2],
        last_generation: 4,
        ..relocation()
    };
    breaks(|rules| rules.rewrite_before_dropping = false, NEVER_DELETED, config);
}

#[test]
fn readers_a_pin_after_the_view_escapes_the_barrier() {
    let config = Config {
        wants: &[],
        reader: Reading::Pinned,
        base_forgotten: false,
        forget_base: true,
        ..one()
    };
    breaks(|rules| rules.pin_before_view = false, PIN_HOLDS, config);
}

#[test]
fn readers_a_pin_on_a_condemned_pack_holds_nothing() {
    let config = Config {
        wants: &[],
        reader: Reading::Pinned,
        base_forgotten: false,
        forget_base: true,
        ..one()
    };
    breaks(|rules| rules.pin_checks_condemned = false, PIN_HOLDS, config);
}

#[test]
fn readers_missing_against_an_old_generation_is_a_false_alarm() {
    let config = Config {
        wants: &[],
        reader: Reading::Unpinned,
        ..relocation()
    };
    breaks(|rules| rules.missing_against_newest = false, NO_FALSE_ALARM, config);
}

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

#[test]
fn readers_a_catalogue_read_before_the_sessions_misses_what_was_retired_between() {
    let config = Config {
        retire: true,
        reader: Reading::Lister,
        ..one()
    };
    breaks(|rules| rules.list_before_catalogue = false, COMPLETE, config);
}

/// A PUT of `open` whose answer was lost may have a copy under way for any time. If the session is retired before
/// that copy lands, it looks alive again: a zombie's commit is confirmed, and its segments count.
#[test]
fn retirement_a_late_copy_of_open_brings_a_fenced_session_back() {
    let config = Config {
        retire: true,
        rounds: &[2],
        last_generation: 4,
        ..one()
    };
    breaks(|rules| rules.fresh_id_after_lost_open = false, NEVER_DELETED, config);
}

// What follows is not what safety rests on, within these bounds; each says what it is for.

/// The barrier alone protects a pin: its session is waited for or fenced. Sparing pinned packs in G1 keeps readers
/// from being fenced and maintenance from waiting for them.
#[test]
fn g1_sparing_pinned_packs_is_a_kindness() {
    let config = Config {
        wants: &[1],
        reader: Reading::Pinned,
        base_forgotten: false,
        forget_base: true,
        ..one()
    };
    holds(
        |rules| rules.pins_spare_packs = false,
        Config {
            rounds: &[1, 1],
            last_generation: 5,
            ..config
        },
    );
}

/// After the barrier nobody can come to name a condemned pack, published as dead or not. The dead list is what lets
/// any later run finish the deletion, tells an unpinned reader why a pack is gone, and carries rule B1.
#[test]
fn g4_publishing_the_dead_before_deleting_is_for_those_who_come_after() {
    let config = Config {
        rounds: &[1, 1],
        retire: true,
        forget_others: true,
        last_generation: 5,
        ..two()
    };
    holds(|rules| rules.publish_dead_before_delete = false, config);
}

/// A maintainer that takes another's generation for its own goes on to the barrier and to judge what the newest
/// generation says, which is as good as its own. Reading back tells it whose work it reports.
#[test]
fn g1_reading_a_generation_back_is_for_the_report() {
    let config = Config {
        rounds: &[1, 1],
        retire: true,
        last_generation: 5,
        lost_replies: 1,
        ..one()
    };
    holds(|rules| rules.read_back_generation = false, config);
}
