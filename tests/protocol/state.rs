//! One state of the world: what the store holds, and where everybody stands.
//!
//! Everything is small and `Copy`: a session slot owns at most one pack, which carries the slot's number, so a set
//! of packs and a set of sessions are both one byte.

use std::hash::{Hash, Hasher};

/// Number of a session and of its pack.
pub type Slot = u8;
/// Set of slots: bit n stands for slot n.
pub type Set = u8;
/// Most session slots a configuration may use.
pub const SLOTS: usize = 8;
/// Most generations, number 0 (never used) included.
pub const GENERATIONS: usize = 7;
/// No slot.
pub const NONE: Slot = 0xff;

/// The set that holds one slot.
pub fn only(slot: Slot) -> Set {
    1 << slot
}

/// Whether a set holds a slot.
pub fn has(set: Set, slot: Slot) -> bool {
    slot != NONE && set & (1 << slot) != 0
}

/// The slots of a set, lowest first.
pub fn members(set: Set) -> impl Iterator<Item = Slot> {
    (0..SLOTS as Slot).filter(move |slot| has(set, *slot))
}

/// The one `end` object of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum End {
    /// Not there.
    #[default]
    Absent,
    /// The session's own commit.
    Commit,
    /// Written by a maintainer.
    Fenced,
}

/// A pack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pack {
    /// Not written yet.
    #[default]
    Absent,
    /// In the store.
    Here,
    /// Deleted.
    Gone,
}

/// Without create-if-absent, the objects that stand for `end`.
pub mod flag {
    /// The writer's `commit`.
    pub const COMMIT: u8 = 1;
    /// A maintainer's `fence`.
    pub const FENCE: u8 = 2;
    /// A maintainer found no commit behind its fence.
    pub const FINAL: u8 = 4;
    /// A maintainer found the commit and counts it.
    pub const COUNTED: u8 = 8;
}

/// What the store holds of one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Session {
    /// `s/<sid>/open`.
    pub open: bool,
    /// `s/<sid>/end`.
    pub end: End,
    /// The objects in place of `end` on a store without create-if-absent, see [`flag`].
    pub flags: u8,
    /// Number of the newest `s/<sid>/at-<g>`; 0 where there is none.
    pub at: u8,
    /// `p/<sid>/0`.
    pub pack: Pack,
    /// `x/<sid>/0`, which names the pack and may outlive it.
    pub segment: bool,
    /// `end` = FENCED counts the segment: it was there when the maintainer looked.
    pub counted: bool,
    /// The pack that the session's reference list names, in a repack session the one its table moves blobs out of.
    pub names: Slot,
    /// Blobs that a repack session's table moves.
    pub moved: u8,
}

/// One generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation {
    /// Who wrote it (0 nobody, 1 and 2 the maintainers), kept only where answers may be lost.
    pub by: u8,
    /// Condemned packs.
    pub condemned: Set,
    /// For each condemned pack the generation that condemned it.
    pub since: [u8; SLOTS],
    /// Dead packs that are still listed.
    pub dead: Set,
    /// Packs that the index levels name.
    pub levels: Set,
    /// Ended sessions that were folded.
    pub folded: Set,
    /// The snapshot catalogue: folded sessions whose end is a commit.
    pub catalogue: Set,
    /// Repack sessions whose tables are in force, in the order in which they were folded.
    pub tables: [Slot; 2],
}

/// Where a session that writes stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WriterAt {
    /// Nothing done (in a second session: the first was fenced).
    #[default]
    Idle,
    /// `open` is written.
    Opened,
    /// The newest generation was read.
    Viewed,
    /// A blob was not found and is to be written into an own pack.
    Uploading,
    /// Everything it will name is durable.
    Holding,
    /// A newer generation was read; held references are to be checked.
    Rechecking,
    /// Checked; `at-<v>` is to be written.
    Announcing,
    /// `end` was created but the answer was lost.
    Unsure,
    /// `end` is there; `open` is to be read.
    Confirming,
    /// Without create-if-absent: `commit` is put, `fence` is to be read.
    Fencecheck,
    /// Reported: saved.
    Saved,
    /// Reported: failed; or, in an exclusive run, gone for good.
    Failed,
}

/// A writer: a process that saves one blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Writer {
    /// Where it stands.
    pub at: WriterAt,
    /// Whether it is in its second session.
    pub again: bool,
    /// Whether it has used its one advance.
    pub advanced: bool,
    /// Packs of its view's index that it may refer to.
    pub usable: Set,
    /// Packs that its view forbids.
    pub blocked: Set,
    /// The generation it is advancing to.
    pub next: u8,
    /// The pack it refers to.
    pub held: Slot,
    /// Packs of other sessions' segments, listed too early (only where rule B2 is off); sessions that ran before the segments were listed (only
    /// where that rule is off).
    pub early: Set,
}

/// Where a maintainer stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MaintainerAt {
    /// Between rounds.
    #[default]
    Idle,
    /// G1: newest generation read, sessions listed, plan made.
    Planned,
    /// G1: created, but the answer was lost.
    UnsurePlan,
    /// G2: the condemning generation is acknowledged.
    Published,
    /// G2: sessions listed, waiting or fencing.
    Barrier,
    /// G3: newest generation and late commits read, next generation planned.
    Ready,
    /// G3: created, but the answer was lost.
    UnsureReady,
    /// G4: deleting what its own generation declared dead.
    Deleting,
}

