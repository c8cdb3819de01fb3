//! What a reader of the base snapshot does: locate its blob, fetch it, and know what to say when it is not there.

use crate::config::{Config, Reading};
use crate::state::{End, NONE, Pack, Reader, ReaderAt, Set, State, has};
use crate::store;

/// One step of the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// LIST snapshots, choose the base one. It may be forgotten before anything else happens.
    Choose,
    /// PUT `open` with the pin.
    Pin,
    /// GET the newest generation; locate the blob.
    Locate,
    /// GET the pack.
    Fetch,
    /// GET the newest generation after a miss; locate again, or report.
    LocateAgain,
    /// The first half of a listing: LIST sessions (or, where that rule is off, GET the newest generation).
    Begin,
    /// The second half: the other one.
    Complete,
    /// Create `end`: the read session is over.
    Close,
}

/// The steps the reader can take.
pub fn steps(config: &Config, state: &State, out: &mut Vec<Step>) {
    let reader = &state.reader;
    let pinned = config.reader == Reading::Pinned;
    match reader.at {
        ReaderAt::Idle if config.reader == Reading::Lister => out.push(Step::Begin),
        ReaderAt::Listing => out.push(Step::Complete),
        ReaderAt::Idle => {
            // Without a pin, what was chosen is located at once: nothing that others do in between is noticed.
            if config.reader != Reading::Nobody && !has(state.forgotten, 0) {
                out.push(if pinned { Step::Choose } else { Step::Locate });
            }
        }
        ReaderAt::Chosen => {
            out.push(if pinned && config.rules.pin_before_view {
                Step::Pin
            } else {
                Step::Locate
            });
        }
        ReaderAt::Opened => out.push(if reader.pack == NONE { Step::Locate } else { Step::Pin }),
        ReaderAt::Located => {
            // A pinned reader may fetch many times; only a miss changes anything.
            if !pinned || state.session(reader.pack).pack != Pack::Here {
                out.push(Step::Fetch);
            }
            if pinned {
                out.push(Step::Close);
            }
        }
        ReaderAt::Missed => out.push(Step::LocateAgain),
        ReaderAt::Read | ReaderAt::Refused | ReaderAt::Missing | ReaderAt::Incomplete => {}
    }
}

/// The state after a reader's step.
pub fn apply(config: &Config, state: &mut State, step: Step) {
    let mut reader = state.reader;
    let generation = state.generation();
    let newest = store::place_of_base(state, &generation.tables);
    let pinned = config.reader == Reading::Pinned;
    match step {
        Step::Choose => reader.at = ReaderAt::Chosen,
        Step::Pin => {
            state.session_mut(config.reader_slot()).open = true;
            reader.at = if reader.pack == NONE {
                ReaderAt::Opened
            } else {
                ReaderAt::Located
            };
        }
        Step::Locate => {
            let forbidden = has(generation.condemned | generation.dead, newest);
            if !pinned {
                (reader.at, reader.pack) = (ReaderAt::Located, newest);
            } else if !forbidden || !config.rules.pin_checks_condemned {
                reader.at = if config.rules.pin_before_view {
                    ReaderAt::Located
                } else {
                    ReaderAt::Opened
                };
                reader.pack = newest;
            }
        }
        Step::Fetch => {
            let session = state.session(reader.pack);
            if session.pack == Pack::Here {
                reader.at = ReaderAt::Read;
            } else if pinned {
                // A pin that a maintainer has fenced holds no longer; the read session reads its own `end` to know.
                let own = state.session(config.reader_slot());
                let holds = own.open && own.end == End::Absent;
                reader.at = if holds { ReaderAt::Missing } else { ReaderAt::Refused };
            } else {
                reader.at = if config.rules.missing_against_newest {
                    ReaderAt::Missed
                } else {
                    ReaderAt::Missing
                };
            }
        }
        Step::LocateAgain => {
            if has(state.forgotten, 0) {
                reader.at = ReaderAt::Refused;
            } else if newest == reader.pack {
                reader.at = ReaderAt::Missing;
            } else {
                (reader.at, reader.pack) = (ReaderAt::Located, newest);
            }
        }
        Step::Begin => {
            reader.owed = store::standing(config, state);
            reader.seen = half_of_a_listing(config, state, config.rules.list_before_catalogue);
            reader.at = ReaderAt::Listing;
        }
        Step::Complete => {
            reader.seen |= half_of_a_listing(config, state, !config.rules.list_before_catalogue);
            let lacks = reader.owed & !reader.seen & !state.forgotten != 0;
            reader.at = if lacks { ReaderAt::Incomplete } else { ReaderAt::Read };
        }
        Step::Close => {
            let session = state.session_mut(config.reader_slot());
            if session.end == End::Absent {
                session.end = End::Commit;
            }
            reader.at = ReaderAt::Read;
        }
    }
    if matches!(reader.at, ReaderAt::Read | ReaderAt::Refused) {
        reader = Reader {
            at: reader.at,
            pack: NONE,
            seen: 0,
            owed: 0,
        };
    }
    state.reader = reader;
}

/// What one half of a listing shows: the commits among the sessions' markers, or the catalogue.
fn half_of_a_listing(config: &Config, state: &State, markers: bool) -> Set {
    if markers {
        store::marked_commits(config, state)
    } else {
        state.generation().catalogue
    }
}
