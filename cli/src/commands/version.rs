//! `ararat version`

use anyhow::Result;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::args::Global;
use crate::args::cluster::ClusterArgs;
use crate::args::output::{Format, OutputArgs};
use crate::cluster::{Cluster, refusal};
use crate::installation::{CONTROLLER, VERSION};
use crate::output::{objects, show};

/// Say the version of this program, and of Ararat in the cluster.
#[derive(clap::Args)]
pub struct Version {
    /// Ask no cluster
    #[arg(long)]
    client_only: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl Version {
    /// Says it.
    pub fn run(self, global: &Global) -> Result<u8> {
        let format = self.output.output.or_json(global.json);
        let server = if self.client_only {
            Ok(Value::Null)
        } else {
            self.server(global)
        };
        // This program's own version is told in any case.
        tell(server.as_ref().unwrap_or(&Value::Null), format)?;
        server.map(|_| 0)
    }

    fn server(&self, global: &Global) -> Result<Value> {
        let cluster = Cluster::connect(global, &self.cluster)?;
        cluster.run(async {
            let kubernetes = cluster.client.apiserver_version().await?.git_version;
            let ararat = match cluster.api::<Deployment>().get_opt(CONTROLLER).await {
                // Who may not see it knows at least that much.
                Err(error) if refusal::is_forbidden(&error) => json!({ "version": null }),
                other => other?.as_ref().map_or(Value::Null, server),
            };
            Ok(json!({ "kubernetes": kubernetes, "namespace": cluster.namespace, "ararat": ararat }))
        })
    }
}

/// What a Deployment says of itself.
fn server(deployment: &Deployment) -> Value {
    let template = deployment.spec.as_ref().map(|spec| &spec.template);
    let image = template.and_then(|template| template.spec.as_ref()?.containers.first()?.image.clone());
    let ready = deployment
        .status
        .as_ref()
        .and_then(|status| status.ready_replicas)
        .unwrap_or(0);
    json!({
        "version": deployment.labels().get("app.kubernetes.io/version"),
        "image": image,
        "readyControllers": ready,
    })
}

fn tell(server: &Value, format: Format) -> Result<()> {
    let document = json!({ "client": VERSION, "server": server });
    match format {
        Format::Json => return show::line(&serde_json::to_string_pretty(&document)?),
        Format::Yaml => return show::line(objects::yaml(&document)?.trim_end()),
        Format::Table | Format::Wide | Format::Name => {}
    }
    show::line(&format!("Client:      {VERSION}"))?;
    if server.is_null() {
        return Ok(());
    }
    let text = |value: &Value| show::safe(value.as_str().unwrap_or("unknown"));
    let (ararat, namespace) = (&server["ararat"], text(&server["namespace"]));
    let said = match (ararat.is_null(), ararat["version"].as_str()) {
        (true, _) => format!("not installed in namespace `{namespace}`"),
        (false, None) => format!("unknown: you may not see deployments in namespace `{namespace}`"),
        (false, Some(version)) => {
            let image = text(&ararat["image"]);
            format!(
                "{} ({image}, {} ready)",
                show::safe(version),
                ararat["readyControllers"]
            )
        }
    };
    show::line(&format!("Server:      {said}"))?;
    show::line(&format!("Kubernetes:  {}", text(&server["kubernetes"])))
}
