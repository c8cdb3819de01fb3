//! Each rule of retirement removed.
//!
//! Two ways keep a fenced session's writer, however late it wakes, from reporting success: its `end` stays for ever
//! (what Ararat does), or `end` goes too, and the writer reads `open` after its commit, `open` goes first, and a commit
//! without `open` is none. The second way is checked here as well; it rests on three more rules, and on the store never
//! letting a late copy of a PUT land.

use super::one;
use crate::claims::{NEVER_DELETED, REPORTED_STANDS};
use crate::config::Config;
use crate::rules::Rules;
use crate::run::{breaks, holds};

/// A maintainer with two rounds: it fences and condemns, then folds and retires.
fn retiring() -> Config {
    Config {
        retire: true,
        rounds: &[2],
        last_generation: 4,
        lost_replies: 1,
        ..one()
    }
}

/// The same where the `end` of a fenced session is removed in the end.
fn removing_all() -> Config {
    Config {
        rules: Rules {
            keep_fenced_ends: false,
            ..Rules::default()
        },
        ..retiring()
    }
}

#[test]
fn retirement_before_folding_loses_the_snapshot() {
    breaks(
        |rules| rules.fold_before_retiring = false,
        REPORTED_STANDS,
        Config { retire: true, ..one() },
    );
}

/// Here both ways are given up at once.
#[test]
fn a_zombie_finds_neither_end_nor_reads_open_and_reports_success() {
    let neither = |rules: &mut Rules| {
        rules.keep_fenced_ends = false;
        rules.read_open_after_commit = false;
    };
    breaks(neither, REPORTED_STANDS, retiring());
}

#[test]
fn without_fenced_ends_a_zombie_has_to_read_open() {
    breaks(
        |rules| rules.read_open_after_commit = false,
        REPORTED_STANDS,
        removing_all(),
    );
}

#[test]
fn without_fenced_ends_open_has_to_go_first() {
    breaks(|rules| rules.open_goes_first = false, REPORTED_STANDS, removing_all());
}

#[test]
fn without_fenced_ends_a_commit_without_open_is_no_commit() {
    let config = Config {
        rounds: &[3],
        last_generation: 5,
        lost_replies: 0,
        ..removing_all()
    };
    breaks(|rules| rules.commit_needs_open = false, NEVER_DELETED, config);
}

/// A PUT of `open` whose answer was lost may have a copy under way for any time. If the session is retired before
/// that copy lands, it looks alive again, and a zombie's commit is confirmed by it.
#[test]
fn without_fenced_ends_a_late_copy_of_open_confirms_a_zombie() {
    breaks(
        |rules| rules.fresh_id_after_lost_open = false,
        NEVER_DELETED,
        removing_all(),
    );
}

/// With fenced ends that stay, and segments that go before a dead pack leaves the list, such a copy does no harm.
#[test]
fn with_fenced_ends_a_late_copy_of_open_does_no_harm() {
    let config = Config {
        forget_others: true,
        lost_replies: 0,
        ..retiring()
    };
    holds(
        |rules| rules.fresh_id_after_lost_open = false,
        Config {
            wants: &[1, 1],
            base_blobs: 2,
            ..config
        },
    );
}

#[test]
fn with_fenced_ends_nothing_rests_on_reading_open_or_on_the_order() {
    let spared = |rules: &mut Rules| {
        rules.read_open_after_commit = false;
        rules.open_goes_first = false;
        rules.commit_needs_open = false;
    };
    holds(
        spared,
        Config {
            wants: &[1, 1],
            ..retiring()
        },
    );
}
