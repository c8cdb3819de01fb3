//! `ararat repo probe`

use anyhow::{Result, bail};
use engine::store::probe::{self, Verdict};
use engine::words::Error;

use crate::failure;
use crate::output::show;
use crate::session::{self, Session};

/// Find out whether the store does what the repository's protocol needs.
#[derive(clap::Args)]
pub struct Probe {}

impl Probe {
    /// Probes.
    pub fn run(self, session: &Session) -> Result<u8> {
        let location = session.location()?;
        if session.is_default() && !session::default_places()?.repository.exists() {
            bail!(Error::NoRepository {
                location: location.to_string()
            });
        }
        let store = session.store_at(&location)?;
        let report = probe::probe(&store)?;
        if session.global.json {
            show::json(&serde_json::json!({
                "create_if_absent": report.create_if_absent,
                "read_after_write": report.read_after_write,
                "list_after_write": report.list_after_write,
                "ranges": report.ranges,
                "verdict": report.verdict().to_string(),
            }))?;
        } else {
            let word = |yes: bool| if yes { "yes" } else { "NO" };
            show::line(&format!(
                "Refuses to write over what is there  {}",
                word(report.create_if_absent)
            ))?;
            show::line(&format!(
                "Reads what was just written          {}",
                word(report.read_after_write)
            ))?;
            show::line(&format!(
                "Lists what was just written          {}",
                word(report.list_after_write)
            ))?;
            show::line(&format!(
                "Gives parts of objects                {}",
                word(report.ranges)
            ))?;
            show::line(&report.verdict().to_string())?;
        }
        Ok(match report.verdict() {
            Verdict::Everything => 0,
            Verdict::ExclusiveMaintenance | Verdict::NoMaintenance | Verdict::Nothing => failure::PARTIAL,
        })
    }
}
