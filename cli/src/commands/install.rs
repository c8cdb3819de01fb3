//! `ararat install`

use std::time::Duration;

use anyhow::{Result, bail};
use api::BackupStorageLocation;
use engine::words::Progress;
use kube::api::ListParams;
use serde_json::Value;

use crate::args::cluster::ClusterArgs;
use crate::args::location::LocationArgs;
use crate::args::output::Format;
use crate::args::{Global, length_of_time};
use crate::cluster::apply::{apply, create, established};
use crate::cluster::{Cluster, readiness, refusal};
use crate::failure::Failure;
use crate::installation::agent::AgentOptions;
use crate::installation::location::KEY;
use crate::installation::{COMPONENT, Installation, MANAGER, definitions};
use crate::new_location::{KeyOrigin, LocationWish};
use crate::output::objects;
use crate::output::progress::Shown;
use crate::output::show;

/// Install Ararat in a cluster, or bring an installation up to date: run it again with what is to be so.
#[derive(clap::Args)]
pub struct Install {
    /// The container image with Ararat's programs
    #[arg(long, value_name = "REF", required_unless_present = "crds_only")]
    image: Option<String>,
    /// Where backups go: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX. Needed the first time; later, locations stay as they are without it
    #[arg(long, value_name = "URL")]
    location: Option<String>,
    /// The location's name
    #[arg(long, value_name = "NAME", default_value = "default")]
    location_name: String,
    /// Write nothing to the location: backups of another cluster can be restored
    #[arg(long, requires = "location")]
    restore_only: bool,
    /// Make no location yet
    #[arg(long, conflicts_with = "location")]
    no_location: bool,
    /// When nodes pull the image
    #[arg(long, value_name = "POLICY", default_value = "IfNotPresent", value_parser = ["Always", "IfNotPresent", "Never"])]
    image_pull_policy: String,
    /// A Secret with which the image is pulled (may be repeated)
    #[arg(long, value_name = "NAME")]
    image_pull_secret: Vec<String>,
    /// Let agents open devices, for volumes in block mode: their containers are privileged
    #[arg(long)]
    privileged_agent: bool,
    /// A folder of the nodes whose hostPath volumes are backed up (may be repeated)
    #[arg(long, value_name = "FOLDER", value_parser = absolute)]
    host_path: Vec<String>,
    /// Volumes that one agent reads or fills at once
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16))]
    agent_slots: u32,
    /// The kubelet's folder on the nodes
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/kubelet", value_parser = absolute)]
    kubelet_dir: String,
    /// How many controllers there are; one leads, the others wait
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=5))]
    replicas: u32,
    /// Only define the kinds
    #[arg(long, conflicts_with_all = ["location", "no_location"])]
    crds_only: bool,
    /// Only print what would be applied; asks no cluster
    #[arg(long)]
    dry_run: bool,
    /// How it is printed with --dry-run: yaml or json
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Yaml)]
    output: Format,
    /// How long to wait until everything is ready; 0s does not wait
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = length_of_time)]
    wait_timeout: Duration,
    #[command(flatten)]
    location_args: LocationArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// A path that begins at the root.
fn absolute(path: &str) -> Result<String, String> {
    match path.trim_end_matches('/') {
        plain if plain.starts_with('/') && !plain.contains("/../") && !plain.ends_with("/..") => Ok(plain.to_owned()),
        _ => Err("write a path that begins with / and is not / itself".to_owned()),
    }
}

impl Install {
    /// Installs.
    pub fn run(self, global: &Global) -> Result<u8> {
        if self.dry_run {
            return self.print();
        }
        let cluster = Cluster::connect(global, &self.cluster)?;
        let shown = Shown::new(global.quiet, global.json);
        let done = cluster.run(self.install(&cluster, &shown));
        shown.finish();
        done?;
        Ok(0)
    }

    fn wish(&self, url: &str) -> LocationWish {
        LocationWish {
            is_read_only: self.restore_only,
            ..self.location_args.wish(&self.location_name, url)
        }
    }

    fn installation(&self) -> Installation {
        Installation {
            namespace: self.cluster.namespace.clone(),
            image: self.image.clone().unwrap_or_default(),
            image_pull_policy: self.image_pull_policy.clone(),
            image_pull_secrets: self.image_pull_secret.clone(),
            replicas: self.replicas,
            agent: AgentOptions {
                is_privileged: self.privileged_agent,
                host_paths: self.host_path.clone(),
                slots: self.agent_slots,
                kubelet_folder: self.kubelet_dir.clone(),
            },
            location: None,
        }
    }

