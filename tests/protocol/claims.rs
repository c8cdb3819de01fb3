//! What must hold in every state.

use stateright::Property;

use crate::config::{Config, Reading};
use crate::model::Protocol;
use crate::state::{Pack, ReaderAt, State, flag, has, members};
use crate::{store, witnesses};

/// The main claim.
pub const NEVER_DELETED: &str = "a pack named by a committed, unforgotten snapshot is never deleted";
/// Packs come before commits.
pub const DURABLE: &str = "a committed snapshot has its packs in the store";
/// "Saved" is true.
pub const REPORTED_STANDS: &str = "a snapshot that was reported saved is valid";
/// Nobody is told two stories.
pub const ONE_OUTCOME: &str = "a session has at most one outcome";
/// One history.
pub const ONE_NUMBER: &str = "no two generations have one number";
/// Pins hold.
pub const PIN_HOLDS: &str = "a pinned reader never meets a missing blob";
/// No false alarm.
pub const NO_FALSE_ALARM: &str = "nothing is reported missing that is there";

/// Listings are whole.
pub const COMPLETE: &str = "a listing shows every snapshot that was saved before it began";

/// Packs can be found, and their keys.
pub const FINDABLE: &str = "a pack named by a standing snapshot is in the levels or in a segment that counts";

/// All claims.
pub const ALL: [&str; 9] = [
    NEVER_DELETED,
    DURABLE,
    FINDABLE,
    REPORTED_STANDS,
    ONE_OUTCOME,
    ONE_NUMBER,
    PIN_HOLDS,
    NO_FALSE_ALARM,
    COMPLETE,
];

/// The claims and, if every rule is kept, the witnesses of a configuration.
pub fn properties(config: &Config) -> Vec<Property<Protocol>> {
    let mut all = vec![
        Property::always(NEVER_DELETED, |model: &Protocol, state| {
            packs_are_not(&model.0, state, Pack::Gone)
        }),
        Property::always(DURABLE, |model: &Protocol, state| {
            packs_are_not(&model.0, state, Pack::Absent)
        }),
        Property::always(FINDABLE, |model: &Protocol, state| packs_are_found(&model.0, state)),
        Property::always(REPORTED_STANDS, |model: &Protocol, state| {
            reported_stands(&model.0, state)
        }),
        Property::always(ONE_OUTCOME, |model: &Protocol, state| one_outcome(&model.0, state)),
        Property::always(ONE_NUMBER, |_, state: &State| !state.clash),
    ];
    match config.reader {
        Reading::Nobody => {}
        Reading::Unpinned => {
            all.push(Property::always(NO_FALSE_ALARM, |_, state: &State| {
                state.reader.at != ReaderAt::Missing
            }));
        }
        Reading::Lister => {
            all.push(Property::always(COMPLETE, |_, state: &State| {
                state.reader.at != ReaderAt::Incomplete
            }));
        }
        Reading::Pinned => {
            all.push(Property::always(PIN_HOLDS, |_, state: &State| {
                state.reader.at != ReaderAt::Missing
            }));
        }
    }
    if config.rules == crate::rules::Rules::default() {
        witnesses::add(config, &mut all);
    }
    all
}

/// Whether no pack that a standing snapshot names, through the tables, is in this condition.
fn packs_are_not(config: &Config, state: &State, condition: Pack) -> bool {
    let tables = &state.generation().tables;
    members(store::referenced(config, state, tables, store::standing(config, state)))
        .all(|pack| state.session(pack).pack != condition)
}

/// Whether every pack that a standing snapshot names is named by the newest levels, or by a segment of a session that is not folded. A session's keys
/// stay as long as the levels name one of its packs, so what is found can be opened too.
fn packs_are_found(config: &Config, state: &State) -> bool {
    let generation = state.generation();
    let counts = |slot: &crate::state::Slot| {
        let session = state.session(*slot);
        session.open && session.segment && !has(generation.folded, *slot)
    };
    let standing = store::standing(config, state);
    members(store::referenced(config, state, &generation.tables, standing))
        .all(|pack| has(generation.levels, pack) || counts(&pack))
}

fn reported_stands(config: &Config, state: &State) -> bool {
    members(store::reported(config, state)).all(|slot| {
        let flags = state.session(slot).flags;
        // Without create-if-absent a commit may be undecided for a while.
        let undecided = flags & flag::COMMIT != 0 && flags & flag::FINAL == 0 && state.session(slot).open;
        store::valid(config, state, slot) || undecided
    })
}

fn one_outcome(config: &Config, state: &State) -> bool {
    let generation = state.generation();
    let said_fenced = generation.folded & !generation.catalogue;
    let both = flag::COUNTED | flag::FINAL;
    members(store::reported(config, state)).all(|slot| !has(said_fenced, slot))
        && state.sessions.iter().all(|session| session.flags & both != both)
}
