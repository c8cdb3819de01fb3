//! How the agent is started. Doc comments are the help.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

/// Ararat's agent: reads and fills the volumes of one node.
#[derive(Parser, Debug)]
#[command(name = "ararat-agent", version, max_term_width = 110)]
pub struct Args {
    /// How the log is written
    #[arg(long, env = "ARARAT_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, global = true)]
    pub log_format: LogFormat,
    #[command(subcommand)]
    pub command: Command,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// A line of JSON each
    Json,
}

/// What it does.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Read and fill the volumes of a node, as PodVolumeBackups and PodVolumeRestores ask for
    Run(RunArgs),
    /// Do nothing until told to end, so that a pod that mounts a claim runs
    Hold,
    /// Wait until the agent has filled these folders
    Wait(WaitArgs),
}

/// Where it runs, and how much it does at once.
#[derive(clap::Args, Clone, Debug)]
pub struct RunArgs {
    /// The node
    #[arg(long, env = "NODE_NAME")]
    pub node: String,
    /// The namespace of the installation
    #[arg(long, env = "POD_NAMESPACE", default_value = api::NAMESPACE)]
    pub namespace: String,
    /// The kubelet's folder, mounted at the same path as on the node
    #[arg(long, default_value = "/var/lib/kubelet")]
    pub kubelet_dir: PathBuf,
    /// Volumes that are read or filled at once
    #[arg(long, env = "ARARAT_SLOTS", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub slots: u16,
    /// The folder where the node's root is mounted, for hostPath volumes
    #[arg(long, value_name = "DIR")]
    pub host_dir: Option<PathBuf>,
    /// The folder for copies of the repository's objects and for temporary files
    #[arg(long, env = "ARARAT_CACHE_DIR", default_value = "/cache")]
    pub cache_dir: PathBuf,
}

/// What is waited for.
#[derive(clap::Args, Clone, Debug)]
pub struct WaitArgs {
    /// The folders
    #[arg(required = true, value_name = "FOLDER")]
    pub folders: Vec<PathBuf>,
}

impl Args {
    /// Starts the log, on standard error.
    pub fn start_log(&self) {
        let filter = EnvFilter::try_from_env("ARARAT_LOG")
            .unwrap_or_else(|_| EnvFilter::new("info,kube_runtime=error,kube_client=error"));
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr);
        // A second start, as in tests, changes nothing.
        let _ = match self.log_format {
            LogFormat::Text => log.with_ansi(false).try_init(),
            LogFormat::Json => log.json().try_init(),
        };
    }
}
