//! The plan: which objects of the backup are restored, which are left out and by which rule, where they go and in which order. Pure: facts in, plan out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use api::selection::{Kind, Rule, Selection};

use super::facts::{Facts, Reference};
use super::mapping::Mapping;
use super::order::{self, Tier};
use super::rules::{self, Omission};

const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";
const NAMESPACES: &str = "namespaces";

/// Every object of the backup, in the order of its paths, and what becomes of it.
#[derive(Debug, Default)]
pub struct Plan {
    /// The objects.
    pub items: Vec<Item>,
    /// Their kinds, by resource.
    pub kinds: BTreeMap<Arc<str>, Kind>,
    /// Namespaces of this cluster that something is restored into.
    pub namespaces: BTreeSet<Arc<str>>,
    /// PersistentVolumes that come back.
    pub volumes: BTreeSet<Box<str>>,
    owners: HashMap<Box<str>, usize>,
}

/// An object of the backup, and what becomes of it.
#[derive(Debug)]
pub struct Item {
    /// What is known of it.
    pub facts: Facts,
    /// Its namespace in this cluster; empty for none.
    pub target: Arc<str>,
    /// What becomes of it.
    pub fate: Fate,
    /// When it is made.
    pub level: Level,
}

/// What becomes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is restored.
    Restored,
    /// The user does not want it.
    Unwanted(Rule),
    /// It never comes back.
    Omitted(Omission),
}

/// When an object is made: the tier, and how deep it stands below its owners in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level {
    /// The tier.
    pub tier: Tier,
    /// Owners above it.
    pub depth: u16,
}

impl Item {
    /// The name it gets: that of a namespace may be another one.
    pub fn target_name<'a>(&'a self, mapping: &'a Mapping) -> &'a str {
        if &*self.facts.resource == NAMESPACES {
            mapping.namespace(&self.facts.name)
        } else {
            &self.facts.name
        }
    }

    /// RESOURCE/NAMESPACE/NAME as it is in this cluster, for issues.
    pub fn about(&self, mapping: &Mapping) -> String {
        super::facts::about(&self.facts.resource, &self.target, self.target_name(mapping))
    }
}

impl Plan {
    /// Decides for every object. `facts` are in the order of paths: by resource, namespace and name.
    pub fn new(facts: Vec<Facts>, kinds: BTreeMap<Arc<str>, Kind>, selection: &Selection, mapping: &Mapping) -> Self {
        let objects = Objects::new(&facts, &kinds, selection);
        let wanted = objects.wanted();
        let fates: Vec<Fate> = (0..facts.len())
            .map(|place| objects.fate(place, &wanted, mapping))
            .collect();
        let above: Vec<Vec<usize>> = (0..facts.len())
            .map(|place| {
                if fates[place] != Fate::Restored {
                    return Vec::new();
                }
                let tier = order::tier(&facts[place].resource);
                let owners = objects.owners(place).map(|(owner, _)| owner);
                owners
                    .filter(|owner| fates[*owner] == Fate::Restored && order::tier(&facts[*owner].resource) == tier)
                    .collect()
            })
            .collect();
        let depths = order::depths(facts.len(), |place| above[place].clone());
        let owners = objects.by_uid;
        let mut plan = Self {
            kinds,
            owners,
            ..Self::default()
        };
        let mut targets = super::facts::Names::default();
        for (place, facts) in facts.into_iter().enumerate() {
            let target = targets.keep(mapping.namespace(&facts.namespace));
            if fates[place] == Fate::Restored {
                match &*facts.resource {
                    NAMESPACES => drop(plan.namespaces.insert(targets.keep(mapping.namespace(&facts.name)))),
                    "persistentvolumes" => drop(plan.volumes.insert(facts.name.clone())),
                    _ if !target.is_empty() => drop(plan.namespaces.insert(Arc::clone(&target))),
                    _ => {}
                }
            }
            let level = Level {
                tier: order::tier(&facts.resource),
                depth: depths[place],
            };
            plan.items.push(Item {
                facts,
                target,
                fate: fates[place],
                level,
            });
        }
        plan
    }

