//! Objects that are simply deleted: those that stand for no data.

use std::fmt::Debug;

use anyhow::Result;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{DeleteParams, ListParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::{Cluster, named, refusal, selector};
use crate::args::Global;
use crate::args::cluster::ClusterArgs;
use crate::output::{question, show};

/// Which objects are meant.
pub struct Meant {
    /// These, or all that fit when none is named.
    pub names: Vec<String>,
    pub selector: Option<LabelSelector>,
    /// Nobody need be asked.
    pub confirmed: bool,
    /// What is not deleted with them.
    pub remark: &'static str,
}

/// Deletes them, after a question.
pub fn remove<K>(global: &Global, cluster: &ClusterArgs, meant: &Meant) -> Result<u8>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let cluster = Cluster::connect(global, cluster)?;
    let names: Vec<String> = cluster.run(async {
        for name in &meant.names {
            named::named::<K>(&cluster, name).await?;
        }
        if !meant.names.is_empty() {
            return Ok(meant.names.clone());
        }
        let labels = meant.selector.as_ref().map(selector::text);
        let params = labels.map_or_else(ListParams::default, |labels| ListParams::default().labels(&labels));
        Ok(cluster
            .api::<K>()
            .list_metadata(&params)
            .await?
            .items
            .iter()
            .map(ResourceExt::name_any)
            .collect())
    })?;
    let kind = K::kind(&());
    if names.is_empty() {
        if !global.quiet {
            show::line(&format!("There is no {kind} to delete"))?;
        }
        return Ok(0);
    }
    let question = format!("Delete {kind} {}? {}", names.join(", "), meant.remark);
    if !meant.confirmed && !question::ask(&question, "--confirm")? {
        return Ok(0);
    }
    cluster.run(async {
        for name in &names {
            match cluster.api::<K>().delete(name, &DeleteParams::default()).await {
                Err(error) if refusal::is_missing(&error) => {}
                other => drop(other?),
            }
            if !global.quiet && !global.json {
                show::line(&format!("{kind} \"{name}\" deleted."))?;
            }
        }
        Ok(())
    })?;
    if !global.quiet && !global.json {
        show::line(meant.remark)?;
    }
    Ok(0)
}