/// A maintainer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Maintainer {
    /// Where it stands.
    pub at: MaintainerAt,
    /// Rounds it may still begin.
    pub rounds: u8,
    /// The generation its plan is derived from.
    pub base: u8,
    /// The generation it published, on which its barrier stands.
    pub condemned_in: u8,
    /// Packs to condemn, then packs to declare dead.
    pub packs: Set,
    /// Sessions to fold, then packs to take back.
    pub fold: Set,
    /// Packs that the segments of the sessions to fold name, as they were listed for the next levels.
    pub listed: Set,
    /// Dead packs to strike off the list.
    pub drop: Set,
    /// Sessions of the barrier.
    pub wait: Set,
    /// Sessions counted when it condemned (kept only where a rule about late commits is off).
    pub counted: Set,
    /// Without create-if-absent: session being fenced (0: none), and whether its `commit` was found absent.
    pub fencing: (Slot, bool),
}

/// Where the reader stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReaderAt {
    /// Nothing done.
    #[default]
    Idle,
    /// The snapshot was seen, unforgotten.
    Chosen,
    /// The pin is written.
    Opened,
    /// The newest generation was read and the blob located in it.
    Located,
    /// The pack was not there.
    Missed,
    /// The blob was read.
    Read,
    /// Reported: snapshot forgotten, or pin lost.
    Refused,
    /// Half of a listing is done.
    Listing,
    /// The listing lacks a snapshot that was saved before it began.
    Incomplete,
    /// Reported: a pack of an unforgotten or pinned snapshot is missing.
    Missing,
}

/// The reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reader {
    /// Where it stands.
    pub at: ReaderAt,
    /// The pack it looks into.
    pub pack: Slot,
    /// Snapshots that its listing has shown.
    pub seen: Set,
    /// Snapshots that were saved before the listing began.
    pub owed: Set,
}

/// Everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The sessions.
    pub sessions: [Session; SLOTS],
    /// The generations by number; the content of those that nobody can read any more is wiped.
    pub generations: [Generation; GENERATIONS],
    /// Number of the newest generation.
    pub newest: u8,
    /// Writers.
    pub writers: [Writer; 3],
    /// Repackers, who walk the same way as writers.
    pub repackers: [Writer; 2],
    /// Maintainers.
    pub maintainers: [Maintainer; 2],
    /// The reader.
    pub reader: Reader,
    /// Sessions whose snapshot is forgotten.
    pub forgotten: Set,
    /// Answers that may still be lost.
    pub lost: u8,
    /// Exclusive maintenance: 0 nobody, else the maintainer's number + 1.
    pub exclusive: u8,
    /// Whether a generation number was given twice.
    pub clash: bool,
    /// Whether old generations were deleted (only where that rule is off).
    pub pruned: bool,
}

// A state is hashed once for every step anybody takes, so what is small is hashed as one number. Each number is
// injective: every field has bits of its own.

impl Hash for Session {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let small = u32::from(self.open)
            | (self.end as u32) << 1
            | (self.pack as u32) << 3
            | u32::from(self.segment) << 5
            | u32::from(self.counted) << 6;
        let bytes = [self.flags | self.moved << 4, self.at, self.names];
        hasher.write_u32(small << 24 | u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]));
    }
}

impl Hash for Generation {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let lists = [
            self.condemned,
            self.dead,
            self.levels,
            self.folded,
            self.catalogue,
            self.by,
        ];
        let [a, b, c, d, e, f] = lists;
        let [first, second] = self.tables;
        hasher.write_u64(u64::from_le_bytes([a, b, c, d, e, f, first, second]));
        if self.condemned != 0 {
            hasher.write_u64(u64::from_le_bytes(self.since));
        }
    }
}

impl Hash for Writer {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let flags = u8::from(self.again) | u8::from(self.advanced) << 1;
        let at = self.at as u8;
        hasher.write_u64(u64::from_le_bytes([
            at,
            flags,
            self.usable,
            self.blocked,
            self.next,
            self.held,
            self.early,
            0,
        ]));
    }
}

impl Hash for Maintainer {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        // Rounds and generation numbers stay below 16.
        let Self {
            at,
            rounds,
            base,
            condemned_in,
            packs,
            fold,
            listed,
            drop,
            wait,
            counted,
            fencing,
        } = *self;
        let small = u8::from(fencing.1) << 4 | at as u8;
        hasher.write_u64(u64::from_le_bytes([
            small,
            rounds | base << 4,
            condemned_in | fencing.0 << 4,
            packs,
            fold,
            drop,
            wait,
            counted,
        ]));
        if listed != 0 {
            hasher.write_u8(listed);
        }
    }
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            at: WriterAt::Idle,
            again: false,
            advanced: false,
            usable: 0,
            blocked: 0,
            next: 0,
            held: NONE,
            early: 0,
        }
    }
}

impl State {
    /// The newest generation.
    pub fn generation(&self) -> &Generation {
        &self.generations[usize::from(self.newest)]
    }

    /// A session.
    pub fn session(&self, slot: Slot) -> &Session {
        &self.sessions[usize::from(slot)]
    }

    /// A session, to change it.
    pub fn session_mut(&mut self, slot: Slot) -> &mut Session {
        &mut self.sessions[usize::from(slot)]
    }
}
