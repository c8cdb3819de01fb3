//! `ararat repo key …`

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Subcommand, ValueEnum};
use engine::crypto::key_text;
use engine::crypto::passphrase::PassphraseCost;
use engine::format::envelope::Access;
use engine::format::keys::{Role, Unlock};
use engine::repository::slots::{Holder, SlotInfo};
use engine::words::Error;

use crate::new_key;
use crate::output::show;
use crate::session::{self, Session};

/// Say who can do what.
#[derive(clap::Args)]
pub struct Key {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Subcommand)]
enum KeyCommand {
    /// List the key slots
    List,
    /// Add a key slot: for a password, a recipient, or a new key
    Add(Add),
    /// Remove a key slot, by its name or the beginning of it
    Remove {
        /// The slot
        slot: String,
        /// Only say which slot would go
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// Put a new password in the place of the key in use
    Passwd {
        /// The file with the new password
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
    },
    /// Make new keys for what is written from now on, and wrap the old ones anew
    Rotate,
    /// Draw a key for a person or node, without a repository; give its recipient to an owner
    Generate {
        /// The file for the key
        file: PathBuf,
    },
    /// Print the recovery sheet of the key in use
    Sheet,
}

#[derive(clap::Args)]
struct Add {
    /// What the holder may do
    #[arg(long, value_enum, default_value_t = RoleArg::Owner)]
    role: RoleArg,
    /// Who holds it, for people
    #[arg(long, default_value = "")]
    label: String,
    /// For the holder of this recipient (from `key generate`)
    #[arg(long, value_name = "RECIPIENT", conflicts_with_all = ["new_key", "new_password_file"])]
    recipient: Option<String>,
    /// Draw a key and write it to this file
    #[arg(long, value_name = "FILE", conflicts_with = "new_password_file")]
    new_key: Option<PathBuf>,
    /// The file with the password, on its first line; without any of these three it is asked for
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleArg {
    /// Backs up; reads no data and no tree
    Writer,
    /// Restores
    Reader,
    /// Checks structure, prunes and repacks; reads no data and no tree
    Maintainer,
    /// All of it, keys included
    Owner,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Writer => Self::Writer,
            RoleArg::Reader => Self::Reader,
            RoleArg::Maintainer => Self::Maintainer,
            RoleArg::Owner => Self::Owner,
        }
    }
}

impl Key {
    /// Does it.
    pub fn run(self, session: &Session) -> Result<u8> {
        if let KeyCommand::Generate { file } = &self.command {
            return generate(session, file);
        }
        let repository = session.open(Access::Read, false)?;
        match self.command {
            KeyCommand::List => {
                let slots = repository.slots()?;
                if session.global.json {
                    show::json(&slots.iter().map(slot_json).collect::<Vec<_>>())?;
                } else {
                    print(&slots)?;
                }
            }
            KeyCommand::Add(add) => {
                let holder = match (&add.recipient, &add.new_key) {
                    (Some(recipient), _) => Holder::Recipient(key_text::recipient_from_text(recipient)?),
                    (None, Some(path)) => {
                        new_key::refuse_to_write_over(path)?;
                        Holder::NewKey
                    }
                    (None, None) => {
                        Holder::Passphrase(new_password(add.new_password_file.as_deref())?, PassphraseCost::default())
                    }
                };
                let (name, key) = repository.add_slot(holder, add.role.into(), add.label, session::now())?;
                if let (Some(key), Some(path)) = (key, &add.new_key) {
                    let text = new_key::key_file(repository.id(), repository.store().location(), &key);
                    if let Err(error) = new_key::write_secret(path, &text) {
                        // Nobody holds it now.
                        let _ = repository.remove_slot(&name);
                        return Err(error);
                    }
                }
                done(session, &format!("Added {name}"), &serde_json::json!({ "added": name }))?;
            }
            KeyCommand::Remove { slot, dry_run: true } => {
                let name = repository.removable_slot(&slot)?.pop().unwrap_or_default();
                done(session, &format!("Would remove {name}"), &serde_json::json!({ "removed": name }))?;
            }
            KeyCommand::Remove { slot, dry_run: false } => {
                let name = repository.remove_slot(&slot)?;
                let text = format!("Removed {name}. What its holder has learned it keeps: see `ararat repo key rotate`");
                done(session, &text, &serde_json::json!({ "removed": name }))?;
            }
            KeyCommand::Passwd { new_password_file } => {
                let password = new_password(new_password_file.as_deref())?;
                let name = repository.change_passphrase(password, PassphraseCost::default())?;
                done(session, &format!("The new password opens {name}"), &serde_json::json!({ "added": name }))?;
            }
            KeyCommand::Rotate => {
                let rotated = repository.rotate(session::now())?;
                let text = format!(
                    "From now on epoch {} is used; {} sessions and {} key slots were wrapped anew",
                    rotated.epoch, rotated.sessions, rotated.slots
                );
                let document = serde_json::json!({ "epoch": rotated.epoch, "sessions": rotated.sessions, "slots": rotated.slots });
                done(session, &text, &document)?;
            }
            KeyCommand::Sheet => match session.given_secret()?.map_or_else(|| session.default_key(), |given| Ok(Some(given)))? {
                Some(engine::repository::Credential::Key(key)) => {
                    let (location, made) = (repository.store().location(), repository.config().created);
                    show::line(new_key::recovery_sheet(repository.id(), location, made, &key).trim_end())?;
                }
                _ => bail!(Error::Invalid(
                    "A password is its own recovery sheet; for a printable key use `ararat repo key add --new-key FILE`".into()
                )),
            },
            KeyCommand::Generate { .. } => {}
        }
        Ok(0)
    }
}

