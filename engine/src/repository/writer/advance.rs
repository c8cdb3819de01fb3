//! Long sessions keep up with maintenance: they look at the newest generation from time to time and say so (FORMAT.md, 11).

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::{Writer, poisoned};
use crate::format::open::{at_name, at_object};
use crate::words::{Error, PackName, Result};

/// How often a session looks.
const ADVANCE_EVERY: Duration = Duration::from_secs(300);

/// How far a session has advanced, and when it last looked.
pub(super) type Advanced = Mutex<(u64, Instant)>;

impl Writer<'_> {
    /// Advances when it is time to. Called with every blob, new or known, so that it happens however the session spends its time. A look that fails
    /// is made again later: it costs maintenance a wait.
    pub(super) fn keep_up(&self) {
        // Another thread is at it.
        let Ok(mut advanced) = self.advanced.try_lock() else {
            return;
        };
        if advanced.1.elapsed() < ADVANCE_EVERY {
            return;
        }
        let reached = self.advance(advanced.0).unwrap_or(advanced.0);
        *advanced = (reached, Instant::now());
    }

    /// Reads the newest generation and advances to it when nothing that the session refers to is condemned there. Gives the generation that it has
    /// advanced to, `from` when that is as new as it gets. The session does so by itself every few minutes; one caller at a time.
    ///
    /// # Errors
    /// What the store says.
    pub fn advance(&self, from: u64) -> Result<u64> {
        let (generation, hash) = match self.repository.newest_generation(from) {
            // Nothing that maintenance did not say need be followed.
            Err(Error::Forged { .. }) => return Ok(from),
            newest => newest?,
        };
        if generation.number <= from.max(self.view.generation.number) {
            return Ok(from);
        }
        let condemned = generation.condemned.iter().map(|condemned| condemned.pack);
        let gone: HashSet<PackName> = condemned.chain(generation.dead.iter().copied()).collect();
        {
            let _alone = self.gate.write().map_err(poisoned)?;
            let references = self.references.lock().map_err(poisoned)?;
            let sources = self.sources.lock().map_err(poisoned)?;
            if references.keys().chain(sources.iter()).any(|pack| gone.contains(pack)) {
                // Something is held that must be taken back: stay at the old view, and let maintenance count our commit.
                return Ok(from);
            }
            // From now on nothing that is gone may be referred to.
            self.view.index.exclude(&gone)?;
        }
        let repository = self.repository;
        let (index, seen) = (&repository.keys.index, (generation.number, &hash));
        let marker = at_object(repository.id(), self.session, seen, index, &self.at_key);
        repository
            .store
            .put(&at_name(self.session, generation.number), marker.into())?;
        Ok(generation.number)
    }
}