    fn print(&self) -> Result<u8> {
        let mut installation = self.installation();
        if let Some(url) = &self.location {
            let runtime = crate::session::runtime("")?;
            let (plan, origin) = runtime.block_on(self.wish(url).plan(None))?;
            if origin == KeyOrigin::LeftOut {
                anstream::eprintln!(
                    "A dry run draws no key, so the Secret with the repository's key is left out. Make the repository with `ararat repo init -r {url} --new-key FILE --recovery-sheet FILE` and give --key-file, or install without --dry-run."
                );
            }
            installation.location = Some(plan);
        }
        let manifests = if self.crds_only {
            definitions()
        } else {
            installation.manifests()
        };
        match self.output {
            Format::Json => {
                objects::print(&manifests, Format::Json, true)?;
            }
            Format::Name => {
                objects::print(&manifests, Format::Name, true)?;
            }
            Format::Yaml | Format::Table | Format::Wide => show::line(objects::yaml_documents(&manifests)?.trim_end())?,
        }
        Ok(0)
    }

    async fn install(&self, cluster: &Cluster, shown: &Shown) -> Result<()> {
        if self.crds_only {
            return write(cluster, &definitions(), shown).await;
        }
        let mut installation = self.installation();
        let mut waits_for = None;
        match &self.location {
            Some(url) => {
                let (plan, origin) = self.wish(url).plan(Some(cluster)).await?;
                tell_origin(&plan.name, &origin, shown);
                waits_for = Some(plan.name.clone());
                installation.location = Some(plan);
            }
            None if self.no_location => {}
            None => self.has_location(cluster).await?,
        }
        write(cluster, &installation.manifests(), shown).await?;
        if self.wait_timeout.is_zero() {
            return Ok(());
        }
        readiness::wait(cluster, waits_for.as_deref(), self.wait_timeout, shown).await?;
        if !cluster.global.quiet {
            let what = waits_for.map_or_else(
                || "Ararat is ready".to_owned(),
                |name| format!("Ararat is ready, and its location `{name}` is available"),
            );
            show::line(&format!(
                "{what}. Make a backup: `ararat backup create NAME --include-namespaces NAMESPACE --wait`."
            ))?;
        }
        Ok(())
    }

    /// Whoever brings an installation up to date need not name its locations again.
    async fn has_location(&self, cluster: &Cluster) -> Result<()> {
        let there = match cluster
            .api::<BackupStorageLocation>()
            .list(&ListParams::default())
            .await
        {
            Err(error) if refusal::is_kind_unknown(&error) => Vec::new(),
            other => other?.items,
        };
        if there.is_empty() {
            let failure = Failure::new("No location for backups was named, and there is none yet");
            bail!(
                failure
                    .hint("Name one with --location s3://BUCKET/PREFIX --credentials-file FILE, or say --no-location.")
                    .code(crate::failure::USAGE)
            );
        }
        Ok(())
    }
}

/// Says where the repository's key comes from: whoever loses it loses the backups.
pub fn tell_origin(location: &str, origin: &KeyOrigin, shown: &Shown) {
    let text = match origin {
        KeyOrigin::Kept => format!("The key of location `{location}` is in the cluster already, and stays."),
        KeyOrigin::Drawn(sheet) => format!(
            "Drew a key for the repository at location `{location}`: its recovery sheet is {}. Print it and keep it elsewhere: without the key nobody can restore.",
            sheet.display()
        ),
        KeyOrigin::Found(sheet) => format!(
            "Going on with the key of location `{location}` on the recovery sheet {}.",
            sheet.display()
        ),
        KeyOrigin::Given | KeyOrigin::LeftOut => return,
    };
    shown.note(&text);
}

/// Writes manifests one after the other, and says what became of each.
pub async fn write(cluster: &Cluster, manifests: &[Value], shown: &Shown) -> Result<()> {
    let is_definition = |object: &Value| object["kind"] == "CustomResourceDefinition";
    let mut defined = Vec::new();
    for object in manifests {
        if !is_definition(object) {
            for name in std::mem::take(&mut defined) {
                established(&cluster.client, name).await?;
            }
        }
        let name = objects::name(object);
        shown.stage(&format!("Applying {name}"), "");
        let word = if object["kind"] == "Secret" && object["metadata"]["labels"][COMPONENT] == KEY {
            // A key is made once and never written over.
            create(&cluster.client, object)
                .await
                .map_err(|error| key_is_there(error, &name))?;
            "created"
        } else {
            apply(&cluster.client, object, MANAGER).await?.word()
        };
        if is_definition(object) {
            defined.extend(object["metadata"]["name"].as_str());
        }
        if !cluster.global.quiet && !cluster.global.json {
            shown.say(&format!("{name} {word}"))?;
        }
    }
    for name in defined {
        established(&cluster.client, name).await?;
    }
    Ok(())
}

fn key_is_there(error: anyhow::Error, name: &str) -> anyhow::Error {
    match error.downcast_ref::<kube::Error>() {
        Some(cause) if refusal::is_taken(cause) => {
            let failure = Failure::new(format!("{name} was made by somebody else in this moment, and stays"));
            failure.hint("Run the same command again: it goes on with that key. The recovery sheet that was just written is of no use.").into()
        }
        _ => error,
    }
}
