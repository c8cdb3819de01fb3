//! What a session that writes does, store operation by store operation: backups and repacks.

use crate::config::{Config, Store};
use crate::state::{End, NONE, Pack, Set, Slot, State, Writer, WriterAt, flag, has, members, only};
use crate::store;

/// One step of a session that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Lists other sessions' segments before `open` (only where rule B2 is off).
    ListEarly,
    /// Lists which sessions run, some time before their segments (only where that rule is off).
    ListRunning,
    /// Reads the newest generation before `open` (only where W1 is off).
    ViewEarly,
    /// PUT `open`.
    Open,
    /// GET the newest generation: the view.
    View,
    /// LIST sessions, look the blob up, refer to this pack.
    Refer(Slot),
    /// LIST sessions, look the blob up, find it nowhere.
    Upload,
    /// PUT pack, segment and reference list.
    PutPack,
    /// A repacker picks a pack and the blobs to move.
    Move(Slot, u8),
    /// Create `end` = COMMIT.
    Commit,
    /// The same, done, but the answer is lost.
    CommitUnanswered,
    /// GET `end` after a lost answer.
    ReadBack,
    /// GET `open` after the commit.
    Confirm,
    /// GET `fence` after `commit` (no create-if-absent).
    ReadFence,
    /// W4: GET the newest generation again.
    ViewAgain,
    /// W4: PUT `at-<v>`.
    Announce,
}

/// The steps a writer can take.
pub fn steps(config: &Config, state: &State, index: u8, out: &mut Vec<Step>) {
    let writer = &state.writers[usize::from(index)];
    let own = config.writer_slot(index, writer.again);
    match writer.at {
        WriterAt::Idle => {
            let viewed = writer.next != 0;
            out.push(Step::Open);
            if !config.rules.open_before_view && !viewed {
                out.push(Step::ViewEarly);
            }
            if !config.rules.open_seen_after_view && writer.early == 0 {
                out.push(Step::ListEarly);
            }
        }
        WriterAt::Opened => out.push(Step::View),
        WriterAt::Viewed => {
            if !config.rules.runs_after_segments_are_listed && writer.early == 0 {
                out.push(Step::ListRunning);
            }
            look_up(config, state, index, out);
            push_advance(config, state, writer, out);
        }
        WriterAt::Uploading => {
            out.push(Step::PutPack);
            if !config.rules.durable_before_commit {
                out.push(Step::Commit);
            }
        }
        WriterAt::Holding => {
            out.push(Step::Commit);
            if state.lost > 0 && config.conditional() && state.session(own).end == End::Absent {
                out.push(Step::CommitUnanswered);
            }
            push_advance(config, state, writer, out);
        }
        WriterAt::Rechecking => {
            if writer.held != NONE && (writer.held == own || !config.rules.recheck_before_at) {
                out.push(Step::Refer(writer.held));
            } else {
                look_up(config, state, index, out);
            }
        }
        WriterAt::Announcing => out.push(Step::Announce),
        WriterAt::Unsure => out.push(Step::ReadBack),
        WriterAt::Confirming => out.push(Step::Confirm),
        WriterAt::Fencecheck => out.push(Step::ReadFence),
        WriterAt::Saved | WriterAt::Failed => {}
    }
}

fn push_advance(config: &Config, state: &State, writer: &Writer, out: &mut Vec<Step>) {
    if config.advance && !writer.advanced && state.newest > 1 {
        out.push(Step::ViewAgain);
    }
}

fn look_up(config: &Config, state: &State, index: u8, out: &mut Vec<Step>) {
    let writer = &state.writers[usize::from(index)];
    let own = config.writer_slot(index, writer.again);
    if writer.again && !config.rules.recheck_after_fence && writer.held != NONE {
        out.push(Step::Refer(writer.held));
        return;
    }
    let blob = store::blob_of(config, own);
    let mut found = writer.usable | (store::listed_segments(config, state, blob) & !writer.blocked);
    found |= if config.rules.runs_after_segments_are_listed {
        writer.early & !writer.blocked
    } else {
        store::segments(state, writer.early) & store::holding(config, state, blob) & !writer.blocked
    };
    if config.hints && !config.rules.known_to_the_view && !has(writer.blocked, 0) {
        found |= only(0);
    }
    found &= !only(own);
    if has(found, writer.held) {
        // Checked again and still good.
        found = only(writer.held);
    }
    out.extend(members(found).map(Step::Refer));
    if found == 0 {
        out.push(Step::Upload);
    }
}

