//! Why one item could not be restored. It is listed, and the rest goes on, unless nothing else could succeed either.

use rustix::io::Errno;

/// Why one item could not be restored; the path is told by whoever lists it.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The system refused or failed.
    #[error("Could not {action}: {}", .source.kind_text())]
    System {
        /// What was tried, as the rest of "Could not …".
        action: &'static str,
        /// What the system said.
        source: Errno,
    },
    /// It was not tried, because it must not be done.
    #[error("{0}")]
    Refused(String),
}

impl Failure {
    /// A refusal, in one line.
    pub fn refused(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }

    /// Whether going on makes no sense: no space is left, or nothing can be written at all.
    pub fn stops_everything(&self) -> bool {
        matches!(self, Self::System { source, .. } if [Errno::NOSPC, Errno::DQUOT, Errno::ROFS].contains(source))
    }

    /// What the system said, if it was asked.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::System { source, .. } => Some(*source),
            Self::Refused(_) => None,
        }
    }
}

/// Gives a system's error the words for what was tried.
pub trait Tried<T> {
    /// Wraps the error: "Could not `action`: …".
    fn tried(self, action: &'static str) -> Result<T, Failure>;
}

impl<T> Tried<T> for Result<T, Errno> {
    fn tried(self, action: &'static str) -> Result<T, Failure> {
        self.map_err(|source| Failure::System { action, source })
    }
}

trait KindText {
    fn kind_text(&self) -> String;
}

impl KindText for Errno {
    /// The system's words without the "(os error 13)" behind them.
    fn kind_text(&self) -> String {
        let text = std::io::Error::from(*self).to_string();
        match text.find(" (os error") {
            Some(end) => text[..end].to_owned(),
            None => text,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_what_was_tried_and_why() {
        let failure = Err::<(), _>(Errno::ACCESS).tried("create the file").unwrap_err();
        assert_eq!(failure.to_string(), "Could not create the file: Permission denied");
        assert!(!failure.stops_everything());
        assert!(
            Err::<(), _>(Errno::NOSPC)
                .tried("write")
                .unwrap_err()
                .stops_everything()
        );
    }
}
