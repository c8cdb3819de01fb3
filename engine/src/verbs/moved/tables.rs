//! Following references through the tables of repacks to where blobs are now. Pure.

use std::collections::{HashMap, HashSet};

use crate::format::references::{Moved, Used};
use crate::words::{PackName, SessionId};

/// Where blobs of old packs went, by old pack.
///
/// A reference is followed to a place that is there and neither condemned nor dead in the generation that this maintainer will succeed, and stays
/// where it is when there is none. Only one maintainer can succeed a generation, so what one follows, the next finds alive; and a writer that
/// refers to an old place while its new one is condemned keeps the old one (the model's findings 2 and 3 are the stories behind this).
#[derive(Default)]
pub(in crate::verbs) struct Tables {
    by_pack: HashMap<PackName, Vec<Table>>,
}

/// What is known of packs while references are followed.
pub(in crate::verbs) struct Ground<'a> {
    /// How many blobs a pack has; 0 when it is not known.
    pub(in crate::verbs) blobs: &'a dyn Fn(PackName) -> u32,
    /// Whether it is there, and neither condemned nor dead.
    pub(in crate::verbs) is_alive: &'a dyn Fn(PackName) -> bool,
    /// Whether it is there, and not dead.
    pub(in crate::verbs) is_there: &'a dyn Fn(PackName) -> bool,
}

/// What following has found so far.
#[derive(Default)]
pub(in crate::verbs) struct Followed {
    /// Repack sessions whose tables some references still need.
    pub(in crate::verbs) needed: HashSet<SessionId>,
    /// Where blobs are now, in packs that are alive.
    alive: HashMap<Place, Option<Place>>,
    /// The same in packs that are there.
    there: HashMap<Place, Option<Place>>,
}

/// What one repack session moved out of one pack: new place by old ordinal.
struct Table {
    session: SessionId,
    to: HashMap<u16, (PackName, u16)>,
}

impl Tables {
    /// Adds the tables of a repack session.
    pub(in crate::verbs) fn add(&mut self, session: SessionId, moved: Vec<Moved>) {
        for table in moved {
            let place = |pack: u32, ordinal: u16| (PackName { session, number: pack }, ordinal);
            let to = table
                .to
                .iter()
                .map(|(old, pack, new)| (*old, place(*pack, *new)))
                .collect();
            self.by_pack
                .entry(table.pack())
                .or_default()
                .push(Table { session, to });
        }
    }

    /// Adds `used` of `pack` to `all`, following moved blobs.
    pub(in crate::verbs) fn follow(
        &self,
        (pack, used): (PackName, &Used),
        ground: &Ground<'_>,
        all: &mut HashMap<PackName, Used>,
        followed: &mut Followed,
    ) {
        let Some(tables) = self.by_pack.get(&pack) else {
            merge(all, pack, used);
            return;
        };
        let count = match (used, (ground.blobs)(pack)) {
            (Used::Some { blobs, .. }, _) => *blobs,
            // How many blobs a pack had that is gone only its tables say: whoever used all of it had all of it moved.
            (Used::All, 0) => {
                let moved = tables.iter().flat_map(|table| table.to.keys());
                moved.max().map_or(0, |last| u32::from(*last) + 1)
            }
            (Used::All, blobs) => blobs,
        };
        let mut stay = Used::none(count);
        let mut stays = false;
        for ordinal in (0..count)
            .filter_map(|ordinal| u16::try_from(ordinal).ok())
            .filter(|at| used.contains(*at))
        {
            let Followed { needed, alive, there } = followed;
            let to = self
                .resolve((pack, ordinal), ground.is_alive, needed, alive)
                // A snapshot that was forgotten and is wanted again takes back what has been condemned meanwhile.
                .or_else(|| match (ground.is_there)(pack) {
                    true => None,
                    false => self.resolve((pack, ordinal), ground.is_there, needed, there),
                });
            match to {
                Some((to, place)) => {
                    let fresh = || Used::none((ground.blobs)(to).max(u32::from(place) + 1));
                    all.entry(to).or_insert_with(fresh).insert(place);
                }
                None => {
                    stay.insert(ordinal);
                    stays = true;
                }
            }
        }
        if stays {
            merge(all, pack, &stay);
        }
    }