    /// The objects that are restored, by their places.
    pub fn restored(&self) -> impl Iterator<Item = (usize, &Item)> {
        self.items
            .iter()
            .enumerate()
            .filter(|(_, item)| item.fate == Fate::Restored)
    }

    /// The object of this kind, namespace and name in the backup.
    pub fn find(&self, resource: &str, namespace: &str, name: &str) -> Option<&Item> {
        let by_path = |item: &Item| {
            let facts = &item.facts;
            (&*facts.resource, &*facts.namespace, &*facts.name).cmp(&(resource, namespace, name))
        };
        self.items.get(self.items.binary_search_by(by_path).ok()?)
    }

    /// The object that had this UID in the backup.
    pub fn by_uid(&self, uid: &str) -> Option<(usize, &Item)> {
        let place = *self.owners.get(uid)?;
        Some((place, self.items.get(place)?))
    }

    /// How many objects are left out, by rule.
    pub fn omitted(&self) -> BTreeMap<Omission, u64> {
        let mut counts = BTreeMap::new();
        for item in &self.items {
            if let Fate::Omitted(omission) = item.fate {
                *counts.entry(omission).or_default() += 1;
            }
        }
        counts
    }
}

/// The facts, and what is found in them.
struct Objects<'a> {
    facts: &'a [Facts],
    kinds: &'a BTreeMap<Arc<str>, Kind>,
    selection: &'a Selection,
    /// Objects that own others, by UID.
    by_uid: HashMap<Box<str>, usize>,
    /// Objects that are needed with others, by these.
    with: HashMap<&'a Reference, Vec<usize>>,
}

impl<'a> Objects<'a> {
    fn new(facts: &'a [Facts], kinds: &'a BTreeMap<Arc<str>, Kind>, selection: &'a Selection) -> Self {
        let mut by_uid: HashMap<Box<str>, usize> = HashMap::new();
        for owner in facts.iter().flat_map(|facts| facts.owners.iter()) {
            by_uid.insert(owner.uid.clone(), usize::MAX);
        }
        let mut with: HashMap<&Reference, Vec<usize>> = HashMap::new();
        for (place, facts) in facts.iter().enumerate() {
            if let Some(known) = by_uid.get_mut(&facts.uid) {
                *known = place;
            }
            for reference in &facts.needed_by {
                with.entry(reference).or_default().push(place);
            }
        }
        by_uid.retain(|_, place| *place != usize::MAX);
        Self {
            facts,
            kinds,
            selection,
            by_uid,
            with,
        }
    }

    /// The owners of an object that are in the backup, each with whether it controls it. Whoever owns something of a namespace is in it, or in none.
    fn owners(&self, place: usize) -> impl Iterator<Item = (usize, bool)> {
        self.facts[place]
            .owners
            .iter()
            .filter_map(|owner| Some((*self.by_uid.get(&owner.uid)?, owner.controls)))
    }

    fn find(&self, resource: &str, namespace: &str, name: &str) -> Option<usize> {
        self.facts
            .binary_search_by(|facts| {
                (&*facts.resource, &*facts.namespace, &*facts.name).cmp(&(resource, namespace, name))
            })
            .ok()
    }

    /// Every place that a reference means.
    fn resolve(&self, reference: &Reference) -> Vec<usize> {
        let (resource, namespace, name) = (reference.resource, &*reference.namespace, &*reference.name);
        let Some(beginning) = name.strip_suffix('*') else {
            return self.find(resource, namespace, name).into_iter().collect();
        };
        let start = self.facts.partition_point(|facts| {
            (&*facts.resource, &*facts.namespace, &*facts.name) < (resource, namespace, beginning)
        });
        let fits = |facts: &&Facts| {
            &*facts.resource == resource && &*facts.namespace == namespace && facts.name.starts_with(beginning)
        };
        let found = self
            .facts
            .get(start..)
            .unwrap_or_default()
            .iter()
            .take_while(fits)
            .enumerate();
        found
            .filter(|(_, facts)| reference.means(&facts.name))
            .map(|(offset, _)| start + offset)
            .collect()
    }

