//! Objects of the repository that cannot be read: what goes on without them, and what must not.
//!
//! One damaged object costs what is in it, not the repository. Reading and backing up go on and say so; maintenance, which deletes what nobody
//! counts, does not go on, because it would count without what the object says.

use super::open::Repository;
use super::view::View;
use crate::words::{Error, ObjectName, Result, SessionId};

/// An object that is not what was written, or that should be there and is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The object.
    pub name: ObjectName,
    /// What is wrong with it: a whole sentence that names it.
    pub message: String,
    /// It is not there.
    pub is_missing: bool,
    /// The snapshot that cannot be read, when it is known to be one.
    pub snapshot: Option<SessionId>,
}

impl Damage {
    pub(crate) fn new(name: impl Into<ObjectName>, error: &Error) -> Self {
        Self {
            name: name.into(),
            message: error.to_string(),
            is_missing: matches!(error, Error::Missing { .. }),
            snapshot: None,
        }
    }

    /// The session that it is of, if it is of one.
    pub fn session(&self) -> Option<SessionId> {
        let named = || self.name.strip_prefix("s/")?.split_once('/')?.0.parse().ok();
        self.snapshot.or_else(named)
    }

    /// As the error of whoever cannot go on without it.
    pub fn to_error(&self) -> Error {
        Error::damaged(&self.name, self.cause())
    }

    /// What is wrong, without its name where that would come twice.
    fn cause(&self) -> &str {
        let cause = self.message.strip_prefix(&self.name);
        let cause = cause.and_then(|rest| rest.strip_prefix(" is damaged: "));
        cause.unwrap_or(&self.message)
    }
}

/// Whether what could not be read is damaged or lost, so that everything else can still be read.
pub(crate) fn is_damage(error: &Error) -> bool {
    matches!(
        error,
        Error::Damaged { .. } | Error::Missing { .. } | Error::MissingBlob { .. }
    )
}

/// The object that an error of that kind names.
pub(crate) fn object_of(error: &Error) -> Option<&str> {
    if let Error::Damaged { name, .. } | Error::Missing { name } = error {
        Some(name)
    } else {
        None
    }
}

/// Refuses when anything is damaged: for whoever deletes what is not counted.
///
/// # Errors
/// [`Error::Damaged`] that names the first object and says what to do.
pub(crate) fn refuse(damaged: &[Damage]) -> Result<()> {
    let Some(first) = damaged.first() else { return Ok(()) };
    let more = match damaged.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let or_else = if first.name.starts_with("f/") {
        ", or delete it if there is none (its snapshot then counts as not forgotten)"
    } else {
        ""
    };
    Err(Error::damaged(
        &first.name,
        format!(
            "{}{more}. Nothing is forgotten by a policy or deleted while it is unknown what this says: put it back from a copy of the store{or_else}",
            first.cause()
        ),
    ))
}

impl Repository {
    /// A view that nothing is missing from, for maintenance.
    ///
    /// # Errors
    /// [`Error::Damaged`] when a part of it cannot be read; what the store says.
    pub(crate) fn load_whole_view(&self) -> Result<View> {
        let view = self.load_full_view()?;
        refuse(&view.damaged)?;
        Ok(view)
    }

    /// Warns of each object once.
    pub(crate) fn warn(&self, damaged: &[Damage]) {
        let Ok(mut warned) = self.warned.lock() else { return };
        for damage in damaged {
            if warned.insert(damage.name.clone()) {
                tracing::warn!("{}; going on without it, `check` says what it hurts", damage.message);
            }
        }
    }
}
