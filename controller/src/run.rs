//! The parts of the controller, and the order in which they start and stop.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::args::{Args, Command, RunArgs};
use crate::context::Context;
use crate::server::{self, Health};
use crate::watched::Watches;
use crate::{
    backup, deletion, download, dry_runs, leader, location, maintenance, patience, restore, schedule, strays, volumes,
};

/// Runs until it is told to stop, or the lease is lost.
///
/// # Errors
/// What keeps it from starting.
pub async fn run(args: Args) -> Result<()> {
    let Command::Run(args) = args.command;
    std::fs::create_dir_all(&args.cache_dir)
        .with_context(|| format!("Could not make the folder for caches {}", args.cache_dir.display()))?;
    let (stopping, stop) = watch::channel(false);
    let health = Health::default();
    let files = server::start(args.port, health.clone()).await?;
    let mut config = Config::infer()
        .await
        .context("Could not find out how to reach the API server")?;
    // Long lists of a busy server take their time; watches say something at least every few minutes.
    config.read_timeout = Some(std::time::Duration::from_secs(295));
    let client = patience::client(config)?;
    let (cluster, kubernetes) = identity(&client).await;
    health.alive();
    let work = work(args, client, cluster, kubernetes, health, files, stop);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        ended = work => ended?,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("Stopping");
    let _ = stopping.send(true);
    // The lease is let go; what is under way is gone on with by whoever leads next.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    std::process::exit(0);
}

/// The cluster's identity and version. Without them nothing can be done, so they are waited for.
async fn identity(client: &Client) -> (String, String) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    loop {
        match (namespaces.get("kube-system").await, client.apiserver_version().await) {
            (Ok(namespace), Ok(version)) => return (namespace.metadata.uid.unwrap_or_default(), version.git_version),
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!("Waiting for the API server: {}", crate::context::say(&error));
                tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            }
        }
    }
}

async fn work(
    args: RunArgs,
    client: Client,
    cluster: String,
    kubernetes: String,
    health: Health,
    files: server::Downloads,
    stop: watch::Receiver<bool>,
) -> Result<()> {
    let watches = Watches::start(&client, &args.namespace);
    health.ready();
    leader::lead(client.clone(), &args.namespace, args.pod.clone(), stop).await?;
    watches.ready().await;
    let context = Context::new(args, client, cluster, kubernetes, watches);
    tracing::info!(
        "Working for cluster {} (Kubernetes {})",
        context.cluster,
        context.kubernetes
    );
    let parts = [
        tokio::spawn(location::run(Arc::clone(&context))),
        tokio::spawn(volumes::handover::run(Arc::clone(&context))),
        tokio::spawn(volumes::holder::sweep(Arc::clone(&context))),
        tokio::spawn(backup::run(Arc::clone(&context))),
        tokio::spawn(restore::run(Arc::clone(&context))),
        tokio::spawn(schedule::run(Arc::clone(&context))),
        tokio::spawn(deletion::run(Arc::clone(&context))),
        tokio::spawn(maintenance::run(Arc::clone(&context))),
        tokio::spawn(download::run(Arc::clone(&context), files)),
        tokio::spawn(dry_runs::run(Arc::clone(&context))),
        tokio::spawn(strays::run(Arc::clone(&context))),
    ];
    // None of them ends by itself: one that does has died, and all begin anew.
    let (ended, _, _) = futures::future::select_all(parts).await;
    ended.context("A part of the controller died")
}
