//! What maintenance does, store operation by store operation: condemn, wait or fence, declare dead, delete, retire.

use crate::config::{Config, Reading, Role, Store};
use crate::state::{
    End, Generation, Maintainer, MaintainerAt, Pack, Set, Slot, State, Writer, WriterAt, flag, has, members, only,
};
use crate::store::{self, Outcome};

/// One step of a maintainer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The operator vouches that nothing else runs (no create-if-absent).
    Enter,
    /// An exclusive run dies half-way.
    Die,
    /// G1: GET the newest generation, LIST sessions and packs, GET reference lists; plan.
    Plan,
    /// G1: create the condemning generation.
    Publish,
    /// The same, done, but the answer is lost.
    PublishUnanswered,
    /// GET the generation after a lost answer.
    ReadBack,
    /// G2: LIST sessions.
    List,
    /// G2: create `end` = FENCED of a session.
    Fence(Slot),
    /// PUT `fence` of a session (no create-if-absent).
    PutFence(Slot),
    /// GET `commit` of the session being fenced; if it is there, note that it counts (no create-if-absent).
    ReadCommit,
    /// PUT `fence-final` of the session being fenced (no create-if-absent).
    PutFinal,
    /// G3: GET the newest generation and late reference lists; plan.
    Judge,
    /// G3: create the next generation.
    Declare,
    /// The same, done, but the answer is lost.
    DeclareUnanswered,
    /// G4: DELETE a pack that the maintainer's own generation declared dead.
    Delete(Slot),
    /// G4: all is deleted.
    Finish,
}

/// The steps a maintainer can take.
pub fn steps(config: &Config, state: &State, index: u8, out: &mut Vec<Step>) {
    let me = &state.maintainers[usize::from(index)];
    let entered = state.exclusive == index + 1;
    if config.store == Store::PlainExclusive && !entered {
        if state.exclusive == 0 && me.rounds > 0 && plan(config, state, index).is_some() {
            out.push(Step::Enter);
        }
        return;
    }
    if entered {
        out.push(Step::Die);
    }
    match me.at {
        MaintainerAt::Idle => {
            if me.rounds > 0 && plan(config, state, index).is_some() {
                out.push(Step::Plan);
            }
        }
        MaintainerAt::Planned => push_create(config, state, Step::Publish, Step::PublishUnanswered, out),
        MaintainerAt::UnsurePlan | MaintainerAt::UnsureReady => out.push(Step::ReadBack),
        MaintainerAt::Published => out.push(Step::List),
        MaintainerAt::Barrier => {
            if me.fencing.0 != 0 {
                out.push(if me.fencing.1 { Step::PutFinal } else { Step::ReadCommit });
                return;
            }
            let open = |slot: &Slot| store::outcome(config, state, *slot) == Outcome::Running;
            let old = |slot: &Slot| state.session(*slot).at < me.condemned_in;
            if config.conditional() {
                out.extend(members(me.wait).filter(open).filter(old).map(Step::Fence));
            } else {
                // Between looking for a commit and putting the fence, the commit may come.
                let undecided =
                    |slot: &Slot| state.session(*slot).flags & (flag::FINAL | flag::COUNTED | flag::FENCE) == 0;
                let stuck = |slot: &Slot| state.session(*slot).flags & flag::FENCE != 0 && open(slot);
                let fence = members(me.wait)
                    .filter(|slot| undecided(slot) || stuck(slot))
                    .filter(old);
                out.extend(fence.map(Step::PutFence));
            }
            // A session whose `open` is gone was retired by somebody else; the catalogue knows it.
            let settled = |slot: Slot| !open(&slot) || !old(&slot) || !state.session(slot).open;
            if state.newest < config.last_generation && members(me.wait).all(settled) {
                out.push(Step::Judge);
            }
        }
        MaintainerAt::Ready => {
            push_create(config, state, Step::Declare, Step::DeclareUnanswered, out);
            if !config.rules.publish_dead_before_delete {
                out.extend(members(me.packs & store::packs_here(state)).map(Step::Delete));
            }
        }
        MaintainerAt::Deleting => {
            let left = me.packs & store::packs_here(state);
            out.extend(members(left).map(Step::Delete));
            if left == 0 {
                out.push(Step::Finish);
            }
        }
    }
}

fn push_create(config: &Config, state: &State, answered: Step, unanswered: Step, out: &mut Vec<Step>) {
    out.push(answered);
    if state.lost > 0 && config.conditional() {
        out.push(unanswered);
    }
}

