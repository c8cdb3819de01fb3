//! Shows that every server of the tests starts, takes a signed put, can be broken on purpose, and leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "mod.rs"]
mod servers;
#[path = "../machine/skipped.rs"]
mod skipped;

mod faults;
mod life;

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig};

use servers::Location;

/// A client from nothing but a location, as the engine makes it: that is what a location has to be enough for.
fn client(location: &Location) -> Arc<dyn ObjectStore> {
    let (scheme, rest) = location.url.split_once("://").unwrap();
    let bucket = rest.split('/').next().unwrap();
    let pairs = location
        .environment
        .iter()
        .map(|(name, value)| (name.to_lowercase(), value));
    let retry = RetryConfig {
        max_retries: 3,
        retry_timeout: Duration::from_secs(20),
        ..RetryConfig::default()
    };
    match scheme {
        "s3" => {
            let builder = AmazonS3Builder::new().with_bucket_name(bucket).with_retry(retry);
            Arc::new(
                pairs
                    .fold(builder, |to, (name, value)| {
                        to.with_config(name.parse().unwrap(), value)
                    })
                    .build()
                    .unwrap(),
            )
        }
        "gs" => {
            let builder = GoogleCloudStorageBuilder::new()
                .with_bucket_name(bucket)
                .with_retry(retry);
            Arc::new(
                pairs
                    .fold(builder, |to, (name, value)| {
                        to.with_config(name.parse().unwrap(), value)
                    })
                    .build()
                    .unwrap(),
            )
        }
        "az" => {
            let builder = MicrosoftAzureBuilder::new()
                .with_container_name(bucket)
                .with_retry(retry);
            Arc::new(
                pairs
                    .fold(builder, |to, (name, value)| {
                        to.with_config(name.parse().unwrap(), value)
                    })
                    .build()
                    .unwrap(),
            )
        }
        other => panic!("no store for {other}"),
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

async fn create(store: &dyn ObjectStore, key: &str, data: &'static [u8]) -> object_store::Result<()> {
    let payload = PutPayload::from_static(data);
    store
        .put_opts(&Path::from(key), payload, PutMode::Create.into())
        .await
        .map(|_| ())
}

async fn read(store: &dyn ObjectStore, key: &str) -> object_store::Result<Vec<u8>> {
    Ok(store.get(&Path::from(key)).await?.bytes().await?.to_vec())
}
