//! What a maintainer decides, from the newest generation and what it has listed: what to condemn, whom to wait for,
//! what is dead, which tables can go.

use crate::config::{Config, Reading, Role};
use crate::state::{End, Generation, Maintainer, MaintainerAt, Set, Slot, State, has, members, only};
use crate::store::{self, Outcome};

/// What a round would do, from the newest generation and a list made now; nothing if there is nothing to do.
pub fn plan(config: &Config, state: &State, index: u8) -> Option<Maintainer> {
    if state.newest >= config.last_generation {
        return None;
    }
    let generation = state.generation();
    let ended = |slot: &Slot| {
        let session = state.session(*slot);
        (session.open || (!config.rules.commit_needs_open && session.end == End::Commit))
            && store::outcome(config, state, *slot) != Outcome::Running
    };
    let ended: Set = store::slots(config).filter(ended).fold(0, |set, slot| set | only(slot));
    // A zombie's commit of a session that was folded as fenced would be folded a second time.
    let known = if config.rules.commit_needs_open {
        generation.folded
    } else {
        generation.catalogue
    };
    let fold = ended & !known;
    let (catalogue, tables) = fold_into(config, state, generation, fold);
    let tables = order(config, index, tables);
    let mut referenced = store::referenced(config, state, &tables, catalogue);
    if config.rules.pins_spare_packs && pin_stands(config, state) {
        referenced |= only(store::place_of_base(state, &tables));
    }
    let mut candidates = store::packs_here(state) & !generation.condemned & !generation.dead & !referenced;
    if config.rules.condemn_ended_only {
        candidates &= generation.folded | fold;
    }
    let mut drop = 0;
    if config.retire {
        drop = generation.dead & !store::packs_here(state);
        if config.rules.dead_stay_listed {
            drop = members(drop)
                .filter(|pack| !state.session(*pack).open && !state.session(*pack).segment)
                .fold(0, |set, slot| set | only(slot));
        }
    }
    if fold | candidates | drop | generation.condemned == 0 && droppable(config, state, generation) == 0 {
        return None;
    }
    Some(Maintainer {
        base: state.newest,
        packs: candidates,
        fold,
        listed: store::segments(state, fold),
        drop,
        ..Maintainer::default()
    })
}

/// Whether the read session's pin is in the store and not ended.
fn pin_stands(config: &Config, state: &State) -> bool {
    config.reader == Reading::Pinned && {
        let session = state.session(config.reader_slot());
        session.open && session.end == End::Absent
    }
}

/// The catalogue and the tables once more sessions are folded.
pub fn fold_into(config: &Config, state: &State, generation: &Generation, fold: Set) -> (Set, [Slot; 2]) {
    let (mut catalogue, mut tables) = (generation.catalogue, generation.tables);
    for slot in members(fold).filter(|slot| store::outcome(config, state, *slot) == Outcome::Commit) {
        match config.role(slot) {
            Role::Base | Role::Writer(_) => catalogue |= only(slot),
            Role::Repacker(_) => {
                if let Some(free) = tables.iter_mut().find(|table| **table == 0) {
                    *free = slot;
                }
            }
            Role::Reader | Role::Unused => {}
        }
    }
    (catalogue, tables)
}

/// Tables whose source is dead. Every session that could name the source directly has ended, or the source would
/// not have died.
fn droppable(config: &Config, state: &State, generation: &Generation) -> Set {
    let done = |table: &&Slot| **table != 0 && !has(generation.levels, state.session(**table).names);
    if !config.rewrite {
        return 0;
    }
    generation
        .tables
        .iter()
        .filter(done)
        .fold(0, |set, table| set | only(*table))
}

/// Rewrites references past the tables that are dropped. In the store the rewritten lists stand in the catalogue.
pub fn drop_tables(config: &Config, state: &mut State, next: &mut Generation) {
    let drop = droppable(config, state, next);
    if drop == 0 {
        return;
    }
    let listed = if config.rules.rewrite_before_dropping {
        next.catalogue
    } else {
        state.generation().catalogue
    };
    for slot in members(listed) {
        let names = state.session(slot).names;
        state.session_mut(slot).names = store::resolve(state, &next.tables, names, store::blob_of(config, slot));
    }
    let kept = |table: Slot| if has(drop, table) { 0 } else { table };
    let [first, second] = next.tables.map(kept);
    next.tables = if first == 0 { [second, 0] } else { [first, second] };
}

/// The order in which a maintainer follows tables; the second one disagrees where that rule is off.
fn order(config: &Config, index: u8, tables: [Slot; 2]) -> [Slot; 2] {
    let [first, second] = tables;
    if config.rules.one_order_of_tables || index == 0 {
        tables
    } else {
        [second, first]
    }
}

/// The sessions that a barrier on generation `number` has to see ended or advanced.
pub fn barrier(config: &Config, state: &State, number: u8) -> Set {
    let behind = |slot: &Slot| {
        let session = state.session(*slot);
        let old = session.at < number && (session.at != 0 || config.rules.unknown_view_is_old);
        let concerned = config.rules.wait_for_readers || config.role(*slot) != Role::Reader;
        session.open && old && concerned && store::outcome(config, state, *slot) == Outcome::Running
    };
    if !config.rules.wait_or_fence {
        return 0;
    }
    store::slots(config)
        .filter(behind)
        .fold(0, |set, slot| set | only(slot))
}

/// G3: decides which condemned packs die and which are taken back; nothing if there is nothing to decide.
pub fn judge(config: &Config, state: &State, me: &Maintainer, index: u8) -> Option<Maintainer> {
    let rules = &config.rules;
    let generation = state.generation();
    let marked = store::marked_commits(config, state);
    let commits = if !rules.count_late_commits {
        me.counted
    } else if !rules.late_commits_from_catalogue {
        me.counted | marked
    } else if !rules.late_by_condemning_generation {
        (generation.catalogue | marked) & !me.counted
    } else {
        generation.catalogue | marked
    };
    let tables = order(config, index, generation.tables);
    let mut spared = store::referenced(config, state, &tables, commits);
    if !rules.take_back {
        for table in tables.iter().filter(|table| **table != 0) {
            spared &= !only(state.session(*table).names);
        }
    }
    let before_barrier =
        |pack: &Slot| generation.since[usize::from(*pack)] <= me.condemned_in || !rules.only_condemned_before_barrier;
    let judged = members(generation.condemned)
        .filter(before_barrier)
        .fold(0, |set, pack| set | only(pack));
    if judged == 0 {
        return None;
    }
    let (packs, fold) = (judged & !spared, judged & spared);
    Some(Maintainer {
        at: MaintainerAt::Ready,
        base: state.newest,
        packs,
        fold,
        ..*me
    })
}