/// The state after a writer's step.
pub fn apply(config: &Config, state: &mut State, index: u8, step: Step) {
    let mut writer = state.writers[usize::from(index)];
    let own = config.writer_slot(index, writer.again);
    let blob = store::blob_of(config, own);
    match step {
        Step::ListEarly => writer.early = store::listed_segments(config, state, blob),
        Step::ListRunning => {
            let runs = |slot: &Slot| {
                state.session(*slot).open && store::outcome(config, state, *slot) == store::Outcome::Running
            };
            writer.early = store::slots(config).filter(runs).fold(0, |set, slot| set | only(slot));
        }
        Step::ViewEarly => {
            (writer.usable, writer.blocked) = store::view_of(config, state, state.generation(), blob);
            writer.next = state.newest;
        }
        Step::Open => {
            state.session_mut(own).open = true;
            // A view that was read too early is kept.
            writer.at = if writer.next == 0 {
                WriterAt::Opened
            } else {
                WriterAt::Viewed
            };
            writer.next = 0;
        }
        Step::View => {
            (writer.usable, writer.blocked) = store::view_of(config, state, state.generation(), blob);
            writer.at = WriterAt::Viewed;
        }
        Step::Refer(pack) => {
            writer.held = pack;
            forget_view(&mut writer);
            writer.at = settled(&writer);
        }
        Step::Upload => {
            writer.held = own;
            forget_view(&mut writer);
            writer.at = WriterAt::Uploading;
        }
        Step::Move(..) => unreachable!("writers do not repack"),
        Step::PutPack => {
            state.session_mut(own).pack = Pack::Here;
            state.session_mut(own).segment = true;
            writer.at = settled(&writer);
        }
        Step::Commit => commit(config, state, &mut writer, own, false),
        Step::CommitUnanswered => {
            state.lost -= 1;
            commit(config, state, &mut writer, own, true);
        }
        Step::ReadBack => match state.session(own).end {
            End::Commit => writer.at = WriterAt::Confirming,
            End::Fenced => fenced(config, &mut writer),
            // Retired in between; creating it again shows that, because `open` is gone.
            End::Absent => writer.at = WriterAt::Holding,
        },
        Step::Confirm => {
            let stands = state.session(own).open
                || !config.rules.read_open_after_commit
                || has(state.generation().catalogue, own);
            writer.at = if stands { WriterAt::Saved } else { WriterAt::Failed };
        }
        Step::ReadFence => {
            if config.rules.read_fence_after_commit && state.session(own).flags & flag::FENCE != 0 {
                fenced(config, &mut writer);
            } else {
                writer.at = WriterAt::Confirming;
            }
        }
        Step::ViewAgain => {
            let view = store::view_of(config, state, state.generation(), blob);
            writer.advanced = true;
            writer.next = state.newest;
            if writer.held == NONE && !config.rules.new_view_for_new_references {
                // Announces the new view but goes on looking things up in the old one.
                writer.at = WriterAt::Announcing;
            } else {
                (writer.usable, writer.blocked) = view;
                writer.at = WriterAt::Rechecking;
            }
        }
        Step::Announce => {
            state.session_mut(own).at = writer.next;
            writer.next = 0;
            writer.at = if writer.held == NONE {
                WriterAt::Viewed
            } else {
                WriterAt::Holding
            };
        }
    }
    if matches!(writer.at, WriterAt::Saved | WriterAt::Failed) {
        let again = writer.again;
        writer = Writer {
            at: writer.at,
            again,
            ..Writer::default()
        };
    }
    state.writers[usize::from(index)] = writer;
}

/// The view's lists are not needed once the reference is chosen.
fn forget_view(writer: &mut Writer) {
    writer.usable = 0;
    writer.blocked = 0;
    writer.early = 0;
}

/// Where a writer goes once all it names is durable.
fn settled(writer: &Writer) -> WriterAt {
    if writer.next == 0 {
        WriterAt::Holding
    } else {
        WriterAt::Announcing
    }
}

