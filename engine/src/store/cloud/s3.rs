//! S3 and what speaks like it: from a bucket and the given environment to a client.
//!
//! Credentials, in this order: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`; a web identity (`AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_ROLE_ARN`);
//! the profile (`AWS_PROFILE`) in `~/.aws/credentials` and `~/.aws/config`; a container's; the machine's own role from its metadata server,
//! which is asked only when nothing of the former is there.

use std::sync::Arc;

use object_store::RetryConfig;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};

use super::profile::{Profile, ProfileError};
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
    let profile = profile(options)?;
    let has_keys = profile.as_ref().is_some_and(|profile| profile.keys.is_some());
    if is_true(options, "AWS_EC2_METADATA_DISABLED") && !has_keys && !has_credentials(options) {
        let why = "no credentials are given, and AWS_EC2_METADATA_DISABLED says not to ask this machine for its own";
        return Err(OpenError(why.to_owned()));
    }
    let endpoint = options
        .endpoint
        .as_deref()
        .or_else(|| options.variable_of(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]))
        .or(profile.as_ref().and_then(|profile| profile.endpoint.as_deref()))
        .map(|endpoint| endpoint.trim_end_matches('/').to_owned());
    // Who writes http:// has decided; objects are sealed and requests signed.
    let allow_http = endpoint
        .as_deref()
        .is_some_and(|endpoint| endpoint.starts_with("http://"))
        || is_true(options, "AWS_ALLOW_HTTP");

    let mut builder = AmazonS3Builder::new();
    for (name, value) in &options.environment {
        let key = name
            .starts_with("AWS_")
            .then(|| name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>().ok())
            .flatten();
        match key {
            None
            | Some(
                AmazonS3ConfigKey::Client(_)
                | AmazonS3ConfigKey::Bucket
                | AmazonS3ConfigKey::Endpoint
                | AmazonS3ConfigKey::S3Endpoint,
            ) => {}
            Some(key) if !value.is_empty() => builder = builder.with_config(key, value),
            Some(_) => {}
        }
    }
    if let Some(profile) = profile {
        if let Some((key, secret)) = profile.keys {
            builder = builder.with_access_key_id(key).with_secret_access_key(secret);
            if let Some(token) = profile.token {
                builder = builder.with_token(token);
            }
        }
        if let Some(region) = profile.region
            && options.variable_of(&["AWS_REGION", "AWS_DEFAULT_REGION"]).is_none()
        {
            builder = builder.with_region(region);
        }
    }
    if let Some(region) = &options.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = endpoint {
        builder = if options.path_style == Some(false) {
            builder
                .with_endpoint(with_bucket_in_host(&endpoint, &bucket.name))
                .with_virtual_hosted_style_request(true)
        } else {
            builder.with_endpoint(endpoint)
        };
    } else if let Some(path_style) = options.path_style {
        builder = builder.with_virtual_hosted_style_request(!path_style);
    }
    builder = builder
        .with_bucket_name(&bucket.name)
        .with_client_options(connector.client_options(allow_http))
        .with_http_connector(connector.clone())
        .with_retry(retry);
    let one_by_one: AmazonS3 = builder.clone().with_disable_bulk_delete(true).build()?;
    Ok(Clients {
        store: Arc::new(builder.build()?),
        one_by_one: Some(Arc::new(one_by_one)),
        delete_at_once: 1_000,
    })
}

/// The profile, when nothing in the environment goes before it.
fn profile(options: &StoreOptions) -> Result<Option<Profile>, ProfileError> {
    let has = |name: &str| options.variable(name).is_some();
    let has_identity = has("AWS_WEB_IDENTITY_TOKEN_FILE") && has("AWS_ROLE_ARN");
    if has("AWS_ACCESS_KEY_ID") || has_identity || is_true(options, "AWS_SKIP_SIGNATURE") {
        return Ok(None);
    }
    Profile::read(options)
}

/// Whether the environment itself names credentials of any kind.
fn has_credentials(options: &StoreOptions) -> bool {
    let names = [
        "AWS_ACCESS_KEY_ID",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ];
    options.variable_of(&names).is_some() || is_true(options, "AWS_SKIP_SIGNATURE")
}

fn is_true(options: &StoreOptions, name: &str) -> bool {
    options
        .variable(name)
        .is_some_and(|value| ["1", "true", "yes", "on"].contains(&value.to_ascii_lowercase().as_str()))
}

/// `https://host` and `bucket` to `https://bucket.host`.
fn with_bucket_in_host(endpoint: &str, bucket: &str) -> String {
    match endpoint.split_once("://") {
        Some((scheme, host)) => format!("{scheme}://{bucket}.{host}"),
        None => format!("https://{bucket}.{endpoint}"),
    }
}
