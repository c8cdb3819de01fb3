//! The end of a session: everything durable, then the one object that makes it count.

use super::uploads::{Arrived, put_segment};
use super::{Writer, Written, poisoned};
use crate::format::end::{End, INLINE_MAX, IndexPart, MaintenancePart, NewEnd, Outcome, end_name};
use crate::format::references::{Moved, References, Used, references_name};
use crate::format::snapshot::{Snapshot, Summary};
use crate::store::Created;
use crate::words::id::random_bytes;
use crate::words::{BlobKind, Error, PackName, Result, SessionId, Timestamp};

/// A session whose blobs together stay below this may write one pack of both kinds.
const ONE_PACK_BYTES: usize = 1 << 20;

impl Writer<'_> {
    /// Stores what is open, and commits the snapshot, with the number of stored bytes filled in. Gives its id and what was written in all.
    ///
    /// # Errors
    /// [`Error::Fenced`] when maintenance ended the session first; what the store says.
    pub fn commit(self, snapshot: Snapshot) -> Result<(SessionId, Written)> {
        self.end(Outcome::Commit, snapshot.ended, Some(snapshot), Vec::new())
    }

    /// Stores what is open, and commits a table of moved blobs (a repack).
    ///
    /// # Errors
    /// As [`Writer::commit`].
    pub(crate) fn commit_moved(self, moved: Vec<Moved>, now: Timestamp) -> Result<(SessionId, Written)> {
        self.end(Outcome::Commit, now, None, moved)
    }

    /// Ends the session without a snapshot; what it stored can be used by later sessions until maintenance removes it.
    ///
    /// # Errors
    /// What the store says.
    pub fn abort(self, now: Timestamp) -> Result<(SessionId, Written)> {
        self.end(Outcome::Abort, now, None, Vec::new())
    }

    /// Stores the packs that are still open, without ending the session.
    fn flush(&self) -> Result<()> {
        let mut data = self.open_packs[BlobKind::Data as usize]
            .lock()
            .map_err(poisoned)?
            .take();
        let mut tree = self.open_packs[BlobKind::Tree as usize]
            .lock()
            .map_err(poisoned)?
            .take();
        // A small backup is one pack, so that it costs one request less.
        if let (Some(mine), Some(theirs)) = (&mut data, &tree)
            && self.uploads.stored().1 == 0
            && mine.len() + theirs.len() <= ONE_PACK_BYTES
            && self.options.kind != crate::format::open::SessionKind::Repack
        {
            mine.absorb(theirs);
            tree = None;
        }
        data.into_iter()
            .chain(tree)
            .try_for_each(|pack| self.uploads.send(pack))
    }

    fn references(&self, packs: u32) -> Result<References> {
        let mut references = References::default();
        for (pack, used) in self.references.lock().map_err(poisoned)?.drain() {
            references.packs.insert(pack, used.simplified());
        }
        for number in 0..self.next_pack.load(std::sync::atomic::Ordering::Relaxed).max(packs) {
            references.packs.insert(
                PackName {
                    session: self.session,
                    number,
                },
                Used::All,
            );
        }
        Ok(references)
    }

    fn end(
        self,
        asked: Outcome,
        now: Timestamp,
        mut snapshot: Option<Snapshot>,
        moved: Vec<Moved>,
    ) -> Result<(SessionId, Written)> {
        let (repository, session) = (self.repository, self.session);
        let (id, keys, store) = (repository.id(), repository.keys(), &repository.store);
        let flushed = self.flush();
        let written_packs = self.next_pack.load(std::sync::atomic::Ordering::Relaxed);
        let mut references = self.references(written_packs)?;
        let mut written = self.written();
        let Self {
            uploads,
            tree_key,
            open_hash,
            options,
            ..
        } = self;
        let Arrived {
            failure,
            segment_lost,
            mut segments,
            rest,
            packs,
            bytes,
        } = uploads.finish()?;
        // A commit says that all is there. When it is not, the session gives up, and tells what is there, if that can be told.
        let failure = match flushed.err().or(failure) {
            Some(failure) if segment_lost => return Err(failure),
            failure => failure,
        };
        let outcome = if failure.is_some() { Outcome::Abort } else { asked };
        let commit = outcome == Outcome::Commit;
        snapshot = snapshot.filter(|_| commit);
        (written.packs, written.stored) = (packs, bytes);
        if let Some(snapshot) = &mut snapshot {
            snapshot.counts.bytes_stored = bytes;
        }
        // A pack that was absorbed by another has no object.
        let mut inline = None;
        if let Some(rest) = rest {
            references
                .packs
                .retain(|pack, _| pack.session != session || segments > 0 || rest.has_pack(pack));
            let plaintext_length = rest.encoded_length();
            if segments == 0 && plaintext_length <= INLINE_MAX {
                inline = Some(rest.finish());
            } else {
                let rest = rest.finish();
                while !put_segment(store, id, session, segments, &rest, &keys.index)? {
                    segments += 1;
                }
                segments += 1;
            }
        } else if packs == 0 {
            references.packs.retain(|pack, _| pack.session != session);
        }
        let encoded = references.encode();
        let external = commit && encoded.len() > INLINE_MAX;
        let public = keys
            .maintenance
            .public
            .ok_or_else(|| repository.role_too_small("a writer or an owner"))?;
        if external {
            store.put(
                &references_name(session),
                references.to_object(id, session, public)?.into(),
            )?;
        }
        let index = IndexPart {
            open_hash,
            ended: now,
            source: options.source,
            segments,
            segment: inline,
            packs,
            kind: options.kind,
            external_references: external,
        };
        let summary = snapshot.as_ref().map_or_else(Summary::default, Snapshot::summary);
        let maintenance = MaintenancePart {
            summary,
            references: (!external).then_some(encoded),
            moved,
        };
        let new = NewEnd {
            outcome,
            nonce: random_bytes(),
            index: &index,
            maintenance: commit.then_some((&maintenance, &keys.maintenance)),
            snapshot: snapshot.as_ref().map(|snapshot| (snapshot, &tree_key)),
        };
        let object = new.to_object(id, session, &keys.index)?;
        if let Created::Exists(other) = store.create(&end_name(session), object.into())? {
            let end = End::from_object(id, session, &keys.index, &other)?;
            // With our nonce, a reply was lost and the store's own retry met our object.
            if end.nonce != new.nonce {
                return Err(Error::Fenced { session });
            }
        }
        match failure {
            Some(failure) if asked == Outcome::Commit => Err(failure),
            _ => Ok((session, written)),
        }
    }
}
