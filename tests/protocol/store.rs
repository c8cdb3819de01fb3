//! What can be read out of the store: who has ended and how, where a blob is, which snapshots stand.

use crate::config::{Config, Role};
use crate::state::{End, Generation, NONE, SLOTS, Set, Slot, State, WriterAt, flag, has, only};

/// What the objects of a session say about its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not ended, or (without create-if-absent) not decided.
    Running,
    /// Committed.
    Commit,
    /// Fenced.
    Fenced,
}

/// How the session ended, by its markers alone.
pub fn outcome(config: &Config, state: &State, slot: Slot) -> Outcome {
    let session = state.session(slot);
    if config.conditional() {
        return match session.end {
            End::Absent => Outcome::Running,
            End::Commit => Outcome::Commit,
            End::Fenced => Outcome::Fenced,
        };
    }
    let set = |bits: u8| session.flags & bits == bits;
    if set(flag::FINAL) {
        Outcome::Fenced
    } else if set(flag::COMMIT) && (!set(flag::FENCE) || set(flag::COUNTED)) {
        Outcome::Commit
    } else {
        Outcome::Running
    }
}

/// The slots in use.
pub fn slots(config: &Config) -> impl Iterator<Item = Slot> + use<> {
    0..config.slots()
}

/// Whether a slot belongs to a session that makes a snapshot.
pub fn makes_snapshot(config: &Config, slot: Slot) -> bool {
    matches!(config.role(slot), Role::Base | Role::Writer(_))
}

/// The blob that the snapshot of a session names.
pub fn blob_of(config: &Config, slot: Slot) -> u8 {
    match config.role(slot) {
        Role::Writer(writer) => config.wants[usize::from(writer)],
        Role::Base | Role::Repacker(_) | Role::Reader | Role::Unused => 1,
    }
}

/// The blobs in a pack.
pub fn contents(config: &Config, state: &State, pack: Slot) -> u8 {
    match config.role(pack) {
        Role::Base => config.base_blobs,
        Role::Writer(writer) => config.wants[usize::from(writer)],
        Role::Repacker(_) => state.session(pack).moved,
        Role::Reader | Role::Unused => 0,
    }
}

/// The pack to which the tables move one blob of a pack, if they do. The table that was folded first wins.
pub fn moved_to(state: &State, tables: &[Slot; 2], pack: Slot, blob: u8) -> Option<Slot> {
    let moves = |table: &&Slot| {
        **table != 0 && state.session(**table).names == pack && state.session(**table).moved & blob != 0
    };
    tables.iter().find(moves).copied()
}

/// The pack in which a reference finds its blob once all tables are followed.
pub fn resolve(state: &State, tables: &[Slot; 2], pack: Slot, blob: u8) -> Slot {
    let mut at = pack;
    // A table moves blobs into a pack that is newer than the table's source, so there is no cycle.
    for _ in 0..SLOTS {
        match moved_to(state, tables, at, blob) {
            Some(next) => at = next,
            None => break,
        }
    }
    at
}

/// The pack in which the base snapshot's blob is found.
pub fn place_of_base(state: &State, tables: &[Slot; 2]) -> Slot {
    resolve(state, tables, state.session(0).names, 1)
}

/// The packs named by the unforgotten snapshots of a set of sessions.
pub fn referenced(config: &Config, state: &State, tables: &[Slot; 2], sessions: Set) -> Set {
    let mut packs = 0;
    for slot in slots(config) {
        let session = state.session(slot);
        if has(sessions & !state.forgotten, slot) && makes_snapshot(config, slot) && session.names != NONE {
            packs |= only(resolve(state, tables, session.names, blob_of(config, slot)));
        }
    }
    packs
}

/// Sessions whose commit stands by its markers.
pub fn marked_commits(config: &Config, state: &State) -> Set {
    let counts = |slot: &Slot| {
        (state.session(*slot).open || !config.rules.commit_needs_open)
            && outcome(config, state, *slot) == Outcome::Commit
    };
    slots(config).filter(counts).fold(0, |set, slot| set | only(slot))
}

/// Packs that are in the store.
pub fn packs_here(state: &State) -> Set {
    (0..SLOTS as Slot)
        .filter(|slot| state.session(*slot).pack == crate::state::Pack::Here)
        .fold(0, |set, slot| set | only(slot))
}

/// Whether a session's snapshot is valid: the catalogue lists it, or its commit and its `open` are there.
pub fn valid(config: &Config, state: &State, slot: Slot) -> bool {
    let session = state.session(slot);
    has(state.generation().catalogue, slot) || (session.open && outcome(config, state, slot) == Outcome::Commit)
}

/// Sessions whose writers have reported: saved.
pub fn reported(config: &Config, state: &State) -> Set {
    (0..config.writers())
        .filter(|writer| state.writers[usize::from(*writer)].at == WriterAt::Saved)
        .fold(0, |set, writer| {
            set | only(config.writer_slot(writer, state.writers[usize::from(writer)].again))
        })
}

/// What a view lets a session refer to for one blob: the packs of its index, and the packs it forbids.
pub fn view_of(config: &Config, state: &State, generation: &Generation, blob: u8) -> (Set, Set) {
    let mut blocked = if config.rules.not_condemned {
        generation.condemned | generation.dead
    } else {
        0
    };
    if config.rules.relocated_is_looked_up_again {
        for pack in slots(config) {
            if moved_to(state, &generation.tables, pack, blob).is_some() {
                blocked |= only(pack);
            }
        }
    }
    (holding(config, state, blob) & generation.levels & !blocked, blocked)
}

/// Packs that hold a blob.
pub fn holding(config: &Config, state: &State, blob: u8) -> Set {
    let holds = slots(config).filter(|pack| contents(config, state, *pack) & blob != 0);
    holds.fold(0, |set, pack| set | only(pack))
}

/// Packs that the segments of some sessions name.
pub fn segments(state: &State, sessions: Set) -> Set {
    (0..SLOTS as Slot)
        .filter(|slot| has(sessions, *slot) && state.session(*slot).segment)
        .fold(0, |set, slot| set | only(slot))
}

/// Packs with a blob that a writer may find in segments of sessions with an `open`, listed now.
pub fn listed_segments(config: &Config, state: &State, blob: u8) -> Set {
    let names = |slot: &Slot| {
        let session = state.session(*slot);
        let counts = session.end != End::Fenced || session.counted || !config.rules.fenced_end_counts_segments;
        session.open && session.segment && counts && contents(config, state, *slot) & blob != 0
    };
    slots(config).filter(names).fold(0, |set, slot| set | only(slot))
}

/// Snapshots that count: valid ones and those reported saved, as long as nobody has forgotten them.
pub fn standing(config: &Config, state: &State) -> Set {
    let valid = slots(config)
        .filter(|slot| makes_snapshot(config, *slot) && valid(config, state, *slot))
        .fold(0, |set, slot| set | only(slot));
    (valid | reported(config, state)) & !state.forgotten
}
