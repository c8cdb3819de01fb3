//! What stays in the target although the snapshot does not have it: the snapshot says nothing of what was not to be backed up, and of what could not be read.
//! Pure, but for a look at which of the sources are in the tree.

use crate::format::snapshot::Snapshot;
use crate::format::tree::path::is_within;
use crate::source::{Filter, LeftOut, Marker};
use crate::target::{Existing, ExistingKind};
use crate::words::{Error, Result};

/// What a backup has not seen, or was not to see.
pub(super) struct Spared {
    /// What could not be read.
    unread: Vec<Vec<u8>>,
    filter: Filter,
    /// File systems that were mounted in the sources were left out: each is an empty folder in the snapshot.
    pub(super) other_file_systems: bool,
    /// The snapshot's root is a source, and there is no other.
    is_rooted: bool,
    /// Where the sources are in the snapshot.
    sources: Vec<Vec<u8>>,
    /// Where those that are missing could be.
    doubtful: Vec<Vec<u8>>,
}

impl Spared {
    /// Reads what the record says. `has` tells whether a path is in the snapshot.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the record does not say enough; what `has` says.
    pub(super) fn of(id: &str, record: &Snapshot, has: impl Fn(&[u8]) -> Result<bool>) -> Result<Self> {
        if record.incomplete {
            return Err(Error::Invalid(format!(
                "Snapshot {id} is of an interrupted backup and does not say what was not there, so nothing can be deleted by it"
            )));
        }
        let known = record.errors.len();
        if record.counts.errors > known as u64 {
            let errors = record.counts.errors;
            return Err(Error::Invalid(format!(
                "{errors} items could not be read when snapshot {id} was made, and it names only {known} of them: nothing can be deleted by it, since what it lacks \
                 may be one of the others; restore without deleting, or from a snapshot with fewer errors"
            )));
        }
        let LeftOut {
            excludes,
            other_file_systems,
        } = LeftOut::of_texts(&record.excludes);
        let filter = Filter::new(excludes).map_err(|error| {
            Error::Invalid(format!(
                "What snapshot {id} left out cannot be understood ({error}), so nothing can be deleted by it"
            ))
        })?;
        let mut spared = Self {
            unread: record.errors.iter().map(|(path, _)| path.clone()).collect(),
            filter,
            other_file_systems,
            is_rooted: has(b"")?,
            sources: Vec::new(),
            doubtful: Vec::new(),
        };
        if spared.is_rooted && record.paths.len() == 1 {
            spared.sources.push(Vec::new());
            return Ok(spared);
        }
        for path in &record.paths {
            spared.locate(path, &has)?;
        }
        Ok(spared)
    }

    /// The record has a source's absolute path; a relative one was stored under the last names of it, as many as were given.
    fn locate(&mut self, path: &[u8], has: impl Fn(&[u8]) -> Result<bool>) -> Result<()> {
        let start = path.iter().position(|byte| *byte != b'/').unwrap_or(path.len());
        let path = path.get(start..).unwrap_or_default();
        let mut rest = Some(path);
        while let Some(place) = rest.filter(|place| !place.is_empty()) {
            if has(place)? {
                self.sources.push(place.to_vec());
                return Ok(());
            }
            let slash = place.iter().position(|byte| *byte == b'/');
            rest = slash.and_then(|slash| place.get(slash + 1..));
        }
        self.doubtful.push(path.to_vec());
        Ok(())
    }

    /// Whether all that was in the folder was to be backed up, and not only what leads to a source.
    pub(super) fn is_whole(&self, folder: &[u8]) -> bool {
        if folder.is_empty() {
            return self.is_rooted;
        }
        let inside_of = |source: &Vec<u8>| is_within(folder, source);
        let leads_to = |source: &Vec<u8>| is_within(source, folder) && source != folder;
        // Of a source that is missing nobody knows how many of its names are stored.
        let may_lead_to = |source: &Vec<u8>| {
            let at = |start: usize| source.get(start..).is_some_and(|rest| leads_to(&rest.to_vec()));
            let names = source.iter().enumerate().filter(|(_, byte)| **byte == b'/');
            at(0) || names.map(|(slash, _)| slash + 1).any(at)
        };
        let read = self.sources.iter().any(inside_of);
        read || !(self.sources.iter().any(leads_to) || self.doubtful.iter().any(may_lead_to))
    }

    /// Whether what is at the path of the snapshot, with all that is in it, was left out or could not be read.
    pub(super) fn spares(&self, path: &[u8], existing: &Existing) -> bool {
        let is_folder = existing.kind == ExistingKind::Folder;
        let unread = || self.unread.iter().any(|unread| is_within(path, unread));
        let too_large = || {
            existing.kind == ExistingKind::File && self.filter.larger_than().is_some_and(|most| existing.size > most)
        };
        unread() || self.filter.excludes(path, is_folder) || too_large() || self.is_not_included(path, is_folder)
    }

