//! Errors for people: the thing, the cause, and what to do next; and the exit codes that programs read.

use std::process::ExitCode;

use engine::words::{Error, StoreFailure};

use crate::cluster::refusal;
use crate::output::show;

/// The command failed.
pub const FAILED: u8 = 1;
/// The command line makes no sense.
pub const USAGE: u8 = 2;
/// Done, but some items could not be read or written.
pub const PARTIAL: u8 = 3;
/// The repository is damaged.
pub const DAMAGE: u8 = 4;
/// There is no repository there.
pub const NO_REPOSITORY: u8 = 10;
/// The key or the password is wrong.
pub const WRONG_KEY: u8 = 12;
/// Stopped by a person; the next run carries on.
pub const INTERRUPTED: u8 = 130;

/// A failure that says by itself what to do next.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    message: String,
    hint: Option<String>,
    code: u8,
}

impl Failure {
    /// What went wrong: the thing and the cause.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            code: FAILED,
        }
    }

    /// A person has pressed Ctrl-C.
    pub fn interrupted() -> Self {
        Self::new("Interrupted").code(INTERRUPTED)
    }

    /// What to do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The exit code, when it is not [`FAILED`].
    pub fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }
}

/// Whether a person has interrupted.
pub fn is_interrupted(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<Failure>()
        .is_some_and(|failure| failure.code == INTERRUPTED)
}

/// Prints an error and gives its exit code.
pub fn report(error: &anyhow::Error, json: bool) -> ExitCode {
    let engine = error.downcast_ref::<Error>();
    let told = error.downcast_ref::<Failure>();
    let cluster = error.downcast_ref::<kube::Error>().map(refusal::explain);
    let code = told.map_or_else(|| engine.map_or(FAILED, code_of), |told| told.code);
    let hint = engine
        .and_then(hint_of)
        .or_else(|| told.and_then(|told| told.hint.clone()))
        .or_else(|| cluster.and_then(|(_, hint)| hint));
    if json {
        let document =
            serde_json::json!({ "error": { "message": message_of(error), "hint": hint, "exit_code": code } });
        // A reader that has gone away changes nothing about the failure.
        let _ = show::json(&document);
    } else {
        let bold = anstyle::Style::new()
            .bold()
            .fg_color(Some(anstyle::AnsiColor::Red.into()));
        anstream::eprintln!("{bold}Error{bold:#}: {}", show::safe(&message_of(error)));
        if let Some(hint) = hint {
            anstream::eprintln!("{hint}");
        }
    }
    ExitCode::from(code)
}

/// The error and its causes, each once: many name their cause themselves.
pub fn message_of(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain() {
        let refusal = cause.downcast_ref::<kube::Error>().map(refusal::explain);
        // What a cluster says is told in full by its explanation; the client's own words come after it.
        let (part, is_all) = refusal.map_or_else(|| (cause.to_string(), false), |(part, _)| (part, true));
        if message.is_empty() {
            message = part;
        } else if !message.ends_with(&part) {
            message = format!("{message}: {part}");
        }
        if is_all {
            break;
        }
    }
    message
}

/// The exit code that an error of the engine stands for.
pub fn code_of(error: &Error) -> u8 {
    match error {
        Error::NoRepository { .. } => NO_REPOSITORY,
        Error::WrongKey { .. } => WRONG_KEY,
        Error::Damaged { .. } | Error::Forged { .. } | Error::Missing { .. } | Error::MissingBlob { .. } => DAMAGE,
        Error::Invalid(_) => USAGE,
        Error::Interrupted => INTERRUPTED,
        Error::RepositoryExists { .. }
        | Error::RoleTooSmall { .. }
        | Error::NewerFormat { .. }
        | Error::NoSnapshot { .. }
        | Error::Fenced { .. }
        | Error::Store { .. }
        | Error::Io { .. }
        | Error::Internal(_) => FAILED,
    }
}

/// What to do next.
fn hint_of(error: &Error) -> Option<String> {
    let text = match error {
        Error::NoRepository { location } => {
            return Some(format!(
                "Make one with `ararat repo init -r {location}`, or name another with -r or ARARAT_REPOSITORY."
            ));
        }
        Error::RepositoryExists { .. } => "It can be used as it is; to start over, choose another place.",
        Error::WrongKey { .. } => {
            "Check ARARAT_PASSWORD, ARARAT_PASSWORD_FILE or --key-file. The recovery sheet holds a key that works as --key-file."
        }
        Error::RoleTooSmall { .. } => {
            "Open the repository with a key of that role; `ararat repo key list` shows which there are."
        }
        Error::NewerFormat { .. } => "Use a newer version of Ararat for this repository.",
        Error::Damaged { .. } | Error::Missing { .. } | Error::MissingBlob { .. } => {
            "`ararat repo check` finds what else is hurt, and which snapshots and files it hurts."
        }
        Error::Forged { .. } => {
            "Nothing is deleted on its word. Remove that object from the store, and take key and credential from whoever wrote it (`ararat repo key remove`)."
        }
        Error::NoSnapshot { .. } => "`ararat repo snapshots` lists them.",
        Error::Fenced { .. } => "Run the backup again: what it stored is used again.",
        Error::Store { failure, .. } => return store_hint(*failure).map(str::to_owned),
        Error::Io { source, .. } => io_hint(source)?,
        Error::Interrupted => "Run the same command again: it goes on from what is stored.",
        Error::Invalid(_) => return None,
        Error::Internal(_) => "This is a bug in Ararat. Nothing that was stored is lost; please report it.",
    };
    Some(text.to_owned())
}

fn store_hint(failure: StoreFailure) -> Option<&'static str> {
    Some(match failure {
        StoreFailure::NotFound | StoreFailure::Other => return None,
        StoreFailure::NoBucket => "Make the bucket or container first, or correct its name.",
        StoreFailure::Denied => {
            "Check the credentials (AWS_ACCESS_KEY_ID …, GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_…) and what they may do."
        }
        StoreFailure::NotAllowed => "Run the command as the user who owns the repository, or as root.",
        StoreFailure::Expired => "Get new credentials and run the command again: it goes on from what is stored.",
        StoreFailure::ClockSkew => "Set this machine's clock (for instance by NTP) and try again.",
        StoreFailure::Unreachable => {
            "Check the address (--store-endpoint), the network, the proxy (--store-proxy) and, for a store of your own, its certificate (--store-ca-file)."
        }
        StoreFailure::Timeout | StoreFailure::Busy => {
            "Try again later; --connections and --limit-upload ask less of the store."
        }
        StoreFailure::Full => {
            "Make room, for instance with `ararat repo forget … --prune`, and run the command again: it goes on from what is stored."
        }
        StoreFailure::ReadOnly => "Make the place writable, or choose another.",
    })
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the kinds are the standard library's, and they grow"
)]
fn io_hint(error: &std::io::Error) -> Option<&'static str> {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            Some("Make room and run the command again.")
        }
        std::io::ErrorKind::PermissionDenied => Some("Run the command as a user who may, or as root."),
        std::io::ErrorKind::ReadOnlyFilesystem => Some("Choose a place that can be written."),
        _ => None,
    }
}
