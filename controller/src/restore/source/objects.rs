//! The objects of a backup: read once for their facts, and again when they are made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use api::archive;
use api::selection::{Globs, Kind, Selection};
use engine::repository::{Repository, StoredSnapshot};
use engine::verbs::read::read;
use engine::words::Error;
use serde_json::Value;

use super::super::facts::{Facts, Looked, Names};
use super::super::fields::{items, name as name_of, text};
use super::super::plan::Plan;
use crate::cluster::kinds::Found;
use crate::cluster::nodes::Nodes;

const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";
/// When fewer than one in so many objects of a kind are wanted, each is looked up by itself.
const SPARSE: usize = 16;

/// What is asked of every object while the plan is made.
pub struct Question {
    /// What the user wants.
    pub selection: Selection,
    /// The kinds that this cluster serves, for the names that people call them.
    pub found: Found,
    /// The namespace of the installation.
    pub installation: String,
    /// The nodes of this cluster.
    pub nodes: Nodes,
    /// Namespaces that the Backup was asked for: whoever asks for one of the cluster's own means it.
    pub asked_for: Vec<String>,
}

/// What the plan is made from.
#[derive(Default)]
pub struct Gathered {
    /// Facts of every object, in the order of paths.
    pub facts: Vec<Facts>,
    /// Their kinds, by resource.
    pub kinds: BTreeMap<Arc<str>, Kind>,
    /// The namespaces of the backup.
    pub namespaces: BTreeSet<String>,
    /// Objects that could not be understood: path and reason.
    pub damaged: Vec<(String, String)>,
}

/// Reads every object once, for its facts.
///
/// # Errors
/// What the repository says.
pub fn gather(
    repository: &Repository,
    snapshot: &StoredSnapshot,
    question: &Question,
    stop: &dyn Fn() -> bool,
) -> Result<Gathered> {
    let short = short_names(repository, snapshot)?;
    let (mut gathered, mut names) = (Gathered::default(), Names::default());
    let asked_for = Globs::new(&question.asked_for, &[]).map_err(|why| anyhow!(why))?;
    let is_named = |namespace: &str| question.selection.namespaces.names(namespace) || asked_for.names(namespace);
    read(
        repository,
        snapshot,
        archive::OBJECTS.as_bytes(),
        &mut |path, content| {
            if stop() {
                return Err(Error::Interrupted);
            }
            let path = String::from_utf8_lossy(path);
            let (resource, namespace, name, object) = match understand(&path, content) {
                Ok(understood) => understood,
                Err(why) => {
                    gathered.damaged.push((path.into_owned(), why));
                    return Ok(());
                }
            };
            let (resource, namespace) = (names.keep(resource), names.keep(namespace));
            let kind = gathered.kinds.entry(Arc::clone(&resource)).or_insert_with(|| {
                let mut kind = kind_of(&resource, !namespace.is_empty(), &object);
                let known = question.found.by_resource(&resource).map(|found| &found.short);
                kind.short = known.or_else(|| short.get(&*resource)).cloned().unwrap_or_default();
                kind
            });
            let looked = Looked {
                selection: &question.selection,
                kind,
                installation: &question.installation,
                is_named: &is_named,
                nodes: &question.nodes,
            };
            let within = if &*resource == "namespaces" { name } else { &*namespace };
            if !within.is_empty() && !gathered.namespaces.contains(within) {
                gathered.namespaces.insert(within.to_owned());
            }
            gathered
                .facts
                .push(Facts::of(&resource, &namespace, name, &object, &looked));
            Ok(())
        },
    )?;
    Ok(gathered)
}

