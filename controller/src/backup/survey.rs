//! What there is in the cluster, as far as a Backup must know it before it saves anything: namespaces, pods, claims and volumes, and what the objects that it saves
//! need although nobody named it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, anyhow};
use api::BackupSpec;
use api::selection::{Kind, Rule, Selection};
use serde_json::Value;

use super::collect;
use crate::cluster::kinds::{self, Found, discover};
use crate::cluster::list::list;
use crate::context::{Context, is_not_found};
use crate::issues::Issues;
use crate::volumes::facts::{ClaimFacts, PodFacts, VolumeFacts, map, text};

/// Objects that are saved for the sake of others: by resource, namespace and name, and for whose sake.
pub type Needed = BTreeMap<(String, String, String), String>;

/// What there is.
pub struct Survey {
    /// The kinds that are served.
    pub found: Found,
    /// Which objects are meant.
    pub selection: Selection,
    /// The namespaces that are meant.
    pub namespaces: BTreeSet<String>,
    /// Pods of these namespaces.
    pub pods: Vec<PodFacts>,
    /// Claims of these namespaces.
    pub claims: Vec<ClaimFacts>,
    /// PersistentVolumes by name.
    pub volumes: BTreeMap<String, VolumeFacts>,
    /// Pods that are saved.
    pub pods_saved: BTreeSet<(String, String)>,
    /// Claims that are saved.
    pub claims_saved: BTreeSet<(String, String)>,
    /// What is saved for the sake of others.
    pub needed: Needed,
}

impl Survey {
    /// Looks.
    ///
    /// # Errors
    /// When the API server does not say what kinds or namespaces there are.
    pub async fn look(context: &Context, spec: &BackupSpec, issues: &Issues) -> Result<Self> {
        let selection = Selection::of_backup(spec).map_err(|errors| anyhow!(errors.join("; ")))?;
        let found = discover(&context.client)
            .await
            .context("The API server does not say what it serves")?;
        for (group, why) in &found.broken {
            issues.error(
                "GroupUnavailable",
                group.clone(),
                format!("Objects of {group} could not be saved: {why}"),
            );
        }
        let mut survey = Self {
            found,
            selection,
            namespaces: BTreeSet::new(),
            pods: Vec::new(),
            claims: Vec::new(),
            volumes: BTreeMap::new(),
            pods_saved: BTreeSet::new(),
            claims_saved: BTreeSet::new(),
            needed: Needed::new(),
        };
        survey.look_for_namespaces(context).await?;
        survey.look_for_pods(context, issues).await;
        // Where objects of no namespace are meant by themselves, and no kind is left out, they are saved anyway.
        let everything = survey.selection.whole_cluster() && survey.selection.kinds.is_everything();
        if survey.selection.cluster != Some(false) && !everything {
            survey.look_for_accounts(context, issues).await;
            survey.look_for_definitions(context, issues).await;
        }
        survey.leave_out_what_is_excluded();
        if !survey.selection.selectors.is_empty() || !survey.selection.names.is_everything() {
            survey.leave_out_empty_namespaces(context).await;
        }
        Ok(survey)
    }

    /// Adds to what is needed.
    fn need(&mut self, resource: &str, namespace: &str, name: &str, whose: String) {
        self.needed
            .entry((resource.to_owned(), namespace.to_owned(), name.to_owned()))
            .or_insert(whose);
    }

    fn kind(&self, resource: &str) -> Option<Kind> {
        self.found.by_resource(resource).cloned()
    }

    async fn look_for_namespaces(&mut self, context: &Context) -> Result<()> {
        let kind = self
            .kind("namespaces")
            .ok_or_else(|| anyhow!("The API server serves no namespaces"))?;
        let mut names = BTreeSet::new();
        let listed = list(&context.client, &kind, "", |page| {
            let live = page
                .iter()
                .filter(|namespace| namespace.pointer("/metadata/deletionTimestamp").is_none());
            names.extend(live.filter_map(|namespace| text(namespace, "/metadata/name").map(str::to_owned)));
        });
        listed.await.map_err(|error| anyhow!(kinds::explain(&kind, &error)))?;
        names.retain(|name| self.selection.namespaces.matches(name));
        for name in &names {
            // A namespace's labels say what may run in it: whoever is saved by labels alone takes them along.
            self.need("namespaces", "", name, "objects in it".to_owned());
        }
        self.namespaces = names;
        Ok(())
    }

