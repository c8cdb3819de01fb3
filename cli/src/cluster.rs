//! The cluster that commands talk to, and what they all need of it.
//!
//! In reading order: this file (the connection), [`refusal`] (what a cluster's refusals mean for people), [`named`] (an object by its name, or the names
//! that are near), [`apply`] and [`readiness`] (an installation), [`selector`] (labels as people write them), [`wait`] (until something is so), [`checks`] (before something is made),
//! [`download`] over [`http`] (what the controller serves).

pub mod apply;
pub mod checks;
pub mod download;
pub mod http;
pub mod named;
pub mod readiness;
pub mod refusal;
pub mod removal;
pub mod request;
pub mod selector;
pub mod wait;

use std::future::Future;
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Resource};
use tokio::runtime::Runtime;

use crate::args::Global;
use crate::args::cluster::ClusterArgs;
use crate::failure::Failure;
use crate::output::progress;
use crate::session;

/// How long a connection to the API server may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to a cluster.
pub struct Cluster {
    pub global: Global,
    /// The namespace that Ararat is installed in.
    pub namespace: String,
    pub client: Client,
    /// The API server's URL.
    pub server: String,
    runtime: Runtime,
}

impl Cluster {
    /// Reads the kubeconfig and makes a client; nothing is asked of the cluster yet.
    pub fn connect(global: &Global, args: &ClusterArgs) -> Result<Self> {
        let runtime = session::runtime("")?;
        let mut config = runtime.block_on(configuration(args))?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        let server = config.cluster_url.to_string();
        let client = {
            let _inside = runtime.enter();
            Client::try_from(config)?
        };
        Ok(Self {
            global: global.clone(),
            namespace: args.namespace.clone(),
            client,
            server,
            runtime,
        })
    }

    /// Does it, unless a person interrupts.
    pub fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let done = self.runtime.block_on(async {
            tokio::select! {
                done = work => done,
                () = progress::interruption() => Err(Failure::interrupted().into()),
            }
        });
        done.map_err(|error| match error.downcast_ref::<kube::Error>() {
            Some(cause) if refusal::is_unreachable(cause) => error.context(format!(
                "The API server {} does not answer",
                self.server.trim_end_matches('/')
            )),
            _ => error,
        })
    }

    /// Does what must be done also after a person has interrupted; a second time ends the program anyway.
    pub fn finish<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.runtime.block_on(work)
    }

    /// The objects of a kind in Ararat's namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The same objects as the cluster has them, with fields that this version does not know.
    pub fn raw<K>(&self) -> Api<DynamicObject>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced_with(self.client.clone(), &self.namespace, &ApiResource::erase::<K>(&()))
    }
}

/// A kubeconfig that was named must be good; without one, the usual places are looked at, and a pod's own account.
async fn configuration(args: &ClusterArgs) -> Result<Config> {
    let options = KubeConfigOptions {
        context: args.context.clone(),
        ..KubeConfigOptions::default()
    };
    let read = match &args.kubeconfig {
        Some(path) => match Kubeconfig::read_from(path) {
            Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await,
            Err(error) => Err(error),
        },
        None if args.context.is_some() => Config::from_kubeconfig(&options).await,
        None => {
            return Config::infer().await.map_err(|error| {
                let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
                no_cluster(format!("No cluster is known{cause}"))
            });
        }
    };
    read.map_err(|error| no_cluster(format!("The kubeconfig cannot be used: {error}")))
}

fn no_cluster(message: String) -> anyhow::Error {
    Failure::new(message)
        .hint("Name a kubeconfig with --kubeconfig or KUBECONFIG, and one of its contexts with --context; `kubectl config get-contexts` lists them.")
        .into()
}
