//! What one run of the checker explores: who takes part, what they may do, and where it stops.

use crate::rules::Rules;
use crate::state::{SLOTS, Slot};

/// What the store can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// S1 and S2: read- and list-after-write, and create-if-absent.
    CreateIfAbsent,
    /// S1 alone; maintenance runs beside everything else, which Ararat refuses to do.
    Plain,
    /// S1 alone; an operator vouches that nothing else runs while maintenance does.
    PlainExclusive,
}

/// How the reader works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// No reader.
    Nobody,
    /// A read-only credential: pins nothing, reads the newest generation again after a miss.
    Unpinned,
    /// A read session that pins the base snapshot.
    Pinned,
    /// Lists all snapshots, once.
    Lister,
}

/// One configuration. Every number is a bound of the exploration.
#[derive(Clone, Debug)]
pub struct Config {
    /// What it is called in the printed table.
    pub name: &'static str,
    /// Blob wanted by each writer (bit 0 or bit 1); their number is the number of writers, at most 3.
    pub wants: &'static [u8],
    /// Whether a fenced writer starts again in a second session.
    pub retries: bool,
    /// Whether a writer may advance its view once (W4).
    pub advance: bool,
    /// Whether writers hold a carried-over reference to the base pack from an old cache.
    pub hints: bool,
    /// Prune rounds of each maintainer; their number is the number of maintainers, at most 2.
    pub rounds: &'static [u8],
    /// Number of the last generation that may be written; the first is 1.
    pub last_generation: u8,
    /// Number of repack sessions, at most 2.
    pub repackers: u8,
    /// The reader.
    pub reader: Reading,
    /// Blobs in the base pack (bit set); the base snapshot names blob 1 of it.
    pub base_blobs: u8,
    /// Whether the base snapshot is forgotten from the start.
    pub base_forgotten: bool,
    /// Whether a user may forget the base snapshot.
    pub forget_base: bool,
    /// Whether a user may forget the writers' snapshots.
    pub forget_others: bool,
    /// Whether ended and folded sessions are retired, and dead packs leave the list.
    pub retire: bool,
    /// Whether references are rewritten and tables dropped once nobody can need them.
    pub rewrite: bool,
    /// How many answers may be lost after the work was done.
    pub lost_replies: u8,
    /// The store.
    pub store: Store,
    /// The rules that are kept.
    pub rules: Rules,
    /// Whether equal writers and equal maintainers are taken as interchangeable.
    pub symmetric: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "unnamed",
            wants: &[1],
            retries: false,
            advance: false,
            hints: false,
            rounds: &[1],
            last_generation: 3,
            repackers: 0,
            reader: Reading::Nobody,
            base_blobs: 1,
            base_forgotten: true,
            forget_base: false,
            forget_others: false,
            retire: false,
            rewrite: false,
            lost_replies: 0,
            store: Store::CreateIfAbsent,
            rules: Rules::default(),
            symmetric: true,
        }
    }
}

/// What a session slot is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The retired session of the base snapshot.
    Base,
    /// Session of writer `.0`.
    Writer(u8),
    /// Session of repacker `.0`.
    Repacker(u8),
    /// The read session.
    Reader,
    /// Not used in this configuration.
    Unused,
}

impl Config {
    /// Number of writers.
    pub fn writers(&self) -> u8 {
        self.wants.len() as u8
    }

    /// Number of maintainers.
    pub fn maintainers(&self) -> u8 {
        self.rounds.len() as u8
    }

    /// Slot of a writer's first or second session.
    pub fn writer_slot(&self, writer: u8, again: bool) -> Slot {
        1 + writer + if again { self.writers() } else { 0 }
    }

    /// Slot of a repack session.
    pub fn repacker_slot(&self, repacker: u8) -> Slot {
        1 + self.writers() * if self.retries { 2 } else { 1 } + repacker
    }

    /// Slot of the read session.
    pub fn reader_slot(&self) -> Slot {
        self.repacker_slot(self.repackers)
    }

    /// Number of slots in use.
    pub fn slots(&self) -> u8 {
        let slots = self.reader_slot() + u8::from(self.reader == Reading::Pinned);
        assert!(self.wants.is_sorted(), "Symmetry wants equal writers side by side");
        assert!(
            usize::from(slots) <= SLOTS,
            "Configuration {} needs more session slots than the model has",
            self.name
        );
        slots
    }

    /// What a slot is used for.
    pub fn role(&self, slot: Slot) -> Role {
        if slot == 0 {
            Role::Base
        } else if slot < self.repacker_slot(0) {
            Role::Writer((slot - 1) % self.writers())
        } else if slot < self.reader_slot() {
            Role::Repacker(slot - self.repacker_slot(0))
        } else if slot < self.slots() {
            Role::Reader
        } else {
            Role::Unused
        }
    }

    /// Whether the store creates an object only if its name is free.
    pub fn conditional(&self) -> bool {
        self.store == Store::CreateIfAbsent
    }

    /// Whether a generation, once written, can be written again, so that old ones matter.
    pub fn generations_change(&self) -> bool {
        !self.conditional() || !self.rules.create_generations_if_absent || !self.rules.succeed_the_newest
    }
}
