//! Objects that somebody asks for: made under the name that he gave, or one of the present second.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use kube::api::{DynamicObject, PostParams};
use serde::Serialize;
use serde_json::Value;

use super::Cluster;

/// How many seconds may be taken by others.
const TRIES: u32 = 5;

/// Makes an object, and gives it as the server has it. One that is named after `base` and the present second gets a later second's name while that is taken:
/// two that are asked for at once are both made.
pub async fn post<K>(cluster: &Cluster, object: &K, base: Option<&str>) -> Result<Value>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Serialize + Debug,
{
    let mut wanted: DynamicObject = serde_json::from_value(serde_json::to_value(object)?)?;
    let mut tries = 0;
    loop {
        tries += 1;
        match cluster.raw::<K>().create(&PostParams::default(), &wanted).await {
            Ok(made) => return Ok(serde_json::to_value(made)?),
            Err(kube::Error::Api(status)) if status.is_already_exists() && tries < TRIES => {
                let Some(base) = base else {
                    return Err(kube::Error::Api(status).into());
                };
                tokio::time::sleep(Duration::from_secs(1)).await;
                wanted.metadata.name = Some(api::cron::name_at(base, Timestamp::now()));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The name under which it was made.
pub fn name_of(made: &Value) -> String {
    let name = made.pointer("/metadata/name").and_then(Value::as_str);
    name.unwrap_or_default().to_owned()
}