    fn is_not_included(&self, path: &[u8], is_folder: bool) -> bool {
        if is_folder || !self.filter.includes_only() {
            return false;
        }
        let mut above = false;
        for (slash, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            above = self.filter.includes(path.get(..slash).unwrap_or_default(), true, above);
        }
        !self.filter.includes(path, false, above)
    }

    /// Files that mark folders whose content was left out.
    pub(super) fn markers(&self) -> &[Marker] {
        self.filter.markers()
    }

    /// Whether nothing in the folder can have been left out or unread.
    pub(super) fn takes_all_below(&self, folder: &[u8]) -> bool {
        self.filter.takes_all() && !self.unread.iter().any(|unread| is_within(unread, folder))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;
    use crate::words::Timestamp;

    fn spared(paths: &[&str], there: &[&str], excludes: &[&str]) -> Spared {
        let record = Snapshot {
            paths: paths.iter().map(|path| path.as_bytes().to_vec()).collect(),
            excludes: excludes.iter().map(|text| (*text).to_owned()).collect(),
            errors: vec![(b"srv/unread".to_vec(), "why".into())],
            ..Snapshot::default()
        };
        Spared::of("id", &record, |path| {
            Ok(there.iter().any(|there| there.as_bytes() == path))
        })
        .unwrap()
    }

    fn existing(kind: ExistingKind, size: u64) -> Existing {
        Existing {
            kind,
            size,
            modified: Timestamp(0),
            mode: 0,
            user: 0,
            group: 0,
            device: 1,
            inode: 2,
            links: 1,
        }
    }

    #[test]
    fn only_folders_that_were_read_as_a_whole_are_whole() {
        // Given as `/srv/data`: what leads there was not read.
        let absolute = spared(&["/srv/data"], &["srv", "srv/data"], &[]);
        assert!(!absolute.is_whole(b"") && !absolute.is_whole(b"srv"));
        assert!(absolute.is_whole(b"srv/data") && absolute.is_whole(b"srv/data/deep"));
        // Given as `b/c` in `/a`.
        let relative = spared(&["/a/b/c"], &["b", "b/c"], &[]);
        assert!(!relative.is_whole(b"") && !relative.is_whole(b"b") && relative.is_whole(b"b/c"));
        // Given as `.` in `/a/b`, which has a folder of its own name.
        let rooted = spared(&["/a/b"], &["", "b", "b/c"], &[]);
        assert!(rooted.is_whole(b"") && rooted.is_whole(b"b") && rooted.is_whole(b"c"));
        // Given as `.` and `/usr/lib`.
        let both = spared(&["/a", "/usr/lib"], &["", "usr", "usr/lib"], &[]);
        assert!(both.is_whole(b"") && both.is_whole(b"x") && !both.is_whole(b"usr") && both.is_whole(b"usr/lib"));
        // A source in another one, and one that was missing.
        let nested = spared(&["/srv", "/srv/data", "/var/gone"], &["srv", "srv/data"], &[]);
        assert!(nested.is_whole(b"srv") && nested.is_whole(b"srv/x") && !nested.is_whole(b"var"));
    }

    #[test]
    fn what_was_left_out_or_not_read_is_spared() {
        let spared = spared(
            &["/srv"],
            &["srv"],
            &["*.tmp", "only /srv/in", "only *.keep", "files larger than 100 bytes"],
        );
        let file = existing(ExistingKind::File, 100);
        assert!(!spared.spares(b"srv/in/x", &file) && !spared.spares(b"srv/in/deep/x", &file));
        assert!(!spared.spares(b"srv/a.keep", &file));
        assert!(spared.spares(b"srv/x", &file), "not included");
        assert!(spared.spares(b"srv/in/x.tmp", &file), "excluded");
        assert!(
            spared.spares(b"srv/in/x", &existing(ExistingKind::File, 101)),
            "too large"
        );
        assert!(!spared.spares(b"srv/x", &existing(ExistingKind::Folder, 4096)));
        assert!(spared.spares(b"srv/unread", &existing(ExistingKind::Folder, 0)));
        assert!(spared.spares(b"srv/unread/a.keep", &file));
        assert!(!spared.takes_all_below(b"srv/in"));
    }

    #[test]
    fn a_record_that_does_not_say_enough_deletes_nothing() {
        let refusal = |change: &dyn Fn(&mut Snapshot)| {
            let mut record = Snapshot::default();
            change(&mut record);
            Spared::of("abc", &record, |_| Ok(true))
                .err()
                .map(|error| error.to_string())
        };
        assert_eq!(refusal(&|_| {}), None);
        let why = refusal(&|record| record.incomplete = true).unwrap();
        assert!(why.contains("is of an interrupted backup"), "{why}");
        let why = refusal(&|record| {
            record.counts.errors = 2;
            record.errors = vec![(b"x".to_vec(), "why".into())];
        });
        let why = why.unwrap();
        assert!(
            why.starts_with("2 items could not be read when snapshot abc was made, and it names only 1"),
            "{why}"
        );
        let why = refusal(&|record| record.excludes = vec!["a[".into()]).unwrap();
        assert!(why.contains("cannot be understood") && why.contains("`a[`"), "{why}");
    }
}
