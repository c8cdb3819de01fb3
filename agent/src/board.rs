//! Which volumes there are, and whose turn it is. Pure.
//!
//! What must hold: no object is worked on twice at once; the oldest comes first, whether it is read or filled; what was finished here is not begun again
//! while the watch has not yet seen that.

use std::collections::{BTreeMap, BTreeSet};

use crate::decide::{Fresh, fresh};
use crate::volume::{Kind, Volume};

/// What is known of all volumes of the node, by UID.
#[derive(Debug, Default)]
pub struct Board {
    volumes: BTreeMap<String, Volume>,
    working: BTreeSet<String>,
    /// Finished here; the watch does not show it yet.
    finished: BTreeSet<String>,
    /// What a list that is under way has shown, for each kind.
    listed: BTreeMap<Kind, BTreeSet<String>>,
}

/// What happened to a volume's object.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The object's UID.
    pub uid: String,
    /// The object as it is now; none when it is gone.
    pub volume: Option<Volume>,
}

/// Whose turn it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// Which volume.
    pub volume: Volume,
    /// It is only to be said that it is canceled, which needs no slot.
    pub cancels: bool,
}

impl Board {
    /// The object is there, or has changed.
    pub fn apply(&mut self, volume: Volume) -> Change {
        let uid = volume.uid().to_owned();
        if let Some(listed) = self.listed.get_mut(&volume.kind()) {
            listed.insert(uid.clone());
        }
        if volume.phase().is_final() {
            self.finished.remove(&uid);
        }
        self.volumes.insert(uid.clone(), volume.clone());
        Change {
            uid,
            volume: Some(volume),
        }
    }

    /// The object is gone.
    pub fn delete(&mut self, uid: &str) -> Change {
        self.volumes.remove(uid);
        self.finished.remove(uid);
        Change {
            uid: uid.to_owned(),
            volume: None,
        }
    }

    /// A list of all objects of this kind begins.
    pub fn begin_list(&mut self, kind: Kind) {
        self.listed.insert(kind, BTreeSet::new());
    }

    /// The list has ended: what it did not show is gone.
    pub fn end_list(&mut self, kind: Kind) -> Vec<Change> {
        let listed = self.listed.remove(&kind).unwrap_or_default();
        let of_kind = self.volumes.iter().filter(|(_, volume)| volume.kind() == kind);
        let gone: Vec<String> = of_kind
            .map(|(uid, _)| uid.clone())
            .filter(|uid| !listed.contains(uid))
            .collect();
        gone.iter().map(|uid| self.delete(uid)).collect()
    }

    /// Whose turn it is, with so many slots free. They count as worked on from now on.
    pub fn turns(&mut self, free: usize) -> Vec<Turn> {
        let idle = |uid: &&String| !self.working.contains(*uid) && !self.finished.contains(*uid);
        let mut waiting: Vec<(&Volume, Fresh)> = self
            .volumes
            .iter()
            .filter(|(uid, _)| idle(uid))
            .map(|(_, volume)| (volume, fresh(volume)))
            .filter(|(_, fresh)| *fresh != Fresh::Leave)
            .collect();
        waiting.sort_by_key(|(volume, _)| (volume.created(), volume.kind(), volume.name()));
        let (mut turns, mut free) = (Vec::new(), free);
        for (volume, fresh) in waiting {
            let cancels = fresh == Fresh::Cancel;
            if !cancels && free == 0 {
                continue;
            }
            free -= usize::from(!cancels);
            turns.push(Turn {
                volume: volume.clone(),
                cancels,
            });
        }
        self.working
            .extend(turns.iter().map(|turn| turn.volume.uid().to_owned()));
        turns
    }

    /// Work on the volume has ended here.
    pub fn finish(&mut self, uid: &str) {
        self.working.remove(uid);
        let settled = self.volumes.get(uid).is_none_or(|volume| volume.phase().is_final());
        if !settled {
            self.finished.insert(uid.to_owned());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use api::volume::VolumePhase;

    use super::*;
    use crate::volume::samples::{backup, restore, status};

    fn names(turns: &[Turn]) -> Vec<&str> {
        turns.iter().map(|turn| turn.volume.name()).collect()
    }

    #[test]
    fn the_oldest_comes_first_whatever_its_kind() {
        let mut board = Board::default();
        board.apply(backup("c", 30, None));
        board.apply(backup("done", 1, status(VolumePhase::Completed)));
        board.apply(restore("b", 20, "claims/a/b", "00"));
        board.apply(backup("a", 10, status(VolumePhase::InProgress)));
        assert_eq!(names(&board.turns(2)), ["a", "b"]);
        assert_eq!(board.turns(0), []);
        board.finish("uid-of-a");
        assert_eq!(names(&board.turns(1)), ["c"]);
    }

    #[test]
    fn what_was_finished_here_waits_for_the_watch() {
        let mut board = Board::default();
        board.apply(backup("a", 1, None));
        assert_eq!(names(&board.turns(1)), ["a"]);
        // A change that was on its way while the last word was said.
        board.finish("uid-of-a");
        board.apply(backup("a", 1, status(VolumePhase::InProgress)));
        assert_eq!(board.turns(1), []);
        board.apply(backup("a", 1, status(VolumePhase::Completed)));
        assert_eq!(board.turns(1), []);
        // Somebody has taken it back.
        board.apply(backup("a", 1, None));
        assert_eq!(names(&board.turns(1)), ["a"]);
    }

    #[test]
    fn what_is_canceled_before_it_began_needs_no_slot() {
        let mut board = Board::default();
        let Volume::Backup(mut canceled) = backup("a", 1, None) else {
            panic!("a backup")
        };
        canceled.spec.cancel = true;
        board.apply(canceled.into());
        board.apply(backup("b", 2, None));
        let turns = board.turns(0);
        assert_eq!(names(&turns), ["a"]);
        assert!(turns[0].cancels);
        assert_eq!(names(&board.turns(1)), ["b"]);
    }

    #[test]
    fn what_a_new_list_does_not_show_is_gone() {
        let mut board = Board::default();
        for (name, second) in [("a", 1), ("b", 2)] {
            board.apply(backup(name, second, None));
        }
        board.apply(restore("c", 3, "claims/a/b", "00"));
        board.begin_list(Kind::Backup);
        let change = board.apply(backup("b", 2, None));
        assert!(change.volume.is_some());
        let gone = board.end_list(Kind::Backup);
        assert_eq!(gone.len(), 1);
        assert_eq!((gone[0].uid.as_str(), &gone[0].volume), ("uid-of-a", &None));
        assert_eq!(names(&board.turns(9)), ["b", "c"]);
    }
}
