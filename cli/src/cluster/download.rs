//! What the controller serves of a Backup or Restore: asked for by an object, read through a port that the API server forwards. The machine at which a
//! person sits need not see the store.

use std::time::Duration;

use anyhow::{Context, Result};
use api::download_request::{DownloadKind, DownloadPhase, DownloadTarget};
use api::{DownloadRequest, DownloadRequestSpec, DownloadRequestStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, PostParams};

use super::wait::{Waited, until_within};
use super::{Cluster, http, refusal};
use crate::failure::Failure;

/// How long the controller may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a controller that went away meanwhile is asked anew.
const TRIES: usize = 3;

/// Reads something, piece by piece. Nothing is given to `sink` of a try that failed before its first byte.
pub async fn download(
    cluster: &Cluster,
    kind: DownloadKind,
    name: &str,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut tries = 0;
    loop {
        tries += 1;
        let mut is_begun = false;
        let result = once(cluster, kind, name, &mut |piece| {
            is_begun = true;
            sink(piece)
        })
        .await;
        match result {
            // The controller that was named may have handed over to another one.
            Err(Trouble::Broken(error)) if !is_begun && tries < TRIES => {
                tracing::debug!("download: {error:#}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(Trouble::Broken(error) | Trouble::Refused(error)) => return Err(error),
            Ok(()) => return Ok(()),
        }
    }
}

/// Reads something that is small, whole.
pub async fn read(cluster: &Cluster, kind: DownloadKind, name: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut keep = |piece: &[u8]| {
        bytes.extend_from_slice(piece);
        Ok(())
    };
    download(cluster, kind, name, &mut keep).await?;
    Ok(bytes)
}

/// Why a try failed.
enum Trouble {
    /// The connection broke: another try may do.
    Broken(anyhow::Error),
    /// It cannot be read.
    Refused(anyhow::Error),
}

async fn once(
    cluster: &Cluster,
    kind: DownloadKind,
    name: &str,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<(), Trouble> {
    let requests = cluster.api::<DownloadRequest>();
    let mut request = DownloadRequest::new(
        "",
        DownloadRequestSpec {
            target: DownloadTarget {
                kind,
                name: name.to_owned(),
            },
        },
    );
    request.metadata.name = None;
    request.metadata.generate_name = Some(format!(
        "{}-",
        name.chars().take(180).collect::<String>().trim_end_matches(['-', '.'])
    ));
    let made = requests
        .create(&PostParams::default(), &request)
        .await
        .map_err(|error| Trouble::Refused(error.into()))?;
    let result = answered(cluster, &requests, &made.name_any(), sink).await;
    // The controller removes old requests by itself; this only makes it sooner.
    let _ = requests.delete(&made.name_any(), &DeleteParams::default()).await;
    result
}

async fn answered(
    cluster: &Cluster,
    requests: &Api<DownloadRequest>,
    request: &str,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<(), Trouble> {
    let look = |request: &DownloadRequest| {
        request
            .status
            .clone()
            .filter(|status| status.phase != DownloadPhase::New)
    };
    let status = match until_within(PATIENCE, requests.clone(), request, look)
        .await
        .map_err(Trouble::Refused)?
    {
        Some(Waited::Answer(status)) => status,
        Some(Waited::Gone) => return Err(Trouble::Broken(Failure::new("The request for it was deleted").into())),
        None => {
            let failure = Failure::new(format!(
                "The controller has not answered within {} s",
                PATIENCE.as_secs()
            ));
            return Err(Trouble::Refused(failure.hint(pods_hint(&cluster.namespace)).into()));
        }
    };
    if status.phase == DownloadPhase::Failed {
        let why = status
            .message
            .unwrap_or_else(|| "The controller cannot give it, and does not say why".to_owned());
        return Err(Trouble::Refused(Failure::new(why).into()));
    }
    read_from(cluster, &status, sink).await
}

async fn read_from(
    cluster: &Cluster,
    status: &DownloadRequestStatus,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<(), Trouble> {
    let (Some(pod), Some(port), Some(path), Some(token)) = (&status.pod, status.port, &status.path, &status.token)
    else {
        return Err(Trouble::Refused(
            Failure::new("The controller's answer does not say where to read").into(),
        ));
    };
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let forwarded = pods.portforward(pod, &[port]).await;
    let mut forwarded = forwarded.map_err(|error| {
        if refusal::is_forbidden(&error) {
            Trouble::Refused(error.into())
        } else {
            Trouble::Broken(anyhow::Error::from(error).context(format!("Could not forward a port to pod {pod}")))
        }
    })?;
    let stream = forwarded
        .take_stream(port)
        .ok_or_else(|| Trouble::Broken(Failure::new(format!("Port {port} of pod {pod} is not forwarded")).into()))?;
    let mut answer = http::get(stream, path, token).await.map_err(Trouble::Broken)?;
    if answer.status != 200 {
        let said = answer.text().await;
        return Err(Trouble::Refused(
            Failure::new(format!("The controller answers with status {}: {said}", answer.status)).into(),
        ));
    }
    let read = answer.body(sink).await.context("Reading from the controller failed");
    forwarded.abort();
    read.map_err(Trouble::Broken)
}

/// How to see what is the matter with the programs in the cluster.
pub fn pods_hint(namespace: &str) -> String {
    format!(
        "See whether it runs: `kubectl --namespace {namespace} get pods`; and what it says: `kubectl --namespace {namespace} logs deployment/ararat-controller`."
    )
}
