//! What must happen in some state of a configuration, or else its claims would hold for want of anything happening.

use stateright::Property;

use crate::config::{Config, Reading, Store};
use crate::model::Protocol;
use crate::state::{End, MaintainerAt, Pack, ReaderAt, State, WriterAt, has, members, only};
use crate::store;

/// Adds a configuration's witnesses.
pub fn add(config: &Config, all: &mut Vec<Property<Protocol>>) {
    let mut wants = |wanted: bool, name: &'static str, condition: fn(&Protocol, &State) -> bool| {
        if wanted {
            all.push(Property::sometimes(name, condition));
        }
    };
    let shared = config.store != Store::PlainExclusive;
    let rounds: u8 = config.rounds.iter().sum();
    wants(true, "a pack is deleted", pack_deleted);
    wants(shared, "a session is fenced", session_fenced);
    wants(
        shared && config.writers() > 0,
        "a late commit takes a pack back",
        taken_back,
    );
    wants(
        shared && config.retries,
        "a fenced writer commits in a second session",
        second_session,
    );
    wants(
        shared && config.writers() > 1,
        "a session refers to a pack of a session that runs",
        live_dedup,
    );
    wants(
        config.advance,
        "a session commits under an advanced view",
        advanced_commit,
    );
    wants(config.retire, "a session is retired", retired);
    wants(config.retire && rounds > 1, "a dead pack leaves the list", unlisted);
    wants(
        config.repackers > 0 && !config.base_forgotten,
        "a relocation is completed",
        relocated,
    );
    wants(config.rewrite, "a table is dropped", table_dropped);
    wants(
        config.lost_replies > 0,
        "a commit is told by reading it back",
        read_back,
    );
    wants(
        config.reader == Reading::Unpinned,
        "a reader misses and looks again",
        missed,
    );
    wants(
        config.reader == Reading::Pinned,
        "a pinned reader reads to the end",
        read,
    );
    wants(
        config.reader == Reading::Pinned,
        "a reader's pin is fenced and it says so",
        refused,
    );
}

fn pack_deleted(_: &Protocol, state: &State) -> bool {
    state.sessions.iter().any(|session| session.pack == Pack::Gone)
}

fn session_fenced(model: &Protocol, state: &State) -> bool {
    store::slots(&model.0).any(|slot| store::outcome(&model.0, state, slot) == store::Outcome::Fenced)
}

fn taken_back(_: &Protocol, state: &State) -> bool {
    state
        .maintainers
        .iter()
        .any(|me| me.at == MaintainerAt::Ready && me.fold != 0)
}

fn second_session(_: &Protocol, state: &State) -> bool {
    state
        .writers
        .iter()
        .any(|writer| writer.again && writer.at == WriterAt::Saved)
}

/// Two hold one pack that is in no index level: one wrote it and runs, the other found it in its segment.
fn live_dedup(model: &Protocol, state: &State) -> bool {
    state.writers.iter().any(|writer| {
        has(!state.generation().levels, writer.held)
            && writer.held < model.0.slots()
            && state.session(writer.held).end == End::Absent
            && state.writers.iter().filter(|other| other.held == writer.held).count() > 1
    })
}

fn advanced_commit(model: &Protocol, state: &State) -> bool {
    members(store::reported(&model.0, state)).any(|slot| state.session(slot).at > 1)
}

fn retired(_: &Protocol, state: &State) -> bool {
    members(state.generation().folded & !only(0)).any(|slot| !state.session(slot).open)
}

fn unlisted(_: &Protocol, state: &State) -> bool {
    let generation = state.generation();
    state.session(0).pack == Pack::Gone && !has(generation.dead | generation.condemned, 0)
}

/// The old pack is gone, and the snapshot is found in the new one.
fn relocated(_: &Protocol, state: &State) -> bool {
    let place = store::place_of_base(state, &state.generation().tables);
    state.session(0).pack == Pack::Gone && !has(state.forgotten, 0) && state.session(place).pack == Pack::Here
}

fn table_dropped(model: &Protocol, state: &State) -> bool {
    let generation = state.generation();
    (0..model.0.repackers)
        .map(|index| model.0.repacker_slot(index))
        .any(|table| {
            has(generation.folded, table)
                && state.session(table).end == End::Commit
                && !generation.tables.contains(&table)
        })
}

fn read_back(model: &Protocol, state: &State) -> bool {
    state.lost < model.0.lost_replies && store::reported(&model.0, state) != 0
}

fn missed(_: &Protocol, state: &State) -> bool {
    state.reader.at == ReaderAt::Missed
}

fn read(_: &Protocol, state: &State) -> bool {
    state.reader.at == ReaderAt::Read
}

fn refused(_: &Protocol, state: &State) -> bool {
    state.reader.at == ReaderAt::Refused
}