    /// What is selected, and what that cannot be without.
    fn wanted(&self) -> Vec<bool> {
        let mut wanted: Vec<bool> = self
            .facts
            .iter()
            .map(|facts| facts.rule == Rule::Selected && facts.omission.is_none())
            .collect();
        let mut ahead: Vec<usize> = wanted
            .iter()
            .enumerate()
            .filter(|(_, wanted)| **wanted)
            .map(|(place, _)| place)
            .collect();
        while let Some(place) = ahead.pop() {
            let facts = &self.facts[place];
            let mut found: Vec<usize> = facts.needs.iter().flat_map(|need| self.resolve(need)).collect();
            found.extend(self.find(DEFINITIONS, "", &facts.resource));
            if !facts.namespace.is_empty() {
                found.extend(self.find(NAMESPACES, "", &facts.namespace));
            }
            if &*facts.resource == "serviceaccounts" {
                let account = Reference {
                    resource: "serviceaccounts",
                    namespace: Arc::clone(&facts.namespace),
                    name: facts.name.clone(),
                };
                found.extend(self.with.get(&account).into_iter().flatten());
            }
            for needed in found {
                if !wanted[needed] && self.facts[needed].omission.is_none() && self.may_come(needed) {
                    wanted[needed] = true;
                    ahead.push(needed);
                }
            }
        }
        wanted
    }

    /// Whether an object that was not selected comes for the sake of others: not against the user's word.
    fn may_come(&self, place: usize) -> bool {
        let facts = &self.facts[place];
        let is_ground = matches!(&*facts.resource, NAMESPACES | DEFINITIONS);
        let excluded = || {
            self.kinds
                .get(&facts.resource)
                .is_some_and(|kind| self.selection.kinds.excluded(kind))
        };
        match facts.rule {
            Rule::Selected | Rule::Labels | Rule::Name => true,
            Rule::ClusterScoped => self.selection.cluster != Some(false),
            // Nothing can be made without them.
            Rule::Kind => is_ground && self.selection.cluster != Some(false) && !excluded(),
            Rule::Namespace | Rule::ExcludeLabel => false,
        }
    }

    /// The controller that makes an object anew, if it does.
    fn maker(&self, place: usize) -> Option<usize> {
        let facts = &self.facts[place];
        let owner = facts.owners.iter().find(|owner| owner.controls)?;
        let maker = *self.by_uid.get(&owner.uid)?;
        let makes = rules::is_made(&facts.resource, &owner.group, &owner.kind);
        // A service that chooses no pods has endpoints that a person, or a program, has made.
        let idle = &*self.facts[maker].resource == "services" && !self.facts[maker].has_selector;
        (makes && !idle).then_some(maker)
    }

    /// Whether an object will be there: restored, or made by who is.
    fn is_covered(&self, place: usize, wanted: &[bool]) -> bool {
        let mut place = place;
        // Chains of controllers are short; a circle of them would be a mistake in the backup.
        for _ in 0..8 {
            if wanted[place] {
                return true;
            }
            let Some(maker) = self.maker(place) else { return false };
            place = maker;
        }
        false
    }

    fn fate(&self, place: usize, wanted: &[bool], mapping: &Mapping) -> Fate {
        let facts = &self.facts[place];
        if let Some(omission) = facts.omission {
            return Fate::Omitted(omission);
        }
        if !wanted[place] {
            return Fate::Unwanted(facts.rule);
        }
        let named = self
            .kinds
            .get(&facts.resource)
            .is_some_and(|kind| self.selection.kinds.named(kind));
        if !named {
            let made = self.maker(place).is_some_and(|maker| self.is_covered(maker, wanted));
            let endpoints = &*facts.resource == "endpoints"
                && self
                    .find("services", &facts.namespace, &facts.name)
                    .is_some_and(|service| self.facts[service].has_selector);
            if made || endpoints {
                return Fate::Omitted(Omission::MadeByController);
            }
        }
        if &*facts.resource == "storageclasses.storage.k8s.io" && mapping.class(&facts.name) != &*facts.name {
            return Fate::Omitted(Omission::ClassMapped);
        }
        Fate::Restored
    }
}

#[cfg(test)]
#[path = "plan/tests.rs"]
pub mod tests;
