//! What needs no memory: users forget, and any maintainer, even one that was paused for a year, deletes what the
//! newest generation lists as dead and retires what it lists as folded.

use crate::config::{Config, Role, Store};
use crate::state::{End, Pack, Slot, State, has, members};
use crate::store;

/// One step without a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A user forgets a session's snapshot.
    Forget(Slot),
    /// DELETE a pack that the newest generation lists as dead.
    DeletePack(Slot),
    /// DELETE `open` of a folded session.
    DeleteOpen(Slot),
    /// DELETE the segment of a folded session.
    DeleteSegment(Slot),
    /// DELETE `end` of a folded session.
    DeleteEnd(Slot),
    /// DELETE a pack found under a fenced session's prefix at sight (only where rule B5 is off).
    DeleteJunk(Slot),
    /// A copy of the PUT of `open` lands late (only where that rule is off).
    Echo(Slot),
    /// DELETE all generations but the newest (only where that rule is off).
    DeleteGenerations,
}

/// The steps that can be taken.
pub fn steps(config: &Config, state: &State, out: &mut Vec<Step>) {
    let generation = state.generation();
    if state.exclusive == 0 {
        for slot in store::slots(config) {
            let may = match config.role(slot) {
                Role::Base => config.forget_base,
                Role::Writer(_) => config.forget_others,
                Role::Repacker(_) | Role::Reader | Role::Unused => false,
            };
            if may && !has(state.forgotten, slot) && store::valid(config, state, slot) {
                out.push(Step::Forget(slot));
            }
        }
    }
    if config.store != Store::CreateIfAbsent {
        return;
    }
    if !config.generations_change() {
        out.extend(members(generation.dead & store::packs_here(state)).map(Step::DeletePack));
    }
    if config.retire {
        retiring(config, state, out);
    }
    if !config.rules.junk_is_condemned_first {
        let named = store::referenced(config, state, &generation.tables, generation.catalogue);
        let junk = generation.folded & !generation.catalogue & !generation.levels & !named;
        out.extend(members(junk & store::packs_here(state)).map(Step::DeleteJunk));
    }
    if !config.rules.fresh_id_after_lost_open {
        let retired = |slot: &Slot| *slot != 0 && !state.session(*slot).open;
        out.extend(members(generation.folded).filter(retired).map(Step::Echo));
    }
    if !config.rules.keep_generations && state.newest > 1 && !state.pruned {
        out.push(Step::DeleteGenerations);
    }
}

fn retiring(config: &Config, state: &State, out: &mut Vec<Step>) {
    let folded = state.generation().folded;
    for slot in store::slots(config) {
        let session = state.session(slot);
        let ended = session.end != End::Absent;
        if !has(folded, slot) && (config.rules.fold_before_retiring || !ended) {
            continue;
        }
        if session.open && (config.rules.open_goes_first || !ended) {
            out.push(Step::DeleteOpen(slot));
        }
        if session.segment && !session.open {
            out.push(Step::DeleteSegment(slot));
        }
        if session.end == End::Fenced && config.rules.keep_fenced_ends {
            continue;
        }
        if ended && (!session.open && !session.segment || !config.rules.open_goes_first) {
            out.push(Step::DeleteEnd(slot));
        }
    }
}

/// The state after a step.
pub fn apply(state: &mut State, step: Step) {
    match step {
        Step::Forget(slot) => state.forgotten |= 1 << slot,
        Step::DeletePack(pack) | Step::DeleteJunk(pack) => state.session_mut(pack).pack = Pack::Gone,
        Step::DeleteOpen(slot) => {
            state.session_mut(slot).open = false;
            state.session_mut(slot).at = 0;
        }
        Step::Echo(slot) => state.session_mut(slot).open = true,
        Step::DeleteSegment(slot) => state.session_mut(slot).segment = false,
        Step::DeleteEnd(slot) => state.session_mut(slot).end = End::Absent,
        Step::DeleteGenerations => state.pruned = true,
    }
}
