//! Each rule of the readers removed.

use super::{one, relocation};
use crate::claims::{COMPLETE, NO_FALSE_ALARM, PIN_HOLDS};
use crate::config::{Config, Reading};
use crate::run::breaks;

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
fn readers_a_catalogue_read_before_the_sessions_misses_what_was_retired_between() {
    let config = Config {
        retire: true,
        reader: Reading::Lister,
        ..one()
    };
    breaks(|rules| rules.list_before_catalogue = false, COMPLETE, config);
}