    /// Where a blob is now: what was moved may have been moved again, any number of times, since references are never rewritten. Places that were
    /// looked up before are in `known`; `needed` has their tables.
    fn resolve(
        &self,
        place: Place,
        is_alive: &dyn Fn(PackName) -> bool,
        needed: &mut HashSet<SessionId>,
        known: &mut HashMap<Place, Option<Place>>,
    ) -> Option<Place> {
        if let Some(known) = known.get(&place) {
            return *known;
        }
        // Each with the first of its tables that has not been tried. What is being looked up is known to lead nowhere, so there is no circle.
        let mut open = vec![(place, 0)];
        known.insert(place, None);
        while let Some((at, from)) = open.last().copied() {
            let tables = self.by_pack.get(&at.0).map_or(&[][..], Vec::as_slice);
            let mut untried = tables.iter().enumerate().skip(from);
            let found = untried.find_map(|(number, table)| Some((number, table.session, *table.to.get(&at.1)?)));
            let Some((number, session, next)) = found else {
                open.pop();
                continue;
            };
            let Some(further) = known.get(&next) else {
                known.insert(next, None);
                open.push((next, 0));
                continue;
            };
            let last = further.or_else(|| is_alive(next.0).then_some(next));
            if last.is_some() {
                needed.insert(session);
                known.insert(at, last);
                open.pop();
            } else if let Some((_, from)) = open.last_mut() {
                *from = number + 1;
            }
        }
        known.get(&place).copied().flatten()
    }
}

/// A blob's pack and its ordinal there.
type Place = (PackName, u16);

/// Adds `used` of `pack` to `all`.
pub(in crate::verbs) fn merge(all: &mut HashMap<PackName, Used>, pack: PackName, used: &Used) {
    match all.entry(pack) {
        std::collections::hash_map::Entry::Occupied(mut known) => known.get_mut().merge(used),
        std::collections::hash_map::Entry::Vacant(free) => {
            free.insert(used.clone());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    fn pack(number: u8) -> PackName {
        PackName {
            session: SessionId([number; 16]),
            number: 0,
        }
    }

    /// A repack session that moved blob 0 of one pack into a pack of its own, to where its number says.
    fn moved(tables: &mut Tables, from: u8, to: u8) {
        let table = Moved {
            session: pack(from).session,
            number: 0,
            to: vec![(0, 0, 0)],
        };
        tables.add(pack(to).session, vec![table]);
    }

    fn follow(tables: &Tables, from: u8, condemned: &[u8], there: &[u8]) -> (HashMap<PackName, Used>, Followed) {
        let one_of = |packs: &[u8], name: PackName| packs.iter().any(|number| pack(*number) == name);
        let ground = Ground {
            blobs: &|name| u32::from(one_of(there, name)),
            is_alive: &|name| one_of(there, name) && !one_of(condemned, name),
            is_there: &|name| one_of(there, name),
        };
        let (mut all, mut followed) = (HashMap::new(), Followed::default());
        tables.follow((pack(from), &Used::All), &ground, &mut all, &mut followed);
        (all, followed)
    }

    fn places(all: &HashMap<PackName, Used>) -> Vec<PackName> {
        let used = all.iter().filter(|(_, used)| used.count(1) > 0);
        used.map(|(pack, _)| *pack).collect()
    }

    /// References are never rewritten, so every prune that moves a blob makes the way to it longer. Where it was cut short, the pack at its end
    /// counted as unused and was deleted.
    #[test]
    fn a_blob_that_was_moved_very_often_is_found_where_it_is() {
        let mut tables = Tables::default();
        for number in 0..250 {
            moved(&mut tables, number, number + 1);
        }
        let (all, followed) = follow(&tables, 0, &[], &[250]);
        assert_eq!(places(&all), [pack(250)]);
        assert_eq!(followed.needed.len(), 250);
    }

    #[test]
    fn tables_that_lead_in_a_circle_lead_nowhere() {
        let mut tables = Tables::default();
        moved(&mut tables, 1, 2);
        moved(&mut tables, 2, 3);
        moved(&mut tables, 3, 2);
        assert_eq!(places(&follow(&tables, 1, &[], &[]).0), [pack(1)]);
        moved(&mut tables, 3, 4);
        assert_eq!(places(&follow(&tables, 1, &[], &[4]).0), [pack(4)]);
    }

    #[test]
    fn a_living_copy_is_preferred_and_a_condemned_one_is_better_than_none() {
        let mut tables = Tables::default();
        moved(&mut tables, 1, 2);
        moved(&mut tables, 1, 3);
        assert_eq!(places(&follow(&tables, 1, &[2], &[2, 3]).0), [pack(3)]);
        // The old pack is there: it stays, and nothing condemned is needed.
        assert_eq!(places(&follow(&tables, 1, &[2, 3], &[1, 2, 3]).0), [pack(1)]);
        // A snapshot that was forgotten, whose blob was moved for another one that was forgotten as well, and that is wanted again.
        let (all, followed) = follow(&tables, 1, &[2, 3], &[2, 3]);
        assert_eq!(places(&all).len(), 1);
        assert_ne!(places(&all), [pack(1)]);
        assert_eq!(followed.needed.len(), 1);
    }
}