fn done(session: &Session, text: &str, document: &serde_json::Value) -> Result<()> {
    match (session.global.json, session.global.quiet) {
        (true, _) => show::json(document),
        (false, false) => show::line(text),
        (false, true) => Ok(()),
    }
}

fn generate(session: &Session, file: &std::path::Path) -> Result<u8> {
    new_key::refuse_to_write_over(file)?;
    let pair = engine::crypto::SecretPair::random();
    let recipient = key_text::recipient_to_text(&pair.public());
    let key = key_text::HolderKey {
        pair,
        root_fingerprint: [0; 16],
    };
    let content = zeroize::Zeroizing::new(format!(
        "# An Ararat key\n# recipient: {recipient}\n{}\n",
        key.to_text().as_str()
    ));
    new_key::write_secret(file, &content)?;
    done(session, &recipient, &serde_json::json!({ "recipient": recipient }))?;
    Ok(0)
}

fn new_password(file: Option<&std::path::Path>) -> Result<zeroize::Zeroizing<Vec<u8>>> {
    let password = match file {
        Some(path) => session::password_of(path)?,
        None => {
            if !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
                bail!(Error::Invalid(
                    "No new password was given; use --new-password-file".into()
                ));
            }
            let first = session::ask("New password: ")?;
            if first != session::ask("Once more: ")? {
                bail!(Error::Invalid("The two passwords differ".into()));
            }
            first
        }
    };
    if password.is_empty() {
        bail!(Error::Invalid("The password is empty".into()));
    }
    Ok(password)
}

fn kind(slot: &SlotInfo) -> &'static str {
    match slot.unlock {
        Unlock::Passphrase { .. } => "password",
        Unlock::Recipient => "key",
    }
}

fn slot_json(slot: &SlotInfo) -> serde_json::Value {
    serde_json::json!({
        "slot": slot.name,
        "kind": kind(slot),
        "recipient": matches!(slot.unlock, Unlock::Recipient).then(|| key_text::recipient_to_text(&slot.public)),
        "stored": show::time_json(slot.stored),
        "current": slot.current,
        "role": slot.note.as_ref().map(|note| note.role.word()),
        "label": slot.note.as_ref().map(|note| &note.label),
    })
}

fn print(slots: &[SlotInfo]) -> Result<()> {
    let mut table = show::table(&["", "slot", "kind", "role", "label", "stored"]);
    for slot in slots {
        let (role, label) = slot
            .note
            .as_ref()
            .map_or(("", ""), |note| (note.role.word(), &note.label));
        table.add_row([
            if slot.current { "*" } else { "" }.to_owned(),
            slot.name.trim_start_matches("keys/").chars().take(12).collect(),
            kind(slot).to_owned(),
            role.to_owned(),
            label.to_owned(),
            show::time(slot.stored),
        ]);
    }
    show::line(&table.trim_fmt())
}