/// What a path and its content say: resource, namespace, name, and the object. One that says of itself that it is another is not believed.
fn understand<'p>(path: &'p str, content: &[u8]) -> Result<(&'p str, &'p str, &'p str, Value), String> {
    let (resource, namespace, name) = archive::parse_object_path(path).ok_or("its path is none of an object")?;
    let object: Value = serde_json::from_slice(content).map_err(|error| format!("it is no JSON: {error}"))?;
    if name_of(&object) != name || text(&object, "/metadata/namespace").unwrap_or_default() != namespace {
        return Err("it is another object than its path says".to_owned());
    }
    Ok((resource, namespace, name, object))
}

/// The short names that definitions of the backup give to their kinds.
fn short_names(repository: &Repository, snapshot: &StoredSnapshot) -> Result<BTreeMap<String, Vec<String>>> {
    let mut short = BTreeMap::new();
    let path = format!("{}/{DEFINITIONS}", archive::OBJECTS);
    read(repository, snapshot, path.as_bytes(), &mut |_, content| {
        if let Ok(definition) = serde_json::from_slice::<Value>(content) {
            let names =
                items(&definition, "/spec/names/shortNames").filter_map(|name| name.as_str().map(str::to_owned));
            short.insert(name_of(&definition).to_owned(), names.collect());
        }
        Ok(())
    })?;
    Ok(short)
}

/// Reads objects, in the order of their places, which rise, and gives each with its place.
///
/// # Errors
/// What the repository and `give` say; when an object of the plan is not there any more.
pub fn feed(
    repository: &Repository,
    snapshot: &StoredSnapshot,
    plan: &Plan,
    places: &[usize],
    give: &mut dyn FnMut(usize, &[u8]) -> engine::words::Result<()>,
) -> Result<()> {
    let facts = |place: usize| &plan.items[place].facts;
    for group in places.chunk_by(|one, other| facts(*one).resource == facts(*other).resource) {
        let resource = &facts(group[0]).resource;
        let of_kind = plan.items.partition_point(|item| item.facts.resource <= *resource)
            - plan.items.partition_point(|item| item.facts.resource < *resource);
        let mut given = 0;
        if group.len().saturating_mul(SPARSE) < of_kind {
            for place in group {
                let path = path(facts(*place));
                given += read(repository, snapshot, path.as_bytes(), &mut |_, content| {
                    give(*place, content)
                })? as usize;
            }
        } else {
            let folder = format!("{}/{resource}", archive::OBJECTS);
            let mut ahead = group.iter().copied().peekable();
            read(repository, snapshot, folder.as_bytes(), &mut |found, content| {
                if let Some(place) = ahead.peek().copied()
                    && path(facts(place)).as_bytes() == found
                {
                    ahead.next();
                    given += 1;
                    give(place, content)?;
                }
                Ok(())
            })?;
        }
        if given != group.len() {
            bail!(
                "{} objects of {resource} were found before and are not found any more",
                group.len() - given
            );
        }
    }
    Ok(())
}

/// The path of an object in the snapshot.
fn path(facts: &Facts) -> String {
    if facts.namespace.is_empty() {
        format!("{}/{}/cluster/{}", archive::OBJECTS, facts.resource, facts.name)
    } else {
        format!(
            "{}/{}/namespaces/{}/{}",
            archive::OBJECTS,
            facts.resource,
            facts.namespace,
            facts.name
        )
    }
}

