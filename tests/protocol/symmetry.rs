//! One name for states that differ in nothing that matters.
//!
//! Generations that nobody can read again are wiped, and writers who want the same blob, like maintainers with equal
//! rounds, are put into one order, their sessions and packs with them. Both are sound: the transitions treat such
//! processes alike, and no claim names one of them.

use crate::config::Config;
use crate::state::{Generation, Maintainer, NONE, SLOTS, Session, Set, Slot, State, Writer, members};

/// Brings a state into its normal form.
pub fn normalise(config: &Config, state: &mut State) {
    if !config.generations_change() {
        for number in 0..state.generations.len() {
            let generation = &mut state.generations[number];
            if config.lost_replies == 0 {
                generation.by = 0;
            }
            if number < usize::from(state.newest) {
                *generation = Generation {
                    by: generation.by,
                    ..Generation::default()
                };
            }
        }
    }
    if config.symmetric {
        order_writers(config, state);
        order_maintainers(config, state);
    }
}

/// How one writer's part of the state looks, apart from what other writers' numbers say.
fn look(config: &Config, state: &State, index: u8) -> (u8, Writer, Session, Session, u64) {
    let generation = state.generation();
    let first = config.writer_slot(index, false);
    let second = if config.retries {
        config.writer_slot(index, true)
    } else {
        first
    };
    let mut sets = 0;
    let [one, two] = &state.maintainers;
    let named = [
        generation.condemned,
        generation.dead,
        generation.levels,
        generation.folded,
        generation.catalogue,
        state.forgotten,
        one.packs,
        one.fold,
        one.wait,
        one.listed,
        two.packs,
        two.fold,
        two.wait,
        two.listed,
    ];
    for set in named {
        sets = sets << 2 | u64::from(set >> first & 1) << 1 | u64::from(set >> second & 1);
    }
    let plain = |slot: Slot| Session {
        names: NONE,
        ..*state.session(slot)
    };
    let writer = Writer {
        held: NONE,
        usable: 0,
        blocked: 0,
        early: 0,
        ..state.writers[usize::from(index)]
    };
    (
        config.wants[usize::from(index)],
        writer,
        plain(first),
        plain(second),
        sets,
    )
}

fn order_writers(config: &Config, state: &mut State) {
    let count = config.writers();
    if count < 2 {
        return;
    }
    let mut order: Vec<u8> = (0..count).collect();
    // Stable, so equal wants stay in the order of the configuration and blobs keep their meaning.
    order.sort_by_cached_key(|index| look(config, state, *index));
    if order.iter().copied().eq(0..count) {
        return;
    }
    let mut place: [Slot; SLOTS] = std::array::from_fn(|slot| slot as Slot);
    for (new, old) in (0..count).zip(&order) {
        place[usize::from(config.writer_slot(*old, false))] = config.writer_slot(new, false);
        if config.retries {
            place[usize::from(config.writer_slot(*old, true))] = config.writer_slot(new, true);
        }
    }
    let old = *state;
    for (new, from) in order.iter().enumerate() {
        state.writers[new] = old.writers[usize::from(*from)];
    }
    for (from, to) in place.iter().enumerate() {
        state.sessions[usize::from(*to)] = old.sessions[from];
        for (new, old) in state.generations.iter_mut().zip(&old.generations) {
            new.since[usize::from(*to)] = old.since[from];
        }
    }
    rename(state, &place);
}

/// Renames slots wherever they are named.
fn rename(state: &mut State, place: &[Slot; SLOTS]) {
    let slot = |slot: &mut Slot| {
        if *slot != NONE {
            *slot = place[usize::from(*slot)];
        }
    };
    let set = |set: &mut Set| *set = members(*set).fold(0, |all, slot| all | 1 << place[usize::from(slot)]);
    state.sessions.iter_mut().for_each(|session| slot(&mut session.names));
    for writer in state.writers.iter_mut().chain(&mut state.repackers) {
        slot(&mut writer.held);
        [&mut writer.usable, &mut writer.blocked, &mut writer.early]
            .into_iter()
            .for_each(set);
    }
    for generation in &mut state.generations {
        let Generation {
            condemned,
            dead,
            levels,
            folded,
            catalogue,
            ..
        } = generation;
        [condemned, dead, levels, folded, catalogue].into_iter().for_each(set);
    }
    for Maintainer {
        packs,
        fold,
        listed,
        drop,
        wait,
        counted,
        fencing,
        ..
    } in &mut state.maintainers
    {
        [packs, fold, listed, drop, wait, counted].into_iter().for_each(set);
        slot(&mut fencing.0);
    }
    slot(&mut state.reader.pack);
    [&mut state.forgotten, &mut state.reader.seen, &mut state.reader.owed]
        .into_iter()
        .for_each(set);
}

fn order_maintainers(config: &Config, state: &mut State) {
    let equal = config.maintainers() == 2 && config.rounds[0] == config.rounds[1];
    // An author's name would have to be renamed too; an exclusive run's as well.
    if !equal || config.lost_replies > 0 || config.generations_change() || !config.conditional() {
        return;
    }
    state.maintainers.sort();
}
