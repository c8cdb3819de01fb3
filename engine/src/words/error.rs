//! The engine's error: variants by what the caller can do about it, with the names a person needs.

use std::path::PathBuf;

use super::{BlobId, SessionId};

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, and with what.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no repository at the location.
    #[error("There is no repository at {location}")]
    NoRepository {
        /// Where it was looked for.
        location: String,
    },
    /// A repository was to be made where one is.
    #[error("There is a repository at {location} already")]
    RepositoryExists {
        /// Where.
        location: String,
    },
    /// No key slot opens with the secret that was given.
    #[error("The key or password opens none of the {slots} key slots of the repository at {location}")]
    WrongKey {
        /// The repository.
        location: String,
        /// How many slots were tried.
        slots: usize,
    },
    /// The key was right, but its role lacks what the verb needs.
    #[error("This needs the key of {needed}; the key that was given is that of {role}")]
    RoleTooSmall {
        /// The role that is needed, with its article: "a reader or an owner".
        needed: &'static str,
        /// The role that is there, with its article.
        role: &'static str,
    },
    /// The object was written by a newer version in a way that this one cannot handle.
    #[error("{name} needs a newer version of Ararat: {what}")]
    NewerFormat {
        /// The object.
        name: String,
        /// The version or feature bits.
        what: String,
    },
    /// What is stored is not what was written.
    #[error("{name} is damaged: {why}")]
    Damaged {
        /// The object, or the blob and its pack.
        name: String,
        /// What does not fit.
        why: String,
    },
    /// What only maintenance may say was said by somebody else.
    #[error("{name} was not written by maintenance: somebody with another role's key has put it there")]
    Forged {
        /// The object.
        name: String,
    },
    /// An object that should be there is not.
    #[error("{name} is missing from the store")]
    Missing {
        /// The object.
        name: String,
    },
    /// No pack that is there holds the blob.
    #[error("Blob {id} is in no pack of the repository")]
    MissingBlob {
        /// The blob.
        id: BlobId,
    },
    /// No snapshot answers to what was asked for.
    #[error("There is no snapshot `{wanted}`{hint}")]
    NoSnapshot {
        /// What was asked for.
        wanted: String,
        /// The nearest that there is, as the rest of the sentence; may be empty.
        hint: String,
    },
    /// The session was ended by maintenance; everything it wrote can be used again by a new one.
    #[error("Session {session} was fenced by maintenance before it could commit")]
    Fenced {
        /// The session.
        session: SessionId,
    },
    /// The store refused or failed.
    #[error("Could not {action} {name}: {failure}{}", detail(.cause))]
    Store {
        /// What was tried: "read", "write", "list", "delete".
        action: &'static str,
        /// The object or prefix.
        name: String,
        /// What kind of failure it is.
        failure: StoreFailure,
        /// What the store said.
        cause: String,
    },
    /// The file system refused or failed.
    #[error("Could not {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The caller asked for something that makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A person stopped it; what is stored is whole, and the next run carries on.
    #[error("Interrupted")]
    Interrupted,
    /// A bug in Ararat: two parts disagree.
    #[error("Internal error: {0}")]
    Internal(String),
}

fn detail(cause: &str) -> String {
    if cause.is_empty() {
        String::new()
    } else {
        format!(" ({cause})")
    }
}

/// The kinds of failure of a store, by what a person does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFailure {
    /// It is not there.
    NotFound,
    /// The bucket, container or folder is not there.
    NoBucket,
    /// The credentials are missing, wrong, or lack the right.
    Denied,
    /// This user may not, on the local disk.
    NotAllowed,
    /// The credentials were right once.
    Expired,
    /// The clocks of the two machines differ by too much.
    ClockSkew,
    /// No answer: name, network, port, TLS.
    Unreachable,
    /// It answered too slowly or not to the end.
    Timeout,
    /// Full disk or quota.
    Full,
    /// It cannot be written.
    ReadOnly,
    /// It asks to slow down, for longer than we are willing to wait.
    Busy,
    /// Anything else.
    Other,
}

impl std::fmt::Display for StoreFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotFound => "it is not there",
            Self::NoBucket => "the bucket, container or folder does not exist",
            Self::Denied => "the credentials are missing, wrong or lack the right to do this",
            Self::NotAllowed => "this user may not do that here",
            Self::Expired => "the credentials have expired",
            Self::ClockSkew => "the clock of this machine differs too much from the store's",
            Self::Unreachable => "the store cannot be reached",
            Self::Timeout => "the store did not answer in time",
            Self::Full => "no space is left",
            Self::ReadOnly => "it is read-only",
            Self::Busy => "the store is too busy",
            Self::Other => "the store failed",
        })
    }
}

impl Error {
    /// Damage, in one line.
    pub fn damaged(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Damaged {
            name: name.into(),
            why: why.into(),
        }
    }

    /// A failure of the file system, in one line.
    pub fn io(action: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io {
            action,
            path: path.into(),
            source,
        }
    }
}
