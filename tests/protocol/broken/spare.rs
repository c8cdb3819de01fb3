//! Rules that are kept for another reason than safety: without them the claims still hold within these bounds.
//! Each test says what its rule is for.

use super::{one, two};
use crate::claims::NEVER_DELETED;
use crate::config::{Config, Reading};
use crate::run::{holds, keeps};

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

/// A number that was deleted and given again misleads two maintainers, but loses nothing, since G3 goes on from the
/// newest generation whatever this maintainer believes to have written.
#[test]
fn g1_a_number_given_twice_loses_nothing_while_judging_goes_by_the_newest() {
    let config = Config {
        wants: &[1, 2],
        rounds: &[1, 1],
        forget_base: true,
        base_forgotten: false,
        ..one()
    };
    keeps(
        |rules| rules.keep_generations = false,
        NEVER_DELETED,
        Config {
            last_generation: 5,
            ..config
        },
    );
}

/// What lands after its session was fenced can be in nobody's use, since writers use what the session's `end` counts: condemning it like any other
/// pack is how it is found, and a second line.
#[test]
fn b5_condemning_late_junk_is_a_second_line() {
    let config = Config {
        rounds: &[2],
        last_generation: 4,
        ..two()
    };
    holds(|rules| rules.junk_is_condemned_first = false, config);
}
