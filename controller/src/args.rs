//! How the controller is started. Doc comments are the help.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

/// Ararat's controller.
#[derive(Parser, Debug)]
#[command(name = "ararat-controller", version, max_term_width = 110)]
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
    /// Do what the objects of ararat.dev ask for
    Run(RunArgs),
}

/// Where it runs, and how much it does at once.
#[derive(clap::Args, Clone, Debug)]
pub struct RunArgs {
    /// The namespace of the installation
    #[arg(long, env = "POD_NAMESPACE", default_value = api::NAMESPACE)]
    pub namespace: String,
    /// The name of this pod
    #[arg(long, env = "POD_NAME", default_value = "ararat-controller")]
    pub pod: String,
    /// The image that holder pods run
    #[arg(long, env = "ARARAT_IMAGE", default_value = "localhost/ararat")]
    pub image: String,
    /// When that image is pulled
    #[arg(long, env = "ARARAT_IMAGE_PULL_POLICY", default_value = "IfNotPresent")]
    pub image_pull_policy: String,
    /// The port for health and downloads
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// The folder for caches
    #[arg(long, env = "ARARAT_CACHE_DIR", default_value = "/cache")]
    pub cache_dir: PathBuf,
    /// Backups that run at once
    #[arg(long, default_value_t = 4)]
    pub backups: usize,
    /// Restores that run at once
    #[arg(long, default_value_t = 4)]
    pub restores: usize,
    /// Requests that make objects at once
    #[arg(long, default_value_t = 16)]
    pub parallel_requests: usize,
}

impl Args {
    /// Starts the log.
    pub fn start_log(&self) {
        let filter = EnvFilter::try_from_env("ARARAT_LOG")
            .unwrap_or_else(|_| EnvFilter::new("info,kube_runtime=error,kube_client=error"));
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr);
        let _ = match self.log_format {
            LogFormat::Text => log.with_ansi(false).try_init(),
            LogFormat::Json => log.json().try_init(),
        };
    }
}
