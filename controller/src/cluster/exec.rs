//! Commands in containers of pods, for hooks.

use std::time::Duration;

use api::hook::ExecHook;
use k8s_openapi::api::core::v1::Pod;
use kube::api::AttachParams;
use kube::{Api, Client};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How long a hook may run unless it says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// So much of what a command prints is kept.
const OUTPUT_MAX: u64 = 4096;

/// Runs a hook's command and waits for its end.
///
/// # Errors
/// Says what happened: which exit code and what was printed, or that it took too long.
pub async fn run(client: &Client, namespace: &str, pod: &str, hook: &ExecHook) -> Result<(), String> {
    let timeout = api::duration::of(hook.timeout.as_deref(), TIMEOUT);
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let work = async {
        let container = match &hook.container {
            Some(container) => container.clone(),
            None => first_container(&pods, pod).await?,
        };
        let parameters = AttachParams::default()
            .container(container)
            .stdout(true)
            .stderr(true)
            .stdin(false);
        let mut process = pods
            .exec(pod, hook.command.clone(), &parameters)
            .await
            .map_err(|error| crate::context::say(&error))?;
        let (stdout, stderr) = (process.stdout(), process.stderr());
        let status = process.take_status();
        let (stdout, stderr) = tokio::join!(read(stdout), read(stderr));
        let status = match status {
            Some(status) => status.await,
            None => None,
        };
        let _ = process.join().await;
        match status {
            Some(status) if status.status.as_deref() == Some("Success") => Ok(()),
            Some(status) => {
                let printed = [stderr, stdout]
                    .into_iter()
                    .find(|text| !text.is_empty())
                    .unwrap_or_default();
                let said = status.message.unwrap_or_else(|| "it failed".to_owned());
                Err(if printed.is_empty() {
                    said
                } else {
                    format!("{said}: {printed}")
                })
            }
            None => Err("the connection ended before the command did".to_owned()),
        }
    };
    match tokio::time::timeout(timeout, work).await {
        Ok(done) => done,
        // Dropping the connection ends the stream; what runs in the container is the container's.
        Err(_) => Err(format!("it ran for longer than {}", api::duration::text(timeout))),
    }
}

async fn first_container(pods: &Api<Pod>, name: &str) -> Result<String, String> {
    let pod = pods.get(name).await.map_err(|error| crate::context::say(&error))?;
    let first = pod.spec.and_then(|spec| spec.containers.into_iter().next());
    first
        .map(|container| container.name)
        .ok_or_else(|| "the pod has no container".to_owned())
}

/// The beginning of what is printed; the rest is read and left.
async fn read(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let mut bytes = Vec::new();
    let _ = (&mut stream).take(OUTPUT_MAX).read_to_end(&mut bytes).await;
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&bytes).trim().to_owned()
}
