//! The backup as a restore reads it: its record, the facts of its objects, and the objects themselves, which stream past and are never all in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use api::archive::{self, Record, VolumeRecord};
use api::selection::{Kind, Selection};
use engine::repository::{SnapshotFilter, StoredSnapshot};
use engine::verbs::read::read;
use engine::words::Error;
use serde_json::Value;
use tokio::sync::mpsc;

use super::facts::{Facts, Looked, Names};
use super::fields::{items, text};
use super::nodes::Nodes;
use super::plan::Plan;
use crate::cluster::kinds::Found;
use crate::repositories::{Opened, blocking};

const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";
/// Objects that are read ahead of those who make them.
const AHEAD: usize = 32;
/// When fewer than one in so many objects of a kind are wanted, each is looked up by itself.
const SPARSE: usize = 16;

/// A backup in its repository.
pub struct Source {
    /// The repository.
    pub opened: Arc<Opened>,
    /// The Backup's snapshot.
    pub snapshot: StoredSnapshot,
    /// What was asked for, and what became of it.
    pub record: Record,
    /// What was done with each volume.
    pub volumes: Vec<VolumeRecord>,
}

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

impl Source {
    /// Finds a backup's snapshot and reads its records.
    ///
    /// # Errors
    /// When it is not there, damaged, or of a newer layout.
    pub async fn open(opened: Arc<Opened>, snapshot: String) -> Result<Self> {
        blocking(move || {
            let snapshot = opened.repository.find_snapshot(&snapshot, &SnapshotFilter::default())?;
            let file = |path: &str| -> Result<Vec<u8>> {
                let mut found = None;
                read(&opened.repository, &snapshot, path.as_bytes(), &mut |_, content| {
                    found = Some(content.to_vec());
                    Ok(())
                })?;
                found.ok_or_else(|| anyhow!("The snapshot {} has no {path}: it is no Backup", snapshot.id))
            };
            let record = file(archive::RECORD)?;
            // The layout's version comes first: what a newer one has besides may not be understood.
            let format = serde_json::from_slice::<Value>(&record).context("The record of the Backup is damaged")?;
            let format = format.get("format").and_then(Value::as_u64).unwrap_or_default();
            if format > u64::from(archive::FORMAT) {
                bail!(
                    "The Backup has layout {format} and this controller knows {}: update Ararat to restore it",
                    archive::FORMAT
                );
            }
            let record: Record = serde_json::from_slice(&record).context("The record of the Backup is damaged")?;
            let volumes =
                serde_json::from_slice(&file(archive::VOLUMES)?).context("The volumes' records are damaged")?;
            Ok(Self {
                opened,
                snapshot,
                record,
                volumes,
            })
        })
        .await?
    }

    /// Reads every object once, for its facts.
    ///
    /// # Errors
    /// What the repository says.
    pub async fn gather(
        self: &Arc<Self>,
        question: Question,
        stop: impl Fn() -> bool + Send + 'static,
    ) -> Result<Gathered> {
        let source = Arc::clone(self);
        blocking(move || source.gather_blocking(&question, &stop)).await?
    }

    fn gather_blocking(&self, question: &Question, stop: &dyn Fn() -> bool) -> Result<Gathered> {
        let short = self.short_names()?;
        let (mut gathered, mut names) = (Gathered::default(), Names::default());
        // Who asks for a namespace, now or when the backup was made, means it.
        let named =
            api::selection::Globs::new(&self.record.spec.included_namespaces, &[]).map_err(|why| anyhow!(why))?;
        let is_named = |namespace: &str| question.selection.namespaces.names(namespace) || named.names(namespace);
        read(
            &self.opened.repository,
            &self.snapshot,
            archive::OBJECTS.as_bytes(),
            &mut |path, content| {
                if stop() {
                    return Err(Error::Interrupted);
                }
                let path = String::from_utf8_lossy(path);
                let Some((resource, namespace, name)) = archive::parse_object_path(&path) else {
                    gathered
                        .damaged
                        .push((path.into_owned(), "its path is none of an object".to_owned()));
                    return Ok(());
                };
                let object: Value = match serde_json::from_slice(content) {
                    Ok(object) => object,
                    Err(error) => {
                        gathered
                            .damaged
                            .push((path.into_owned(), format!("it is no JSON: {error}")));
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
                if !namespace.is_empty() && !gathered.namespaces.contains(&*namespace) {
                    gathered.namespaces.insert(namespace.to_string());
                } else if &*resource == "namespaces" {
                    gathered.namespaces.insert(name.to_owned());
                }
                gathered
                    .facts
                    .push(Facts::of(&resource, &namespace, name, &object, &looked));
                Ok(())
            },
        )?;
        Ok(gathered)
    }

    /// The short names that definitions of the backup give to their kinds.
    fn short_names(&self) -> Result<BTreeMap<String, Vec<String>>> {
        let mut short = BTreeMap::new();
        let path = format!("{}/{DEFINITIONS}", archive::OBJECTS);
        read(
            &self.opened.repository,
            &self.snapshot,
            path.as_bytes(),
            &mut |_, content| {
                if let Ok(definition) = serde_json::from_slice::<Value>(content) {
                    let names = items(&definition, "/spec/names/shortNames")
                        .filter_map(|name| name.as_str().map(str::to_owned));
                    short.insert(super::fields::name(&definition).to_owned(), names.collect());
                }
                Ok(())
            },
        )?;
        Ok(short)
    }

    /// Reads objects, in the order of their places, which rise: each comes with its place. An error is the last that comes.
    pub fn feed(self: &Arc<Self>, plan: &Arc<Plan>, places: Vec<usize>) -> mpsc::Receiver<Result<(usize, Vec<u8>)>> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let (source, plan) = (Arc::clone(self), Arc::clone(plan));
        tokio::task::spawn_blocking(move || {
            if let Err(error) = source.feed_blocking(&plan, &places, &sender)
                && !matches!(error.downcast_ref::<Error>(), Some(Error::Interrupted))
            {
                let _ = sender.blocking_send(Err(error));
            }
        });
        receiver
    }

    fn feed_blocking(
        &self,
        plan: &Plan,
        places: &[usize],
        sender: &mpsc::Sender<Result<(usize, Vec<u8>)>>,
    ) -> Result<()> {
        let give = |place: usize, content: &[u8]| {
            // Whoever takes them has stopped.
            sender
                .blocking_send(Ok((place, content.to_vec())))
                .map_err(|_| Error::Interrupted)
        };
        let facts = |place: usize| &plan.items[place].facts;
        for group in places.chunk_by(|one, other| facts(*one).resource == facts(*other).resource) {
            let resource = &facts(group[0]).resource;
            let of_kind = plan.items.partition_point(|item| item.facts.resource <= *resource)
                - plan.items.partition_point(|item| item.facts.resource < *resource);
            let mut given = 0;
            if group.len().saturating_mul(SPARSE) < of_kind {
                for place in group {
                    let path = path(facts(*place));
                    read(
                        &self.opened.repository,
                        &self.snapshot,
                        path.as_bytes(),
                        &mut |_, content| give(*place, content),
                    )?;
                    given += 1;
                }
            } else {
                let folder = format!("{}/{resource}", archive::OBJECTS);
                let mut ahead = group.iter().copied().peekable();
                read(
                    &self.opened.repository,
                    &self.snapshot,
                    folder.as_bytes(),
                    &mut |found, content| {
                        if let Some(place) = ahead.peek().copied()
                            && path(facts(place)).as_bytes() == found
                        {
                            ahead.next();
                            given += 1;
                            give(place, content)?;
                        }
                        Ok(())
                    },
                )?;
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
