//! Deletes what a published generation calls dead, and the objects of sessions that it has folded. Idempotent: any later run finishes.

use std::collections::BTreeSet;

use super::publish::Published;
use super::survey::list_packs;
use crate::repository::Repository;
use crate::words::{Error, ObjectName, Progress, Result, SessionId};

/// Packs that are deleted by one request where the store can.
const AT_ONCE: usize = 500;

/// Deletes. Gives how many packs, and how many bytes.
pub(super) fn remove(repository: &Repository, published: &Published, progress: &dyn Progress) -> Result<(u64, u64)> {
    let sizes = list_packs(repository)?;
    let dead: Vec<_> = published
        .generation
        .dead
        .iter()
        .filter(|pack| sizes.contains_key(pack))
        .collect();
    progress.expect(dead.len() as u64, 0);
    let (mut packs, mut bytes) = (0, 0);
    for some in dead.chunks(AT_ONCE) {
        let names: Vec<ObjectName> = some.iter().map(|pack| pack.object()).collect();
        repository.store().delete(&names)?;
        packs += some.len() as u64;
        bytes += some.iter().filter_map(|pack| sizes.get(pack)).sum::<u64>();
        progress.done(some.len() as u64, 0);
    }
    remove_sessions(repository, published)?;
    repository.store().delete(&published.marks_done)?;
    repository.store().delete(&published.replaced)?;
    Ok((packs, bytes))
}

/// Removes the objects of folded sessions: `open` first, so that what is left of a half removed one never counts; `end` last. A FENCED session
/// keeps its `end` (it is not among `sessions`' ends): its writer, however late it wakes, must find it.
fn remove_sessions(repository: &Repository, published: &Published) -> Result<()> {
    let mut wanted: BTreeSet<SessionId> = published.sessions_done.iter().copied().collect();
    // A list of a folder is not of one moment: it can show the `end` of a session that began and committed meanwhile, and not its `open`. A list
    // that is begun afterwards shows both.
    let mut orphans: BTreeSet<SessionId> = published.orphans.iter().copied().collect();
    if wanted.is_empty() && orphans.is_empty() {
        return Ok(());
    }
    let store = repository.store();
    if !orphans.is_empty() {
        let again = repository.list_sessions()?;
        orphans.retain(|session| again.get(session).is_none_or(|state| !state.open));
        wanted.extend(orphans);
    }
    let of = |name: &str, prefix: &str| -> Option<SessionId> {
        let rest = name.strip_prefix(prefix)?;
        rest.split('/').next()?.parse().ok()
    };
    let listed = |prefix: &str| -> Result<Vec<ObjectName>> {
        let objects = store.list(prefix)?.into_iter().map(|object| object.name);
        Ok(objects
            .filter(|name| of(name, prefix).is_some_and(|session| wanted.contains(&session)))
            .collect())
    };
    let states = listed("s/")?;
    let (opens, rest): (Vec<_>, Vec<_>) = states.into_iter().partition(|name| name.ends_with("/open"));
    let (ends, markers): (Vec<_>, Vec<_>) = rest.into_iter().partition(|name| name.ends_with("/end"));
    store.delete(&opens)?;
    store.delete(&markers)?;
    store.delete(&listed("x/")?)?;
    store.delete(&listed("r/")?)?;
    let mut removable = Vec::new();
    for name in ends {
        let session = of(&name, "s/");
        let fenced = match session {
            Some(session) => {
                let object = match store.get(&name) {
                    Ok(object) => object,
                    // Another prune has removed it.
                    Err(Error::Missing { .. }) => continue,
                    Err(error) => return Err(error),
                };
                match repository.parse_end(session, &object) {
                    Ok(end) => end.outcome == crate::format::end::Outcome::Fenced,
                    // It may be: then it must stay, and that it is there is all that its writer needs.
                    Err(Error::Damaged { .. }) => true,
                    Err(error) => return Err(error),
                }
            }
            None => true,
        };
        if !fenced {
            removable.push(name);
        }
    }
    store.delete(&removable)
}
