//! Each rule of relocation removed.

use super::relocation;
use crate::claims::NEVER_DELETED;
use crate::config::Config;
use crate::run::breaks;

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
