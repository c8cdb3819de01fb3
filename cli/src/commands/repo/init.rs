//! `ararat repo init`

use std::path::PathBuf;

use anyhow::{Result, bail};
use engine::crypto::passphrase::PassphraseCost;
use engine::repository::{InitOptions, Repository};
use engine::store::probe::{self, Verdict};
use engine::words::Error;

use crate::new_key::NewKey;
use crate::output::show;
use crate::session::{self, Session};

/// Make a repository.
///
/// With a password (from ARARAT_PASSWORD, its file or command, or typed) the password opens it. With --new-key FILE a
/// key is drawn and written there instead, which is faster to open and cannot be guessed.
#[derive(clap::Args)]
pub struct Init {
    /// Draw a key and write it to this file, instead of using a password
    #[arg(long, value_name = "FILE")]
    new_key: Option<PathBuf>,
    /// Write the recovery sheet to this file (with --new-key)
    #[arg(long, value_name = "FILE", requires = "new_key")]
    recovery_sheet: Option<PathBuf>,
    /// The name of the first key's holder, for people
    #[arg(long, default_value = "owner")]
    label: String,
    /// Do not pad packs: saves about 0.1 %, shows the store their exact sizes
    #[arg(long)]
    no_padding: bool,
}

impl Init {
    /// Makes the repository.
    pub fn run(self, session: &Session) -> Result<u8> {
        let location = session.location()?;
        let new_key = match (self.new_key, session.is_default()) {
            (None, true) if session.given_password()?.is_none() => {
                let places = session::default_places()?;
                Some((places.key, Some(places.sheet)))
            }
            (key, _) => key.map(|key| (key, self.recovery_sheet)),
        };
        let new_key = new_key.map(|(key, sheet)| NewKey { key, sheet });
        let passphrase = match &new_key {
            Some(_) => None,
            None => Some((password(session)?, PassphraseCost::default())),
        };
        let options = InitOptions {
            now: session::now(),
            label: self.label,
            passphrase,
            padding: !self.no_padding,
            cache_folder: session.cache_folder(),
            ..InitOptions::default()
        };
        let repository = match &new_key {
            Some(new_key) => new_key.make(session, &location, options)?,
            None => Repository::init(session.store_at(&location)?, options)?.0,
        };
        let (key_path, sheet_path) = new_key.map_or((None, None), |new_key| (Some(new_key.key), new_key.sheet));
        // The repository is made, whatever the store turns out to be: it may be all that there is.
        let verdict = probe::probe(repository.store()).map(|report| report.verdict());
        let warning = match &verdict {
            Ok(Verdict::Everything) => None,
            Ok(verdict) => Some(verdict.to_string()),
            Err(error) => Some(format!("Could not find out what the store does: {error}")),
        };
        if let Some(warning) = warning {
            anstream::eprintln!("Warning: {warning}");
        }
        if session.global.json {
            show::json(&serde_json::json!({
                "verdict": verdict.ok().map(|verdict| verdict.to_string()),
                "repository": repository.id().to_string(),
                "location": location.to_string(),
                "key_file": key_path,
                "recovery_sheet": sheet_path,
            }))?;
        } else if !session.global.quiet {
            show::line(&format!("Made repository {} at {location}", repository.id()))?;
            match (&key_path, &sheet_path) {
                (Some(key), Some(sheet)) => {
                    show::line(&format!(
                        "Its key is {}; print {} and keep it elsewhere",
                        key.display(),
                        sheet.display()
                    ))?;
                }
                (Some(key), None) => show::line(&format!("Its key is {}; keep a copy elsewhere", key.display()))?,
                (None, _) => show::line(
                    "Whoever loses the password loses the backups: keep it safe, and see `ararat repo key add`",
                )?,
            }
        }
        Ok(0)
    }
}

fn password(session: &Session) -> Result<zeroize::Zeroizing<Vec<u8>>> {
    if let Some(given) = session.given_password()? {
        if given.is_empty() {
            bail!(Error::Invalid("The password is empty".into()));
        }
        return Ok(given);
    }
    if !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        bail!(Error::Invalid(
            "No password was given; set ARARAT_PASSWORD or ARARAT_PASSWORD_FILE, or draw a key with --new-key FILE"
                .into()
        ));
    }
    let first = session::ask("New password: ")?;
    if first.is_empty() {
        bail!(Error::Invalid("The password is empty".into()));
    }
    if first != session::ask("Once more: ")? {
        bail!(Error::Invalid("The two passwords differ".into()));
    }
    Ok(first)
}
