//! Holding snapshots while they are read: a read session that maintenance waits for or fences, and whose snapshots it counts as wanted.

use super::open::Repository;
use super::writer::Machine;
use crate::format::end::{IndexPart, NewEnd, Outcome, end_name};
use crate::format::open::{Open, SessionKind, open_name};
use crate::store::Created;
use crate::words::id::random_bytes;
use crate::words::{Error, Result, SessionId, StoreFailure, Timestamp};

/// Snapshots that are held until this is released. A process that dies leaves them held until maintenance finds it dead.
#[derive(Debug)]
pub struct Pin {
    session: SessionId,
    open_hash: [u8; 32],
}

impl Repository {
    /// Holds snapshots, so that forgetting and pruning them does not disturb whoever reads them now. Nothing is held when this credential cannot
    /// write: then a prune of a snapshot that was forgotten meanwhile is noticed as missing packs.
    ///
    /// # Errors
    /// What the store says, apart from that it cannot be written.
    pub fn pin(&self, snapshots: Vec<SessionId>, machine: &Machine, now: Timestamp) -> Result<Option<Pin>> {
        let session = SessionId::random();
        let open = Open {
            kind: SessionKind::Read,
            started: now,
            host: machine.host.clone(),
            process: machine.process,
            boot: machine.boot.clone(),
            program: machine.program.clone(),
            keys: Vec::new(),
            volume: None,
            source: [0; 16],
            pins: snapshots,
            at_key: None,
        };
        let object = open.to_object(self.id(), session, &self.keys.index)?;
        let open_hash = *blake3::hash(&object).as_bytes();
        match self.store.put(&open_name(session), object.into()) {
            Ok(()) => {}
            Err(Error::Store {
                failure: StoreFailure::Denied | StoreFailure::NotAllowed | StoreFailure::ReadOnly | StoreFailure::Full,
                ..
            }) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        // The view is read after `open` was written: what it has now, maintenance that comes later will count.
        self.refresh()?;
        Ok(Some(Pin { session, open_hash }))
    }

    /// Lets go. False when maintenance had taken the reader for dead and let go already: then what it missed may have been there once, and been
    /// removed since.
    ///
    /// # Errors
    /// What the store says; the snapshots stay held until maintenance finds the process dead.
    pub fn release(&self, pin: Pin, now: Timestamp) -> Result<bool> {
        let index = IndexPart {
            open_hash: pin.open_hash,
            ended: now,
            source: [0; 16],
            segments: 0,
            segment: None,
            packs: 0,
            kind: SessionKind::Read,
            external_references: false,
        };
        let end = NewEnd {
            outcome: Outcome::Abort,
            nonce: random_bytes(),
            index: &index,
            maintenance: None,
            snapshot: None,
        };
        let object = end.to_object(self.id(), pin.session, &self.keys.index)?;
        match self.store.create(&end_name(pin.session), object.into())? {
            Created::Done => Ok(true),
            Created::Exists(end) => Ok(self.parse_end(pin.session, &end)?.outcome != Outcome::Fenced),
        }
    }
}
