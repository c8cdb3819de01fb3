//! Azure Blob Storage: from a container and the given environment to a client.
//!
//! The account comes from `AZURE_STORAGE_ACCOUNT` (or `…_NAME`) or from `AZURE_STORAGE_CONNECTION_STRING`, as Azure's own tools have it; credentials from
//! the same string, `AZURE_STORAGE_KEY` (`…_ACCOUNT_KEY`), `AZURE_STORAGE_SAS_TOKEN`, `AZURE_CLIENT_ID` with a secret or a federated token file; else
//! from the machine's metadata server, which is asked only when nothing of the former is there.

use std::sync::Arc;

use object_store::RetryConfig;
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};

use super::transport::Connector;
use super::{Clients, OpenError};
use crate::store::location::Bucket;
use crate::store::options::StoreOptions;

/// Opens a container.
pub(super) fn open(
    bucket: &Bucket,
    options: &StoreOptions,
    connector: &Connector,
    retry: RetryConfig,
) -> Result<Clients, OpenError> {
    let mut builder = MicrosoftAzureBuilder::new();
    for (name, value) in &options.environment {
        let key = name
            .starts_with("AZURE_")
            .then(|| name.to_ascii_lowercase().parse::<AzureConfigKey>().ok())
            .flatten();
        match key {
            // The emulator's address would be taken from the process's own environment; its endpoint can be given instead.
            None | Some(AzureConfigKey::Client(_) | AzureConfigKey::ContainerName | AzureConfigKey::UseEmulator) => {}
            Some(key) if !value.is_empty() => builder = builder.with_config(key, value),
            Some(_) => {}
        }
    }
    let said = Said::read(options);
    let mut endpoint = options.endpoint.clone().or_else(|| {
        options
            .variable_of(&["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"])
            .map(str::to_owned)
    });
    if let Some(account) = said.account {
        builder = builder.with_account(account);
    }
    if let Some(key) = said.key {
        builder = builder.with_access_key(key);
    }
    if let Some(sas) = said.sas {
        builder = builder.with_config(AzureConfigKey::SasKey, sas);
    }
    if let Some(metadata) = options.variable("IDENTITY_ENDPOINT") {
        builder = builder.with_msi_endpoint(metadata);
    }
    endpoint = endpoint.or(said.endpoint);
    let is_true = |value: &str| ["1", "true", "yes", "on"].contains(&value.to_ascii_lowercase().as_str());
    let allow_http = options.variable("AZURE_ALLOW_HTTP").is_some_and(is_true)
        || endpoint.as_deref().is_some_and(|url| url.starts_with("http://"));
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
    }
    builder = builder
        .with_container_name(&bucket.name)
        .with_client_options(connector.client_options(allow_http))
        .with_http_connector(connector.clone())
        .with_retry(retry);
    // One batch of Azure's takes 256.
    Ok(Clients {
        store: Arc::new(builder.build()?),
        one_by_one: None,
        delete_at_once: 256,
    })
}

/// What Azure's own tools say about an account.
#[derive(Default)]
struct Said {
    account: Option<String>,
    key: Option<String>,
    sas: Option<String>,
    endpoint: Option<String>,
}

impl Said {
    fn read(options: &StoreOptions) -> Self {
        let mut said = options
            .variable("AZURE_STORAGE_CONNECTION_STRING")
            .map(Self::of_connection_string)
            .unwrap_or_default();
        let mut prefer = |field: fn(&mut Self) -> &mut Option<String>, names: &[&str]| {
            if let Some(value) = options.variable_of(names) {
                *field(&mut said) = Some(value.to_owned());
            }
        };
        prefer(
            |said| &mut said.account,
            &["AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"],
        );
        prefer(
            |said| &mut said.key,
            &[
                "AZURE_STORAGE_KEY",
                "AZURE_STORAGE_ACCOUNT_KEY",
                "AZURE_STORAGE_ACCESS_KEY",
            ],
        );
        prefer(
            |said| &mut said.sas,
            &["AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"],
        );
        said
    }

    fn of_connection_string(text: &str) -> Self {
        let value = |wanted: &str| {
            text.split(';')
                .filter_map(|pair| pair.split_once('='))
                .find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))
                .map(|(_, value)| value.trim().to_owned())
        };
        let account = value("AccountName");
        let built = || {
            let scheme = value("DefaultEndpointsProtocol").unwrap_or_else(|| "https".to_owned());
            Some(format!(
                "{scheme}://{}.blob.{}",
                account.as_deref()?,
                value("EndpointSuffix")?
            ))
        };
        let endpoint = value("BlobEndpoint").or_else(built);
        Self {
            endpoint,
            key: value("AccountKey"),
            sas: value("SharedAccessSignature"),
            account,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn connection_strings_are_read_as_azure_writes_them() {
        let said = Said::of_connection_string(
            "DefaultEndpointsProtocol=https;AccountName=me;AccountKey=a+b/c==;EndpointSuffix=core.windows.net",
        );
        assert_eq!(said.account.as_deref(), Some("me"));
        assert_eq!(said.key.as_deref(), Some("a+b/c=="));
        assert_eq!(said.endpoint.as_deref(), Some("https://me.blob.core.windows.net"));
        let said =
            Said::of_connection_string("BlobEndpoint=http://127.0.0.1:1/dev;SharedAccessSignature=sv=1&sig=x%3D");
        assert_eq!(said.endpoint.as_deref(), Some("http://127.0.0.1:1/dev"));
        assert_eq!(said.sas.as_deref(), Some("sv=1&sig=x%3D"));
    }
}
