//! Which part of a snapshot is restored. Pure.

use super::spare::Spared;
use crate::source::{Excludes, Filter, Pattern};
use crate::target::name::check_path;
use crate::words::{Error, Result};

/// A part of a snapshot. Everything by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// A path in the snapshot, without a leading `/`; no bytes for all of it. What is in that folder goes directly into the target.
    pub within: Vec<u8>,
    /// If there are any, only what matches one of them, and what is in folders that match.
    pub includes: Vec<Pattern>,
    /// What matches one of them is left out, with everything in it.
    pub excludes: Vec<Pattern>,
}

impl Selection {
    /// What is at `path`; slashes at its ends do not count.
    pub fn of_path(path: &[u8]) -> Self {
        let start = path.iter().position(|byte| *byte != b'/').unwrap_or(path.len());
        let end = path.iter().rposition(|byte| *byte != b'/').map_or(start, |at| at + 1);
        Self {
            within: path[start..end].to_vec(),
            ..Self::default()
        }
    }

    /// Whether nothing is left out.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether patterns choose, so that only the entries themselves tell what is chosen.
    pub fn has_patterns(&self) -> bool {
        !(self.includes.is_empty() && self.excludes.is_empty())
    }

    /// Makes it ready to be asked.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a path or pattern that is none.
    pub(super) fn filter(&self) -> Result<Chosen> {
        check_path(&self.within).map_err(|_| {
            Error::Invalid(format!(
                "`{}` is not a path in a snapshot",
                String::from_utf8_lossy(&self.within)
            ))
        })?;
        let excludes = Excludes {
            patterns: self.excludes.clone(),
            includes: self.includes.clone(),
            ..Excludes::default()
        };
        Ok(Chosen {
            within: self.within.clone(),
            has_patterns: self.has_patterns(),
            filter: Filter::new(excludes)?,
            spared: None,
        })
    }
}

/// A selection, ready to be asked.
pub(super) struct Chosen {
    pub(super) within: Vec<u8>,
    has_patterns: bool,
    filter: Filter,
    /// If what the snapshot does not have is to be removed: what stays all the same.
    pub(super) spared: Option<Spared>,
}

/// What a selection says of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is restored.
    Chosen,
    /// It is not, but something in it may be.
    Passed,
    /// Neither it nor anything in it is.
    LeftOut,
}

impl Chosen {
    /// Asks about a path of the snapshot. `above`: whether the folder it is in is chosen.
    pub(super) fn ask(&self, path: &[u8], is_folder: bool, above: bool) -> Verdict {
        if self.filter.excludes(path, is_folder) {
            return Verdict::LeftOut;
        }
        if !self.filter.includes_only() || self.filter.includes(path, is_folder, above) {
            return Verdict::Chosen;
        }
        if is_folder { Verdict::Passed } else { Verdict::LeftOut }
    }

    /// Whether nothing in the folder can be left out or spared.
    pub(super) fn takes_all_below(&self, path: &[u8]) -> bool {
        let spared = self.spared.as_ref();
        !self.has_patterns && spared.is_none_or(|spared| spared.takes_all_below(path))
    }

    /// Whether the folder that the target stands for is chosen itself.
    pub(super) fn takes_root(&self) -> bool {
        !self.filter.includes_only()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_selection_takes_what_matches_and_passes_through_the_folders_above() {
        let selection = Selection {
            includes: vec![Pattern::new("*.jpg"), Pattern::new("/all")],
            excludes: vec![Pattern::new("private/")],
            ..Selection::default()
        };
        let chosen = selection.filter().unwrap();
        assert_eq!(chosen.ask(b"a", true, false), Verdict::Passed);
        assert_eq!(chosen.ask(b"a/b.jpg", false, false), Verdict::Chosen);
        assert_eq!(chosen.ask(b"a/b.png", false, false), Verdict::LeftOut);
        assert_eq!(chosen.ask(b"all", true, false), Verdict::Chosen);
        assert_eq!(chosen.ask(b"all/x", false, true), Verdict::Chosen);
        assert_eq!(chosen.ask(b"all/private", true, true), Verdict::LeftOut);
        assert!(Selection::default().filter().unwrap().takes_root() && !chosen.takes_root());
    }

    #[test]
    fn a_path_may_be_given_with_slashes_around_it_but_not_with_dots() {
        assert_eq!(Selection::of_path(b"/srv/data/").within, b"srv/data");
        assert_eq!(Selection::of_path(b"/"), Selection::default());
        assert!(Selection::of_path(b"a/../b").filter().is_err());
    }
}