    async fn look_for_pods(&mut self, context: &Context, issues: &Issues) {
        let pods = self.objects(context, "pods", issues).await;
        let claims = self.objects(context, "persistentvolumeclaims", issues).await;
        self.pods = pods.iter().map(PodFacts::of).collect();
        self.claims = claims.iter().map(ClaimFacts::of).collect();
        let by_itself = |kind: &Kind, namespace: &str, name: &str, labels: &BTreeMap<String, String>| {
            self.selection.judge(kind, namespace, name, Some(labels)) == Rule::Selected
        };
        if let Some(kind) = self.kind("pods") {
            let saved = self
                .pods
                .iter()
                .filter(|pod| by_itself(&kind, &pod.namespace, &pod.name, &pod.labels));
            self.pods_saved = saved.map(|pod| (pod.namespace.clone(), pod.name.clone())).collect();
        }
        if let Some(kind) = self.kind("persistentvolumeclaims") {
            let saved = self
                .claims
                .iter()
                .filter(|claim| by_itself(&kind, &claim.namespace, &claim.name, &claim.labels));
            self.claims_saved = saved
                .map(|claim| (claim.namespace.clone(), claim.name.clone()))
                .collect();
            let excluded = self.selection.kinds.excluded(&kind);
            let of_pods: Vec<(String, String, String)> = self
                .pods
                .iter()
                .filter(|pod| !excluded && self.pods_saved.contains(&(pod.namespace.clone(), pod.name.clone())))
                .flat_map(|pod| {
                    let claims = pod.volumes.iter().filter_map(|volume| volume.claim.clone());
                    claims.map(|claim| (pod.namespace.clone(), claim, pod.name.clone()))
                })
                .collect();
            for (namespace, claim, pod) in of_pods {
                let found = self
                    .claims
                    .iter()
                    .find(|known| known.namespace == namespace && known.name == claim);
                if found.is_some_and(|claim| !api::words::is_excluded(Some(&claim.labels))) {
                    self.claims_saved.insert((namespace.clone(), claim.clone()));
                    self.need(
                        "persistentvolumeclaims",
                        &namespace,
                        &claim,
                        format!("pod {namespace}/{pod}"),
                    );
                }
            }
        }
        for object in &pods {
            let key = (
                text(object, "/metadata/namespace").unwrap_or_default().to_owned(),
                text(object, "/metadata/name").unwrap_or_default().to_owned(),
            );
            if !self.pods_saved.contains(&key) {
                continue;
            }
            let whose = format!("pod {}/{}", key.0, key.1);
            if let Some(account) = text(object, "/spec/serviceAccountName") {
                let account = account.to_owned();
                self.need("serviceaccounts", &key.0, &account, whose.clone());
            }
            if self.selection.cluster != Some(false)
                && let Some(class) =
                    text(object, "/spec/priorityClassName").filter(|class| !class.starts_with("system-"))
            {
                let class = class.to_owned();
                self.need("priorityclasses.scheduling.k8s.io", "", &class, whose);
            }
        }
        let Some(kind) = self.kind("persistentvolumes") else {
            return;
        };
        let mut volumes = BTreeMap::new();
        let listed = list(&context.client, &kind, "", |page| {
            volumes.extend(
                page.iter()
                    .map(VolumeFacts::of)
                    .map(|volume| (volume.name.clone(), volume)),
            );
        });
        if let Err(error) = listed.await {
            issues.error("ListFailed", kind.resource(), kinds::explain(&kind, &error));
        }
        self.volumes = volumes;
        if self.selection.cluster != Some(false) {
            let bound: Vec<(String, String)> = self
                .claims
                .iter()
                .filter(|claim| {
                    claim.bound
                        && self
                            .claims_saved
                            .contains(&(claim.namespace.clone(), claim.name.clone()))
                })
                .map(|claim| {
                    (
                        claim.volume.clone(),
                        format!("claim {}/{}", claim.namespace, claim.name),
                    )
                })
                .collect();
            for (volume, whose) in bound {
                self.need("persistentvolumes", "", &volume, whose);
            }
        }
    }

    /// Service accounts → bindings → roles, of the cluster and where labels select, of namespaces.
    async fn look_for_accounts(&mut self, context: &Context, issues: &Issues) {
        const GROUP: &str = "rbac.authorization.k8s.io";
        let Some(kind) = self.kind("serviceaccounts") else {
            return;
        };
        let accounts = self.objects(context, "serviceaccounts", issues).await;
        let mut saved: BTreeSet<(String, String)> = accounts
            .iter()
            .filter_map(|account| {
                let (namespace, name) = (text(account, "/metadata/namespace")?, text(account, "/metadata/name")?);
                let labels = map(account, "/metadata/labels");
                let selected = self.selection.judge(&kind, namespace, name, Some(&labels)) == Rule::Selected;
                selected.then(|| (namespace.to_owned(), name.to_owned()))
            })
            .collect();
        let needed = self
            .needed
            .keys()
            .filter(|(resource, _, _)| resource == "serviceaccounts");
        saved.extend(needed.map(|(_, namespace, name)| (namespace.clone(), name.clone())));
        for (bindings, roles) in [("clusterrolebindings", None), ("rolebindings", Some("roles"))] {
            for binding in self.objects(context, &format!("{bindings}.{GROUP}"), issues).await {
                let namespace = text(&binding, "/metadata/namespace").unwrap_or_default();
                let subjects = binding.pointer("/subjects").and_then(Value::as_array);
                let account = subjects.into_iter().flatten().find(|subject| {
                    text(subject, "/kind") == Some("ServiceAccount")
                        && saved.contains(&(
                            text(subject, "/namespace").unwrap_or(namespace).to_owned(),
                            text(subject, "/name").unwrap_or_default().to_owned(),
                        ))
                });
                let (Some(account), Some(name)) = (account, text(&binding, "/metadata/name")) else {
                    continue;
                };
                let whose = format!("service account {}", text(account, "/name").unwrap_or_default());
                self.need(&format!("{bindings}.{GROUP}"), namespace, name, whose.clone());
                let role = text(&binding, "/roleRef/name").unwrap_or_default();
                match (text(&binding, "/roleRef/kind"), roles) {
                    (Some("ClusterRole"), _) => self.need(&format!("clusterroles.{GROUP}"), "", role, whose),
                    (Some(_), Some(roles)) => self.need(&format!("{roles}.{GROUP}"), namespace, role, whose),
                    _ => {}
                }
            }
        }
    }

