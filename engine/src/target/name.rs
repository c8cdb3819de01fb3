//! Which names may be used in a target. Pure; everything else on this floor relies on it.

use std::fmt;

/// Why a path of a snapshot is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadName {
    /// A name of no bytes: a leading, trailing or doubled `/`.
    Empty,
    /// `.` or `..`.
    Dots,
    /// A `/` or a NUL inside a name.
    Separator,
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "The path has an empty name in it, so it is not restored",
            Self::Dots => "The path has `.` or `..` in it, so it is not restored",
            Self::Separator => "The name has a `/` or a NUL in it, so it is not restored",
        })
    }
}

/// Checks one name.
pub fn check_name(name: &[u8]) -> Result<(), BadName> {
    match name {
        b"" => Err(BadName::Empty),
        b"." | b".." => Err(BadName::Dots),
        _ if name.iter().any(|byte| *byte == b'/' || *byte == 0) => Err(BadName::Separator),
        _ => Ok(()),
    }
}

/// Checks every name of a path; the path of no bytes is the root and is good.
pub fn check_path(path: &[u8]) -> Result<(), BadName> {
    if path.is_empty() {
        Ok(())
    } else {
        path.split(|byte| *byte == b'/').try_for_each(check_name)
    }
}

/// Splits a path into its folder's path and its name; `None` for the root.
pub fn split_path(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.is_empty() {
        return None;
    }
    Some(match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&path[..0], path),
    })
}

/// Whether `path` lies inside `folder` (a folder is not inside itself; everything but the root is inside the root).
pub fn is_inside(path: &[u8], folder: &[u8]) -> bool {
    match path.strip_prefix(folder) {
        Some(rest) if folder.is_empty() => !rest.is_empty(),
        Some(rest) => rest.first() == Some(&b'/'),
        None => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn hostile_paths_are_refused() {
        for (path, why) in [
            (&b"/etc/passwd"[..], BadName::Empty),
            (b"a//b", BadName::Empty),
            (b"a/", BadName::Empty),
            (b"..", BadName::Dots),
            (b"a/../b", BadName::Dots),
            (b"./a", BadName::Dots),
            (b"a/b\0c", BadName::Separator),
        ] {
            assert_eq!(check_path(path), Err(why), "{path:?}");
        }
        for path in [&b""[..], b"a", b"...", b"a/..b/c.", b"\xff\n", b" "] {
            assert_eq!(check_path(path), Ok(()), "{path:?}");
        }
        assert_eq!(check_name(b"a/b"), Err(BadName::Separator));
    }

    #[test]
    fn inside_means_below_and_not_beside() {
        assert!(is_inside(b"a/b", b"a"));
        assert!(is_inside(b"a", b""));
        assert!(!is_inside(b"a", b"a"));
        assert!(!is_inside(b"ab", b"a"));
        assert!(!is_inside(b"", b""));
        assert_eq!(split_path(b"a/b/c"), Some((&b"a/b"[..], &b"c"[..])));
        assert_eq!(split_path(b"c"), Some((&b""[..], &b"c"[..])));
        assert_eq!(split_path(b""), None);
    }
}