fn commit(config: &Config, state: &mut State, writer: &mut Writer, own: Slot, unanswered: bool) {
    let session = state.session_mut(own);
    if config.store != Store::CreateIfAbsent {
        session.flags |= flag::COMMIT;
        session.names = writer.held;
        writer.at = WriterAt::Fencecheck;
        return;
    }
    if session.end == End::Absent {
        session.end = End::Commit;
        session.names = writer.held;
        writer.at = if unanswered {
            WriterAt::Unsure
        } else {
            WriterAt::Confirming
        };
    } else if session.end == End::Commit || !config.rules.read_back_end {
        // "Exists": our own, or taken for our own without looking.
        writer.at = WriterAt::Confirming;
    } else {
        fenced(config, writer);
    }
}

/// A fenced writer starts a second session and carries its reference over as a hint.
fn fenced(config: &Config, writer: &mut Writer) {
    if config.retries && !writer.again {
        let held = if config.rules.recheck_after_fence {
            NONE
        } else {
            writer.held
        };
        *writer = Writer {
            again: true,
            held,
            advanced: true,
            ..Writer::default()
        };
    } else {
        writer.at = WriterAt::Failed;
    }
}

/// The steps a repacker can take.
pub fn repack_steps(config: &Config, state: &State, index: u8, out: &mut Vec<Step>) {
    let repacker = &state.repackers[usize::from(index)];
    let own = config.repacker_slot(index);
    match repacker.at {
        WriterAt::Idle => out.push(Step::Open),
        WriterAt::Opened => {
            let generation = state.generation();
            let blocked: Set = generation.condemned | generation.dead;
            for source in members(generation.levels & !blocked & !only(own)) {
                let all = store::contents(config, state, source);
                let free = [1, 2].into_iter().filter(|blob| {
                    all & blob != 0 && store::moved_to(state, &generation.tables, source, *blob).is_none()
                });
                let free: u8 = free.sum();
                out.extend(
                    (1..4)
                        .filter(|moved| moved & !free == 0)
                        .map(|moved| Step::Move(source, moved)),
                );
            }
        }
        WriterAt::Uploading => out.push(Step::PutPack),
        WriterAt::Holding => out.push(Step::Commit),
        WriterAt::Viewed
        | WriterAt::Rechecking
        | WriterAt::Announcing
        | WriterAt::Unsure
        | WriterAt::Confirming
        | WriterAt::Fencecheck
        | WriterAt::Saved
        | WriterAt::Failed => {}
    }
}

/// The state after a repacker's step.
pub fn repack(config: &Config, state: &mut State, index: u8, step: Step) {
    let mut repacker = state.repackers[usize::from(index)];
    let own = config.repacker_slot(index);
    match step {
        Step::Open => {
            state.session_mut(own).open = true;
            repacker.at = WriterAt::Opened;
        }
        Step::Move(source, moved) => {
            repacker.held = source;
            state.session_mut(own).moved = moved;
            repacker.at = WriterAt::Uploading;
        }
        Step::PutPack => {
            // What is not there cannot be copied.
            if state.session(repacker.held).pack == Pack::Here {
                state.session_mut(own).pack = Pack::Here;
                state.session_mut(own).segment = true;
                repacker.at = WriterAt::Holding;
            } else {
                repacker = Writer {
                    at: WriterAt::Failed,
                    ..Writer::default()
                };
            }
        }
        Step::Commit => {
            let session = state.session_mut(own);
            let free = session.end == End::Absent;
            if free {
                session.end = End::Commit;
                session.names = repacker.held;
            }
            let at = if free { WriterAt::Saved } else { WriterAt::Failed };
            repacker = Writer {
                at,
                ..Writer::default()
            };
        }
        Step::ListEarly
        | Step::ListRunning
        | Step::ViewEarly
        | Step::View
        | Step::Refer(_)
        | Step::Upload
        | Step::CommitUnanswered
        | Step::ReadBack
        | Step::Confirm
        | Step::ReadFence
        | Step::ViewAgain
        | Step::Announce => unreachable!("repackers do not do this"),
    }
    state.repackers[usize::from(index)] = repacker;
}
