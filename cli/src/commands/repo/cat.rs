//! `ararat repo cat`

use anyhow::Result;
use engine::format::envelope::Access;

use super::filter::find_whole;
use super::snapshots::snapshot_json;
use crate::output::show;
use crate::session::Session;

/// Print a snapshot's record, or the repository's config.
#[derive(clap::Args)]
pub struct Cat {
    /// A snapshot, or the word config
    what: String,
}

impl Cat {
    /// Prints.
    pub fn run(self, session: &Session) -> Result<u8> {
        let repository = session.open(Access::Read, false)?;
        let document = if self.what == "config" {
            let config = repository.config();
            serde_json::json!({
                "repository": config.repository.to_string(),
                "created": show::time_json(config.created),
                "root": data_encoding::HEXLOWER.encode(&config.root_public.0),
                "chunker": config.chunker,
                "pack_bytes": config.pack_bytes,
                "tree_pack_bytes": config.tree_pack_bytes,
                "padding": config.padding == 1,
            })
        } else {
            snapshot_json(&find_whole(&repository, &self.what, "cat")?)
        };
        if session.global.json {
            show::json(&document)?
        } else {
            show::line(&serde_json::to_string_pretty(&document)?)?
        };
        Ok(0)
    }
}
