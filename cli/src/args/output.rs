//! How objects are printed.

use clap::ValueEnum;

/// How objects are printed.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct OutputArgs {
    /// How they are printed
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    pub output: Format,
}

/// A form of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people
    #[default]
    Table,
    /// A table with more columns
    Wide,
    /// JSON, as the cluster has it
    Json,
    /// YAML, as the cluster has it
    Yaml,
    /// Names alone
    Name,
}

impl Format {
    /// With `--json`, that is meant.
    pub fn or_json(self, json: bool) -> Self {
        if json { Self::Json } else { self }
    }

    /// Whether a person reads it.
    pub fn is_table(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}
