//! What must hold in every state, and what must happen in some (or else the model would prove nothing).

use stateright::Property;

use crate::config::{Config, Reading, Store};
use crate::model::Protocol;
use crate::state::{End, MaintainerAt, Pack, ReaderAt, Set, State, WriterAt, flag, has, members, only};
use crate::store;

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

/// All claims.
pub const ALL: [&str; 7] = [
    NEVER_DELETED,
    DURABLE,
    REPORTED_STANDS,
    ONE_OUTCOME,
    ONE_NUMBER,
    PIN_HOLDS,
    NO_FALSE_ALARM,
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
        Reading::Pinned => {
            all.push(Property::always(PIN_HOLDS, |_, state: &State| {
                state.reader.at != ReaderAt::Missing
            }));
        }
    }
    if config.rules == crate::rules::Rules::default() {
        witnesses(config, &mut all);
    }
    all
}

/// Snapshots that count: valid ones and those reported saved, as long as nobody has forgotten them.
fn standing(config: &Config, state: &State) -> Set {
    let valid = store::slots(config)
        .filter(|slot| store::makes_snapshot(config, *slot) && store::valid(config, state, *slot))
        .fold(0, |set, slot| set | only(slot));
    (valid | store::reported(config, state)) & !state.forgotten
}

/// Whether no pack that a standing snapshot names, through the tables, is in this condition.
fn packs_are_not(config: &Config, state: &State, condition: Pack) -> bool {
    let tables = &state.generation().tables;
    members(store::referenced(config, state, tables, standing(config, state)))
        .all(|pack| state.session(pack).pack != condition)
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

fn witnesses(config: &Config, all: &mut Vec<Property<Protocol>>) {
    all.push(Property::sometimes("a pack is deleted", |_, state: &State| {
        state.sessions.iter().any(|session| session.pack == Pack::Gone)
    }));
    if config.store == Store::PlainExclusive {
        return;
    }
    all.push(Property::sometimes(
        "a session is fenced",
        |model: &Protocol, state: &State| {
            store::slots(&model.0).any(|slot| store::outcome(&model.0, state, slot) == store::Outcome::Fenced)
        },
    ));
    all.push(Property::sometimes(
        "a late commit takes a pack back",
        |_, state: &State| {
            state
                .maintainers
                .iter()
                .any(|me| me.at == MaintainerAt::Ready && me.fold != 0)
        },
    ));
    if config.retries {
        all.push(Property::sometimes(
            "a fenced writer commits in a second session",
            |_, state: &State| {
                state
                    .writers
                    .iter()
                    .any(|writer| writer.again && writer.at == WriterAt::Saved)
            },
        ));
    }
    if config.writers() > 1 {
        all.push(Property::sometimes(
            "a session refers to a pack of a session that runs",
            |model: &Protocol, state: &State| {
                state.writers.iter().any(|writer| {
                    has(!state.generation().levels, writer.held)
                        && writer.held < model.0.slots()
                        && state.session(writer.held).end == End::Absent
                        && state.writers.iter().filter(|other| other.held == writer.held).count() > 1
                })
            },
        ));
    }
    if config.advance {
        all.push(Property::sometimes(
            "a session commits under an advanced view",
            |model: &Protocol, state: &State| {
                members(store::reported(&model.0, state)).any(|slot| state.session(slot).at > 1)
            },
        ));
    }
    if config.retire {
        all.push(Property::sometimes("a session is retired", |_, state: &State| {
            members(state.generation().folded & !only(0)).any(|slot| !state.session(slot).open)
        }));
        all.push(Property::sometimes(
            "a dead pack leaves the list",
            |_, state: &State| {
                let generation = state.generation();
                state.session(0).pack == Pack::Gone && !has(generation.dead, 0) && !has(generation.condemned, 0)
            },
        ));
    }
    if config.repackers > 0 && !config.base_forgotten {
        all.push(Property::sometimes("a relocation is completed", |_, state: &State| {
            let place = store::resolve(state, &state.generation().tables, 0, 1);
            state.session(0).pack == Pack::Gone && !has(state.forgotten, 0) && state.session(place).pack == Pack::Here
        }));
    }
    if config.lost_replies > 0 {
        all.push(Property::sometimes(
            "a commit is told by reading it back",
            |model: &Protocol, state: &State| {
                state.lost < model.0.lost_replies && store::reported(&model.0, state) != 0
            },
        ));
    }
    match config.reader {
        Reading::Nobody => {}
        Reading::Unpinned => all.push(Property::sometimes(
            "a reader misses and looks again",
            |_, state: &State| state.reader.at == ReaderAt::Missed,
        )),
        Reading::Pinned => {
            all.push(Property::sometimes(
                "a pinned reader reads to the end",
                |_, state: &State| state.reader.at == ReaderAt::Read,
            ));
            all.push(Property::sometimes(
                "a reader's pin is fenced and it says so",
                |_, state: &State| state.reader.at == ReaderAt::Refused,
            ));
        }
    }
}
