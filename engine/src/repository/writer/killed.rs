//! Packs that a killed session of this machine had stored, and had not come to name in a segment: the next writer names them in its place.
//!
//! What must hold: whoever does this does what the session would have done, had it lived a moment longer: it writes the session's next segment, about
//! packs that are durable. So no rule is needed beyond those that there are (FORMAT.md, 11): a fence counts the segments that are there, and who
//! writes takes those that it listed before it found that there is no `end`. A put of the killed process may still be under way to its store: so this
//! is done only where a store keeps what was there first.

use std::collections::HashSet;

use super::Machine;
use super::uploads::{SEGMENT_PACKS, put_segment};
use crate::format::open::SessionKind;
use crate::format::segment::SegmentBuilder;
use crate::repository::Repository;
use crate::repository::view::{View, segment_name};
use crate::words::{Error, PackName, Result, SessionId};

impl Repository {
    /// Names the packs of all backups that were killed on this machine. True when there were any: then the view does not know them yet.
    pub(crate) fn name_packs_of_killed(&self, view: &View, machine: &Machine) -> bool {
        let mut named = false;
        if self.store.has_only_looked() {
            return false;
        }
        for (session, _) in view.sessions.iter().filter(|(_, state)| state.is_running()) {
            let open = self.session_open(view, *session);
            if !open.is_ok_and(|open| open.kind == SessionKind::Backup && machine.misses(&open)) {
                continue;
            }
            match self.name_packs_of(view, *session) {
                Ok(some) => named |= some,
                // Then they are stored once more.
                Err(error) => tracing::warn!(%session, %error, "Packs of a killed backup could not be used again"),
            }
        }
        named
    }

    fn name_packs_of(&self, view: &View, session: SessionId) -> Result<bool> {
        let condemned = view.generation.condemned.iter().map(|condemned| condemned.pack);
        let left_out: HashSet<PackName> = condemned.chain(view.generation.dead.iter().copied()).collect();
        let mut packs = Vec::new();
        for object in self.store.list(&format!("p/{session}/"))? {
            if let Some(pack) = PackName::of_object(&object.name)
                && !left_out.contains(&pack)
                && view.index.pack(&pack)?.is_none()
            {
                packs.push((pack, object.size));
            }
        }
        if packs.is_empty() {
            return Ok(false);
        }
        let listed = self.store.list(&format!("x/{session}/"))?;
        let there: HashSet<&str> = listed.iter().map(|object| object.name.as_str()).collect();
        let first = (0..).take_while(|number| there.contains(segment_name(session, *number).as_str()));
        let first = first.count();
        if first < there.len() {
            // One is missing among them; a fence would not count what comes after it.
            return Ok(false);
        }
        let mut number = first as u32;
        for some in packs.chunks(SEGMENT_PACKS as usize) {
            let mut segment = SegmentBuilder::new();
            for contents in self.pack_contents(some) {
                match contents {
                    Ok((info, entries)) => segment.add(info, &entries),
                    Err(Error::Damaged { .. } | Error::Missing { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            if segment.entry_count() > 0 {
                let segment = segment.finish();
                if !put_segment(&self.store, self.id(), session, number, &segment, &self.keys.index)? {
                    // Another backup beside this one was faster, and has named what there was.
                    return Ok(true);
                }
                number += 1;
            }
        }
        Ok(number > first as u32)
    }
}