    /// Custom objects → their definitions.
    async fn look_for_definitions(&mut self, context: &Context, issues: &Issues) {
        const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";
        let Some(kind) = self.kind(DEFINITIONS) else { return };
        let mut custom = Vec::new();
        let listed = list(&context.client, &kind, "", |page| {
            custom.extend(
                page.iter()
                    .filter_map(|definition| text(definition, "/metadata/name").map(str::to_owned)),
            );
        });
        if let Err(error) = listed.await {
            issues.error("ListFailed", kind.resource(), kinds::explain(&kind, &error));
        }
        for name in custom {
            // A definition is named as the resource that it defines.
            let Some(kind) = self.kind(&name) else { continue };
            if !self.selection.kinds.matches(&kind) {
                continue;
            }
            let any = self.objects(context, &name, issues).await.into_iter().any(|object| {
                let labels = map(&object, "/metadata/labels");
                let (namespace, name) = (
                    text(&object, "/metadata/namespace").unwrap_or_default(),
                    text(&object, "/metadata/name").unwrap_or_default(),
                );
                self.selection.judge(&kind, namespace, name, Some(&labels)) == Rule::Selected
            });
            if any {
                self.need(DEFINITIONS, "", &name, format!("objects of {name}"));
            }
        }
    }

    /// Everything of a kind in the namespaces that are meant.
    async fn objects(&self, context: &Context, resource: &str, issues: &Issues) -> Vec<Value> {
        let Some(kind) = self.kind(resource) else {
            return Vec::new();
        };
        let mut objects = Vec::new();
        for namespace in self.places(&kind) {
            let listed = list(&context.client, &kind, &namespace, |page| objects.extend(page)).await;
            // A kind that went since its discovery is told of when it is to be saved.
            if let Err(error) = listed
                && !is_not_found(&error)
            {
                issues.error("ListFailed", kind.resource(), kinds::explain(&kind, &error));
            }
        }
        objects.retain(|object| {
            !kind.namespaced
                || self
                    .namespaces
                    .contains(text(object, "/metadata/namespace").unwrap_or_default())
        });
        objects
    }

    /// Where a kind is listed: in each namespace when few are meant, otherwise everywhere at once (an empty name).
    pub fn places(&self, kind: &Kind) -> Vec<String> {
        const FEW: usize = 8;
        if kind.namespaced && !self.selection.namespaces.is_everything() && self.namespaces.len() <= FEW {
            return self.namespaces.iter().cloned().collect();
        }
        vec![String::new()]
    }

    /// Whoever selects by labels or names takes along the namespaces of what is selected, and no others.
    async fn leave_out_empty_namespaces(&mut self, context: &Context) {
        // What cannot be listed is told when it is to be saved.
        let untold = Issues::default();
        let mut used: BTreeSet<String> = self.needed.keys().map(|(_, namespace, _)| namespace.clone()).collect();
        for kind in self.found.kinds.iter().filter(|kind| kind.namespaced) {
            let items = collect::of_kind(context, self, kind, false, &untold).await;
            used.extend(items.into_iter().map(|item| item.namespace));
        }
        self.needed
            .retain(|(resource, _, name), _| resource != "namespaces" || used.contains(name));
    }

    /// Whoever excludes a kind does not get it for the sake of others either.
    fn leave_out_what_is_excluded(&mut self) {
        let Self {
            found,
            selection,
            needed,
            ..
        } = self;
        needed.retain(|(resource, _, _), _| {
            let kind = found.by_resource(resource);
            kind.is_some_and(|kind| {
                !selection.kinds.excluded(kind)
                    && (kind.namespaced || selection.cluster != Some(false) || resource == "namespaces")
            })
        });
    }
}
