//! What maintenance does, store operation by store operation: condemn, wait or fence, declare dead, delete, retire.

use crate::config::{Config, Store};
use crate::plans;
use crate::state::{End, Maintainer, MaintainerAt, Pack, Slot, State, Writer, WriterAt, flag, members};
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
        if state.exclusive == 0 && me.rounds > 0 && plans::plan(config, state, index).is_some() {
            out.push(Step::Enter);
        }
        return;
    }
    if entered {
        out.push(Step::Die);
    }
    match me.at {
        MaintainerAt::Idle => {
            if me.rounds > 0 && plans::plan(config, state, index).is_some() {
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
            if let Some(planned) = plans::plan(config, state, index) {
                me = Maintainer {
                    at: MaintainerAt::Planned,
                    rounds: me.rounds - 1,
                    ..planned
                };
                if !config.rules.list_after_publish {
                    me.wait = plans::barrier(config, state, me.base + 1);
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
                me.wait = plans::barrier(config, state, me.condemned_in);
            }
            me.at = MaintainerAt::Barrier;
        }
        Step::Fence(slot) => {
            let session = state.session_mut(slot);
            if session.end == End::Absent {
                session.end = End::Fenced;
                session.counted = session.segment;
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
        Step::Judge => match plans::judge(config, state, &me, index) {
            Some(verdict) => me = verdict,
            None => finish(state, &mut me),
        },
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
        (next.catalogue, next.tables) = plans::fold_into(config, state, &next, me.fold);
        next.folded |= me.fold;
        plans::drop_tables(config, state, &mut next);
        next.levels |= me.listed & !next.dead;
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
            listed: 0,
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
