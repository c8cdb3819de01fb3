//! Google Cloud Storage: from a bucket and the given environment to a client.
//!
//! Credentials, in this order: `GOOGLE_SERVICE_ACCOUNT` (a file) or `GOOGLE_SERVICE_ACCOUNT_KEY` (its text); an access token
//! (`CLOUDSDK_AUTH_ACCESS_TOKEN`); `GOOGLE_APPLICATION_CREDENTIALS`; the file that `gcloud auth application-default login` writes; the machine's own
//! from its metadata server, which is asked only when nothing of the former is there.

use std::path::PathBuf;
use std::sync::Arc;

use object_store::RetryConfig;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};

use super::transport::Connector;
use super::{Clients, OpenError};
use crate::store::location::Bucket;
use crate::store::options::StoreOptions;

/// Opens a bucket.
pub(super) fn open(
    bucket: &Bucket,
    options: &StoreOptions,
    connector: &Connector,
    retry: RetryConfig,
) -> Result<Clients, OpenError> {
    let mut builder = GoogleCloudStorageBuilder::new();
    for (name, value) in &options.environment {
        let key = name
            .starts_with("GOOGLE_")
            .then(|| name.to_ascii_lowercase().parse::<GoogleConfigKey>().ok())
            .flatten();
        match key {
            None | Some(GoogleConfigKey::Client(_) | GoogleConfigKey::Bucket) => {}
            Some(key) if !value.is_empty() => builder = builder.with_config(key, value),
            Some(_) => {}
        }
    }
    let has = |names: &[&str]| options.variable_of(names).is_some();
    let has_account = has(&[
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_SERVICE_ACCOUNT_PATH",
        "GOOGLE_SERVICE_ACCOUNT_KEY",
        "GOOGLE_BEARER_TOKEN",
    ]);
    if !has_account {
        if let Some(token) = options.variable("CLOUDSDK_AUTH_ACCESS_TOKEN") {
            builder = builder.with_bearer_token(token);
        } else if !has(&["GOOGLE_APPLICATION_CREDENTIALS"])
            && let Some(file) = gcloud_file(options)
        {
            builder = builder.with_application_credentials(file.to_string_lossy());
        }
    }
    let emulator = options.variable("STORAGE_EMULATOR_HOST").map(|host| {
        if host.contains("://") {
            host.to_owned()
        } else {
            format!("http://{host}")
        }
    });
    let endpoint = options.endpoint.clone().or(emulator);
    if let Some(endpoint) = &endpoint {
        builder = builder.with_base_url(endpoint.trim_end_matches('/'));
    }
    let is_true = |value: &str| ["1", "true", "yes", "on"].contains(&value.to_ascii_lowercase().as_str());
    let allow_http = options.variable("GOOGLE_ALLOW_HTTP").is_some_and(is_true)
        || endpoint
            .as_deref()
            .or(options.variable("GOOGLE_BASE_URL"))
            .is_some_and(|url| url.starts_with("http://"));
    builder = builder
        .with_bucket_name(&bucket.name)
        .with_client_options(connector.client_options(allow_http))
        .with_http_connector(connector.clone())
        .with_retry(retry);
    Ok(Clients {
        store: Arc::new(builder.build()?),
        one_by_one: None,
        delete_at_once: 1_000,
    })
}

/// The file of `gcloud auth application-default login`, if it is there.
fn gcloud_file(options: &StoreOptions) -> Option<PathBuf> {
    let folder = options.variable("CLOUDSDK_CONFIG").map(PathBuf::from);
    let folder = folder.or_else(|| Some(PathBuf::from(options.variable("HOME")?).join(".config/gcloud")))?;
    Some(folder.join("application_default_credentials.json")).filter(|file| file.exists())
}