/// What a round would do, from the newest generation and a list made now; nothing if there is nothing to do.
fn plan(config: &Config, state: &State, index: u8) -> Option<Maintainer> {
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
                .filter(|pack| !state.session(*pack).open)
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
fn fold_into(config: &Config, state: &State, generation: &Generation, fold: Set) -> (Set, [Slot; 2]) {
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
fn drop_tables(config: &Config, state: &mut State, next: &mut Generation) {
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
fn barrier(config: &Config, state: &State, number: u8) -> Set {
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

/// The state after a maintainer's step.
pub fn apply(config: &Config, state: &mut State, index: u8, step: Step) {
    let mut me = state.maintainers[usize::from(index)];
    match step {
        Step::Enter => {
            state.exclusive = index + 1;
            for writer in &mut state.writers {
                // What was under way is vouched to be dead; what has not begun may begin later.
                let begun = writer.at != WriterAt::Idle || writer.again;
                if begun && writer.at != WriterAt::Saved {
                    *writer = Writer {
                        at: WriterAt::Failed,
                        again: writer.again,
                        ..Writer::default()
                    };
                }
            }
        }
        Step::Die => finish(state, &mut me),
        Step::Plan => {
            if let Some(planned) = plan(config, state, index) {
                me = Maintainer {
                    at: MaintainerAt::Planned,
                    rounds: me.rounds - 1,
                    ..planned
                };
                if !config.rules.list_after_publish {
                    me.wait = barrier(config, state, me.base + 1);
                }
            }
        }
        Step::Publish => create(config, state, &mut me, index, true, false),
        Step::PublishUnanswered => create(config, state, &mut me, index, true, true),
        Step::Declare => create(config, state, &mut me, index, false, false),
        Step::DeclareUnanswered => create(config, state, &mut me, index, false, true),
        Step::ReadBack => {
            let first = me.at == MaintainerAt::UnsurePlan;
            let mine =
                !config.rules.read_back_generation || state.generations[usize::from(me.base) + 1].by == index + 1;
            created(config, state, &mut me, first, mine);
        }
        Step::List => {
            if config.rules.list_after_publish {
                me.wait = barrier(config, state, me.condemned_in);
            }
            me.at = MaintainerAt::Barrier;
        }
        Step::Fence(slot) => {
            let session = state.session_mut(slot);
            if session.end == End::Absent {
                session.end = End::Fenced;
            }
        }
        Step::PutFence(slot) => {
            state.session_mut(slot).flags |= flag::FENCE;
            me.fencing = (slot, !config.rules.read_commit_after_fence);
        }
        Step::ReadCommit => {
            let session = state.session_mut(me.fencing.0);
            if session.flags & flag::COMMIT != 0 {
                session.flags |= flag::COUNTED;
                me.fencing = (0, false);
            } else {
                me.fencing.1 = true;
            }
        }
        Step::PutFinal => {
            state.session_mut(me.fencing.0).flags |= flag::FINAL;
            me.fencing = (0, false);
        }
        Step::Judge => judge(config, state, &mut me, index),
        Step::Delete(pack) => state.session_mut(pack).pack = Pack::Gone,
        Step::Finish => finish(state, &mut me),
    }
    state.maintainers[usize::from(index)] = me;
}

/// Ends a round.
fn finish(state: &mut State, me: &mut Maintainer) {
    *me = Maintainer {
        rounds: me.rounds,
        ..Maintainer::default()
    };
    state.exclusive = 0;
}

/// Creates the generation that was planned: the condemning one, or the one that declares packs dead.
fn create(config: &Config, state: &mut State, me: &mut Maintainer, index: u8, first: bool, unanswered: bool) {
    let succeeds = first || config.rules.succeed_the_newest;
    let number = if succeeds { me.base + 1 } else { state.newest + 1 };
    let conditional = config.conditional() && config.rules.create_generations_if_absent;
    let taken = number <= state.newest;
    let deleted = state.pruned && number < state.newest;
    if taken && conditional && !deleted {
        // "Exists": read back, found to be another's; or taken for our own without looking.
        created(config, state, me, first, !config.rules.read_back_generation);
        return;
    }
    state.clash |= taken;
    let mut next = state.generations[usize::from(me.base)];
    next.by = index + 1;
    if first {
        next.condemned |= me.packs;
        for pack in members(me.packs) {
            next.since[usize::from(pack)] = number;
        }
        next.dead &= !me.drop;
        (next.catalogue, next.tables) = fold_into(config, state, &next, me.fold);
        next.folded |= me.fold;
        drop_tables(config, state, &mut next);
        next.levels |= me.fold & store::packs_here(state) & !next.dead;
    } else {
        next.dead |= me.packs;
        next.condemned &= !(me.packs | me.fold);
        next.levels &= !me.packs;
        for pack in members(me.packs | me.fold) {
            next.since[usize::from(pack)] = 0;
        }
    }
    state.generations[usize::from(number)] = next;
    state.newest = state.newest.max(number);
    if unanswered {
        state.lost -= 1;
        me.at = if first {
            MaintainerAt::UnsurePlan
        } else {
            MaintainerAt::UnsureReady
        };
    } else if first && next.condemned == 0 {
        // Nothing to wait for.
        finish(state, me);
    } else {
        created(config, state, me, first, true);
    }
}

/// Goes on after an attempt to create a generation: it is this maintainer's own, or it has to start again.
fn created(config: &Config, state: &mut State, me: &mut Maintainer, first: bool, mine: bool) {
    let rules = &config.rules;
    let rounds = me.rounds;
    if first && mine {
        let remembers =
            !(rules.count_late_commits && rules.late_commits_from_catalogue && rules.late_by_condemning_generation);
        let counted = if remembers { state.generation().catalogue } else { 0 };
        let wait = if rules.list_after_publish { 0 } else { me.wait };
        let at = MaintainerAt::Published;
        *me = Maintainer {
            at,
            rounds,
            condemned_in: me.base + 1,
            wait,
            counted,
            ..Maintainer::default()
        };
    } else if first {
        *me = Maintainer {
            rounds: rounds + 1,
            ..Maintainer::default()
        };
    } else if !mine {
        *me = Maintainer {
            at: MaintainerAt::Barrier,
            base: 0,
            packs: 0,
            fold: 0,
            ..*me
        };
    } else if config.generations_change() || !rules.read_back_generation {
        *me = Maintainer {
            at: MaintainerAt::Deleting,
            rounds,
            packs: me.packs,
            ..Maintainer::default()
        };
    } else {
        // Anybody may delete what the generation lists as dead; see `upkeep.rs`.
        finish(state, me);
    }
}

/// G3: decides which condemned packs die and which are taken back.
fn judge(config: &Config, state: &mut State, me: &mut Maintainer, index: u8) {
    let rules = &config.rules;
    let generation = *state.generation();
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
        finish(state, me);
        return;
    }
    me.at = MaintainerAt::Ready;
    me.base = state.newest;
    me.packs = judged & !spared;
    me.fold = judged & spared;
}
