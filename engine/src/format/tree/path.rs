//! Paths inside a snapshot: which are allowed, and in what order they stand (FORMAT.md, 6.2).

use std::cmp::Ordering;

use super::varint::{Decoded, Malformed};

/// The most bytes of a path.
pub const PATH_MAX: usize = 1 << 20;
/// The most bytes of a name in a path.
pub const NAME_MAX: usize = 255;

/// Compares two paths component by component, bytewise: a folder sorts right before what is in it.
pub fn compare(left: &[u8], right: &[u8]) -> Ordering {
    let shared = shared(left, right);
    match (left.get(shared), right.get(shared)) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some(left), Some(right)) => rank(*left).cmp(&rank(*right)),
    }
}

/// The separator sorts below every byte that a name can hold, so that `a/b` comes before `a.b`.
fn rank(byte: u8) -> u16 {
    if byte == b'/' { 0 } else { u16::from(byte) + 1 }
}

/// How many bytes the two begin with alike.
pub fn shared(left: &[u8], right: &[u8]) -> usize {
    const STEP: usize = 16;
    let most = left.len().min(right.len());
    let mut at = 0;
    while at + STEP <= most && left[at..at + STEP] == right[at..at + STEP] {
        at += STEP;
    }
    while at < most && left[at] == right[at] {
        at += 1;
    }
    at
}

/// Whether `path` is `folder` or inside it. Everything is inside the root, the path of no bytes.
pub fn is_within(path: &[u8], folder: &[u8]) -> bool {
    match path.strip_prefix(folder) {
        Some(rest) => folder.is_empty() || rest.is_empty() || rest[0] == b'/',
        None => false,
    }
}

/// Checks every name of a path of which everything before `checked` is known to be good already.
///
/// `checked` is a place in `path` such that `path[..checked]` is the beginning of a path that was checked.
pub fn check(path: &[u8], checked: usize) -> Decoded<()> {
    if path.len() > PATH_MAX {
        return Err(Malformed("a path is longer than 1 MiB"));
    }
    if path.is_empty() {
        return Ok(());
    }
    // The name that `checked` is in the middle of has to be looked at as a whole.
    let known = path.get(..checked).unwrap_or(path);
    let start = known.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let mut name_start = start;
    for (at, byte) in path.iter().enumerate().skip(start) {
        match byte {
            0 => return Err(Malformed("a name holds a zero byte")),
            b'/' => {
                check_name(&path[name_start..at])?;
                name_start = at + 1;
            }
            1.. => {}
        }
    }
    check_name(&path[name_start..])
}

fn check_name(name: &[u8]) -> Decoded<()> {
    match name {
        b"" => Err(Malformed("a name is empty")),
        b"." | b".." => Err(Malformed("a name is `.` or `..`")),
        name if name.len() > NAME_MAX => Err(Malformed("a name is longer than 255 bytes")),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_folder_comes_right_before_what_is_in_it() {
        let rising: [&[u8]; 9] = [b"", b"a", b"a/b", b"a/b/c", b"a/b!", b"a\x01", b"a!", b"a.b", b"a\xff"];
        for (i, left) in rising.iter().enumerate() {
            for (j, right) in rising.iter().enumerate() {
                assert_eq!(compare(left, right), i.cmp(&j), "{left:?} {right:?}");
            }
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for bad in [
            "/", "/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/./b", "a\0", "a/\0/b",
        ] {
            assert!(check(bad.as_bytes(), 0).is_err(), "{bad:?}");
        }
        assert!(check(&[b'a'; 256], 0).is_err());
        for good in ["", "a", "a/b", "...", "..a", ".a/a..", "\n", "a/ /b"] {
            assert!(check(good.as_bytes(), 0).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_name_that_was_half_known_is_checked_whole() {
        // "a/." was the beginning of the good path "a/.x".
        assert!(check(b"a/..", 3).is_err());
        assert!(check(b"a/.", 3).is_err());
        assert!(check(b"a/.y", 3).is_ok());
        // "ab" after "abc": nothing new, and good.
        assert!(check(b"ab", 2).is_ok());
    }

    #[test]
    fn within_means_the_folder_and_below() {
        assert!(is_within(b"a/b", b"a") && is_within(b"a", b"a") && is_within(b"a", b"") && is_within(b"", b""));
        assert!(!is_within(b"ab", b"a") && !is_within(b"a", b"a/b") && !is_within(b"", b"a"));
    }
}
