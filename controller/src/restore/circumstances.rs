//! What the rules must know of this cluster: its nodes and its default storage class.

use api::restore::RestoreSpec;

use super::fields::{annotation, name};
use super::mapping::Mapping;
use super::rewrite::Circumstances;
use crate::cluster::kinds::Found;
use crate::cluster::list;
use crate::context::{Context, is_forbidden};

/// Looks at the cluster. What may not be listed is not known, and the rules that need it say nothing.
///
/// # Errors
/// What the server says.
pub async fn look(context: &Context, found: &Found, spec: &RestoreSpec) -> kube::Result<Circumstances> {
    let nodes = list::nodes(&context.client, found).await?;
    let mut default_class = None;
    if let Some(kind) = found.by_resource("storageclasses.storage.k8s.io") {
        let listed = list::list(&context.client, kind, "", |page| {
            for class in &page {
                if annotation(class, "storageclass.kubernetes.io/is-default-class") == Some("true") {
                    default_class = Some(name(class).to_owned());
                }
            }
        });
        allowed(listed.await)?;
    }
    Ok(Circumstances {
        mapping: Mapping::new(spec),
        preserve_node_ports: spec.preserve_node_ports,
        nodes,
        default_class,
        ..Circumstances::default()
    })
}

fn allowed(listed: kube::Result<()>) -> kube::Result<()> {
    match listed {
        Err(error) if is_forbidden(&error) => Ok(()),
        other => other,
    }
}
