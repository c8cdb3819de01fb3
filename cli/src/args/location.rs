//! A location as a person describes it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::new_location::LocationWish;

/// How a location's store is reached, and whose repository is in it.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "The location")]
pub struct LocationArgs {
    /// How the store is reached: endpoint=URL, region=NAME, pathStyle=true|false, proxy=URL (may be repeated)
    #[arg(long = "location-option", visible_alias = "option", value_name = "NAME=VALUE")]
    pub options: Vec<String>,
    /// A PEM file with certificates to trust besides the well-known ones
    #[arg(long = "location-ca-file", alias = "ca-file", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// The store's credentials: an AWS credentials file, a Google service account key, or lines NAME=VALUE. They become a Secret; without them the pods'
    /// own identity is used
    #[arg(long, value_name = "FILE")]
    pub credentials_file: Option<PathBuf>,
    /// Other credentials for agents, which need to list, read and write, but never to delete
    #[arg(long, value_name = "FILE")]
    pub agent_credentials_file: Option<PathBuf>,
    /// The owner's key of a repository that is there already; without it, a key is drawn for a new one
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Where the recovery sheet of a new repository goes [default: ./ararat-recovery-sheet-NAME.txt]
    #[arg(long, value_name = "FILE")]
    pub recovery_sheet: Option<PathBuf>,
}

impl LocationArgs {
    /// Together with what commands say in their own ways.
    pub fn wish(&self, name: &str, url: &str) -> LocationWish {
        LocationWish {
            name: name.to_owned(),
            url: url.to_owned(),
            options: self.options.clone(),
            ca_file: self.ca_file.clone(),
            credentials_file: self.credentials_file.clone(),
            agent_credentials_file: self.agent_credentials_file.clone(),
            key_file: self.key_file.clone(),
            recovery_sheet: self.recovery_sheet.clone(),
            is_default: None,
            is_read_only: false,
            frequencies: BTreeMap::new(),
        }
    }
}
