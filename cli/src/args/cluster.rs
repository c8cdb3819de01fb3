//! Which cluster, and which namespace of it.

use std::path::PathBuf;

/// Which cluster, and which namespace of it.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Which cluster")]
pub struct ClusterArgs {
    /// The namespace that Ararat is installed in
    #[arg(short, long, env = "ARARAT_NAMESPACE", global = true, value_name = "NAME", default_value = api::NAMESPACE)]
    pub namespace: String,
    /// The kubeconfig, instead of what KUBECONFIG or ~/.kube/config says
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig, instead of its current one
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
}
