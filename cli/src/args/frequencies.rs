//! How often a location is looked after.

use std::collections::BTreeMap;

use super::backup::length;

/// How often a location is looked after.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "How often it is looked after")]
pub struct FrequencyArgs {
    /// How often it is looked whether there are backups that this cluster does not know, e.g. 1m; 0s is never
    #[arg(long, value_name = "TIME", value_parser = length)]
    sync_period: Option<String>,
    /// How often it is looked whether the store answers, e.g. 1m
    #[arg(long, value_name = "TIME", value_parser = length)]
    validation_frequency: Option<String>,
    /// How often what no backup needs is deleted from the store, e.g. 24h; 0s is never
    #[arg(long, value_name = "TIME", value_parser = length)]
    prune_frequency: Option<String>,
    /// How often a slice of the repository is read and checked, e.g. 24h; 0s is never
    #[arg(long, value_name = "TIME", value_parser = length)]
    check_frequency: Option<String>,
}

impl FrequencyArgs {
    /// The fields of a location that were named.
    pub fn fields(&self) -> BTreeMap<String, String> {
        let all = [
            ("syncPeriod", &self.sync_period),
            ("validationFrequency", &self.validation_frequency),
            ("pruneFrequency", &self.prune_frequency),
            ("checkFrequency", &self.check_frequency),
        ];
        let said = all
            .into_iter()
            .filter_map(|(field, value)| Some((field.to_owned(), value.clone()?)));
        said.collect()
    }
}