/// The kind of an object, by where it lies and what it says.
fn kind_of(resource: &str, namespaced: bool, object: &Value) -> Kind {
    let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
    let version = text(object, "/apiVersion").unwrap_or_default();
    Kind {
        group: group.to_owned(),
        version: version.rsplit('/').next().unwrap_or_default().to_owned(),
        kind: text(object, "/kind").unwrap_or_default().to_owned(),
        plural: plural.to_owned(),
        short: Vec::new(),
        namespaced,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::restore::mapping::Mapping;
    use crate::trial;
    use api::RestoreSpec;
    use serde_json::json;

    /// A backup of many ConfigMaps, a Deployment, a definition with a short name, and a file that is not what it says.
    fn backup(name: &str) -> (Repository, StoredSnapshot) {
        let repository = trial::repository(name);
        let mut files = Vec::new();
        let object = |path: &str, version: &str, kind: &str| {
            let parts: Vec<&str> = path.split('/').collect();
            let namespace = (parts[2] == "namespaces").then(|| parts[3]);
            let object = json!({ "apiVersion": version, "kind": kind, "metadata": { "name": parts.last(), "namespace": namespace },
                "spec": { "names": { "shortNames": ["wdg"] } } });
            (path.to_owned(), object.to_string())
        };
        for number in 0..100 {
            files.push(object(
                &format!("objects/configmaps/namespaces/web/m-{number:03}"),
                "v1",
                "ConfigMap",
            ));
        }
        let definition = "objects/customresourcedefinitions.apiextensions.k8s.io/cluster/widgets.example.org";
        files.push(object(
            definition,
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
        ));
        files.push(object(
            "objects/deployments.apps/namespaces/web/app",
            "apps/v1",
            "Deployment",
        ));
        let liar = json!({ "metadata": { "name": "x", "namespace": "web" } });
        files.push(("objects/secrets/namespaces/web/other".to_owned(), liar.to_string()));
        files.push(object(
            "objects/widgets.example.org/namespaces/web/one",
            "example.org/v1",
            "Widget",
        ));
        let borrowed: Vec<(&str, &str)> = files
            .iter()
            .map(|(path, content)| (path.as_str(), content.as_str()))
            .collect();
        trial::save(&repository, archive::KIND_BACKUP, "a", 0, &borrowed);
        let snapshot = trial::snapshots(&repository).pop().unwrap();
        (repository, snapshot)
    }

    fn question(spec: &RestoreSpec) -> Question {
        Question {
            selection: Selection::of_restore(spec).unwrap(),
            found: Found::default(),
            installation: "ararat".into(),
            nodes: Nodes::default(),
            asked_for: Vec::new(),
        }
    }

    #[test]
    fn facts_of_all_objects_are_gathered_and_what_lies_is_named() {
        let (repository, snapshot) = backup("restore-gather");
        let spec = RestoreSpec {
            included_resources: vec!["wdg".into()],
            ..RestoreSpec::default()
        };
        let gathered = gather(&repository, &snapshot, &question(&spec), &|| false).unwrap();
        assert_eq!((gathered.facts.len(), gathered.namespaces.len()), (103, 1));
        assert_eq!(gathered.damaged[0].0, "objects/secrets/namespaces/web/other");
        assert_eq!(gathered.kinds["deployments.apps"].api_version(), "apps/v1");
        let plan = Plan::new(
            gathered.facts,
            gathered.kinds,
            &question(&spec).selection,
            &Mapping::default(),
        );
        let names: Vec<&str> = plan.restored().map(|(_, item)| &*item.facts.name).collect();
        assert_eq!(names, ["widgets.example.org", "one"]);
        assert!(gather(&repository, &snapshot, &question(&spec), &|| true).is_err());
    }

    #[test]
    fn objects_come_in_the_order_of_their_places_whether_few_or_many() {
        let (repository, snapshot) = backup("restore-feed");
        let spec = RestoreSpec::default();
        let gathered = gather(&repository, &snapshot, &question(&spec), &|| false).unwrap();
        let plan = Plan::new(
            gathered.facts,
            gathered.kinds,
            &question(&spec).selection,
            &Mapping::default(),
        );
        for places in [
            vec![0, 99, 101],
            (0..103).collect(),
            (0..103).step_by(2).collect(),
            Vec::new(),
        ] {
            let mut given = Vec::new();
            let mut give = |place: usize, content: &[u8]| {
                let object: Value = serde_json::from_slice(content).unwrap();
                assert_eq!(name_of(&object), &*plan.items[place].facts.name);
                given.push(place);
                Ok(())
            };
            feed(&repository, &snapshot, &plan, &places, &mut give).unwrap();
            assert_eq!(given, places);
        }
    }
}
