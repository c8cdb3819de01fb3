//! `ararat uninstall`

use std::time::Duration;

use anyhow::Result;
use api::{Backup, BackupPhase, BackupStorageLocation, Restore, RestorePhase};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use serde::de::DeserializeOwned;

use crate::args::Global;
use crate::args::cluster::ClusterArgs;
use crate::cluster::{Cluster, refusal};
use crate::installation::location::CREDENTIAL;
use crate::installation::{AGENT, COMPONENT, CONTROLLER, Installation};
use crate::output::{question, show};

/// How long objects may take until they are gone while the controller still runs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Remove Ararat from a cluster. No data is deleted from any location.
#[derive(clap::Args)]
pub struct Uninstall {
    /// Remove the kinds as well, and with them every Backup, Restore, Schedule and location that the cluster knows of; a new installation finds the backups
    /// again in their locations
    #[arg(long)]
    crds: bool,
    /// Remove the Secrets with the repositories' keys as well: without a recovery sheet nobody can restore any more
    #[arg(long)]
    delete_key: bool,
    /// Do not ask
    #[arg(long, alias = "force")]
    confirm: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl Uninstall {
    /// Removes.
    pub fn run(self, global: &Global) -> Result<u8> {
        let cluster = Cluster::connect(global, &self.cluster)?;
        let (question, stays) = cluster.run(self.looked(&cluster))?;
        if !self.confirm && !question::ask(&question, "--confirm")? {
            return Ok(0);
        }
        cluster.run(self.remove(&cluster))?;
        if !global.quiet {
            show::line(&stays)?;
        }
        Ok(0)
    }

    /// What is asked before, and what is said afterwards.
    async fn looked(&self, cluster: &Cluster) -> Result<(String, String)> {
        let mut question = format!(
            "Remove Ararat from namespace `{}` of {}",
            cluster.namespace,
            cluster.server.trim_end_matches('/')
        );
        if self.crds {
            question.push_str(", with every Backup, Restore, Schedule and location that the cluster knows of");
        }
        if self.delete_key {
            question
                .push_str(", and the keys of the repositories: without a recovery sheet nobody can restore any more");
        }
        question.push('?');
        let backups = listed(cluster.api::<Backup>()).await?;
        let restores = listed(cluster.api::<Restore>()).await?;
        let running: Vec<String> = backups
            .iter()
            .filter(|backup| {
                !backup
                    .status
                    .as_ref()
                    .map_or(BackupPhase::New, |status| status.phase)
                    .is_final()
            })
            .map(|backup| format!("Backup {}", backup.name_any()))
            .chain(
                restores
                    .iter()
                    .filter(|restore| {
                        !restore
                            .status
                            .as_ref()
                            .map_or(RestorePhase::New, |status| status.phase)
                            .is_final()
                    })
                    .map(|restore| format!("Restore {}", restore.name_any())),
            )
            .collect();
        if !running.is_empty() {
            question.push_str(&format!(" Not finished: {}.", running.join(", ")));
        }
        let urls: Vec<String> = listed(cluster.api::<BackupStorageLocation>())
            .await?
            .iter()
            .map(|location| location.spec.url.clone())
            .collect();
        let mut stays = if urls.is_empty() {
            "Ararat is removed.".to_owned()
        } else {
            format!("Ararat is removed. Its backups are still in {}.", urls.join(", "))
        };
        if !self.delete_key {
            stays.push_str(&format!(
                " The keys of their repositories are still in namespace `{}` (Secrets location-…-key); --delete-key removes them.",
                cluster.namespace
            ));
        }
        if !self.crds {
            stays.push_str(" The kinds and their objects are still there; --crds removes them.");
        }
        Ok((question, stays))
    }

    async fn remove(&self, cluster: &Cluster) -> Result<()> {
        if self.crds {
            // While there is a controller that does what finalizers wait for.
            self.remove_objects(cluster).await?;
        }
        let name = Installation::cluster_name(&cluster.namespace);
        gone(cluster.api::<Deployment>(), CONTROLLER).await?;
        gone(cluster.api::<DaemonSet>(), AGENT).await?;
        holders_gone(cluster).await?;
        gone(Api::<ClusterRoleBinding>::all(cluster.client.clone()), &name).await?;
        gone(Api::<ClusterRole>::all(cluster.client.clone()), &name).await?;
        gone(cluster.api::<RoleBinding>(), AGENT).await?;
        gone(cluster.api::<Role>(), AGENT).await?;
        gone(cluster.api::<ServiceAccount>(), CONTROLLER).await?;
        gone(cluster.api::<ServiceAccount>(), AGENT).await?;
        // Keys of agents, which the controller has drawn, bear no component; they go with the owners'.
        let ours = if self.delete_key {
            "app.kubernetes.io/part-of=ararat".to_owned()
        } else {
            format!("app.kubernetes.io/part-of=ararat,{COMPONENT}={CREDENTIAL}")
        };
        let ours = ListParams::default().labels(&ours);
        for secret in cluster.api::<Secret>().list_metadata(&ours).await?.items {
            gone(cluster.api::<Secret>(), &secret.name_any()).await?;
        }
        if !self.crds {
            return Ok(());
        }
        for definition in api::definitions() {
            gone(
                Api::<CustomResourceDefinition>::all(cluster.client.clone()),
                &definition.name_any(),
            )
            .await?;
        }
        if self.delete_key {
            self.remove_namespace(cluster).await?;
        }
        Ok(())
    }

    /// A namespace that we made goes, unless somebody else has put something into it.
    async fn remove_namespace(&self, cluster: &Cluster) -> Result<()> {
        let namespaces = Api::<Namespace>::all(cluster.client.clone());
        let Some(namespace) = namespaces.get_opt(&cluster.namespace).await? else {
            return Ok(());
        };
        let is_ours = namespace
            .labels()
            .get(COMPONENT)
            .is_some_and(|component| component == "namespace");
        let secrets = cluster
            .api::<Secret>()
            .list_metadata(&ListParams::default())
            .await?
            .items
            .len();
        let pods = cluster.api::<Pod>().list_metadata(&ListParams::default()).await?;
        let others = pods.items.iter().any(|pod| {
            pod.labels()
                .get("app.kubernetes.io/part-of")
                .is_none_or(|part| part != "ararat")
        });
        if is_ours && secrets == 0 && !others {
            gone(namespaces, &cluster.namespace).await?;
        }
        Ok(())
    }

    /// Every object of our kinds, in every namespace; finalizers of those that stay are taken off in the end, for nobody will do that any more.
    async fn remove_objects(&self, cluster: &Cluster) -> Result<()> {
        let until = tokio::time::Instant::now() + PATIENCE;
        for definition in api::definitions() {
            let resource = ApiResource {
                group: definition.spec.group.clone(),
                version: api::VERSION.to_owned(),
                api_version: format!("{}/{}", definition.spec.group, api::VERSION),
                kind: definition.spec.names.kind.clone(),
                plural: definition.spec.names.plural.clone(),
            };
            let everywhere: Api<DynamicObject> = Api::all_with(cluster.client.clone(), &resource);
            loop {
                let left = listed(everywhere.clone()).await?;
                if left.is_empty() {
                    break;
                }
                let is_late = tokio::time::Instant::now() >= until;
                for object in left {
                    let there: Api<DynamicObject> = Api::namespaced_with(
                        cluster.client.clone(),
                        &object.namespace().unwrap_or_default(),
                        &resource,
                    );
                    if object.metadata.deletion_timestamp.is_none() {
                        gone(there, &object.name_any()).await?;
                    } else if is_late {
                        let free = serde_json::json!({ "metadata": { "finalizers": null } });
                        let freed = there
                            .patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(&free))
                            .await;
                        freed.map(|_| ()).or_else(|error| {
                            if refusal::is_missing(&error) {
                                Ok(())
                            } else {
                                Err(error)
                            }
                        })?;
                    }
                }
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
        Ok(())
    }
}

/// All objects; none where the kind is not known.
async fn listed<K>(api: Api<K>) -> Result<Vec<K>>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    match api.list(&ListParams::default()).await {
        Err(error) if refusal::is_kind_unknown(&error) => Ok(Vec::new()),
        other => Ok(other?.items),
    }
}

/// Deletes an object, if it is there.
async fn gone<K>(api: Api<K>, name: &str) -> Result<()>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    match api.delete(name, &DeleteParams::background()).await {
        Err(error) if refusal::is_missing(&error) || refusal::is_kind_unknown(&error) => Ok(()),
        other => Ok(other.map(|_| ())?),
    }
}

/// Pods that hold claims for a controller that is no more.
async fn holders_gone(cluster: &Cluster) -> Result<()> {
    let everywhere: Api<Pod> = Api::all(cluster.client.clone());
    for pod in everywhere
        .list_metadata(&ListParams::default().labels(api::words::HOLDER))
        .await?
        .items
    {
        gone(
            Api::<Pod>::namespaced(cluster.client.clone(), &pod.namespace().unwrap_or_default()),
            &pod.name_any(),
        )
        .await?;
    }
    Ok(())
}
