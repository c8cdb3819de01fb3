//! What snapshots refer to, and where that is now: references are never written again, and repacks move blobs ([`tables`]).

pub(super) mod tables;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use crate::crypto::SecretPair;
use crate::format::end::end_name;
use crate::format::open::SessionKind;
use crate::format::references::{References, Used, references_name};
use crate::repository::{Repository, View};
use crate::words::{Error, PackName, Result, SessionId};

use self::tables::{Followed, Ground, Tables};

/// What snapshots use, by the packs in which it is now, as a reader sees it.
pub(super) struct Usage<'v> {
    repository: &'v Repository,
    view: &'v View,
    condemned: HashSet<PackName>,
    tables: Tables,
}

impl<'v> Usage<'v> {
    /// # Errors
    /// As [`load_tables`].
    pub(super) fn new(repository: &'v Repository, view: &'v View) -> Result<Self> {
        Ok(Self {
            tables: load_tables(repository, view)?,
            condemned: view
                .generation
                .condemned
                .iter()
                .map(|condemned| condemned.pack)
                .collect(),
            repository,
            view,
        })
    }

    /// What one snapshot uses.
    ///
    /// # Errors
    /// As [`references`]; [`Error::Io`] when the cache is damaged.
    pub(super) fn of(&self, session: SessionId) -> Result<HashMap<PackName, Used>> {
        let failure = RefCell::new(None);
        let index = &self.view.index;
        let info = |pack: PackName| {
            index.pack(&pack).unwrap_or_else(|error| {
                failure.replace(Some(error));
                None
            })
        };
        let ground = Ground {
            blobs: &|pack| info(pack).map_or(0, |info| info.blobs),
            is_alive: &|pack| info(pack).is_some() && !self.condemned.contains(&pack),
            is_there: &|pack| info(pack).is_some(),
        };
        let (mut all, mut followed) = (HashMap::new(), Followed::default());
        for (pack, used) in &references(self.repository, self.view, session)?.packs {
            self.tables.follow((*pack, used), &ground, &mut all, &mut followed);
        }
        failure.into_inner().map_or(Ok(all), Err)
    }
}

fn maintenance_key(repository: &Repository) -> Result<&SecretPair> {
    let pair = repository.keys().maintenance.pair.as_ref();
    pair.ok_or_else(|| repository.role_too_small("a maintainer or an owner"))
}

/// What a committed session refers to.
///
/// # Errors
/// [`Error::RoleTooSmall`]; [`Error::Damaged`]; what the store says.
pub(super) fn references(repository: &Repository, view: &View, session: SessionId) -> Result<References> {
    let pair = maintenance_key(repository)?;
    let end = view
        .committed(session)
        .ok_or_else(|| Error::Internal(format!("session {session} is not committed")))?;
    if end.index.external_references {
        let object = match view.folded.get(&session).and_then(|folded| folded.references.clone()) {
            Some(object) => object,
            None => repository.fetch_object(&references_name(session))?,
        };
        return References::from_object(repository.id(), session, pair, &object);
    }
    let part = end.maintenance(repository.id(), session, pair)?;
    let name = end_name(session);
    let references = part
        .references
        .ok_or_else(|| Error::damaged(&name, "it has no references"))?;
    References::decode(&name, &references)
}

/// The tables of every repack session that counts.
///
/// # Errors
/// [`Error::RoleTooSmall`] without the maintenance key; [`Error::Damaged`].
pub(super) fn load_tables(repository: &Repository, view: &View) -> Result<Tables> {
    let mut tables = Tables::default();
    for (session, end) in view.all_committed() {
        if end.index.kind == SessionKind::Repack {
            let part = end.maintenance(repository.id(), session, maintenance_key(repository)?)?;
            tables.add(session, part.moved);
        }
    }
    Ok(tables)
}
