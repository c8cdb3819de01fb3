//! What of a source is left out: patterns, markers in folders, sizes.
//!
//! Patterns are those of a `.gitignore`: `*`, `?`, `[…]`, `**`; a pattern with a slash that is not its last byte is
//! anchored at the root of the snapshot, one without matches at any depth; a slash at the end makes it match folders
//! alone; `!` takes back what an earlier pattern excluded; the last one that matches decides. They are matched
//! against the path inside the snapshot: `srv/data/x` for a source `/srv/data`, `x` for a source `.`. What is in an
//! excluded folder is not looked at, so `!` cannot bring it back.
//!
//! A folder that bears a marker keeps itself and the marker, so that what is restored bears it too; the rest of it is
//! left out, as tar and restic do.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::words::{Error, Result};

/// The name and the first bytes of a marker that says "this is a cache" (<https://bford.info/cachedir/>).
const CACHE_NAME: &[u8] = b"CACHEDIR.TAG";
const CACHE_HEADER: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// What is left out of a backup. Empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excludes {
    /// Patterns of what is left out, in order.
    pub patterns: Vec<Pattern>,
    /// If there are any: of files (and everything that is no folder), only those that match, or that are in a folder
    /// that matches, are read. Folders are kept, so that the tree stays whole.
    pub includes: Vec<Pattern>,
    /// Folders that hold one of these are kept empty, apart from the marker.
    pub markers: Vec<Marker>,
    /// Files with more bytes than this are left out.
    pub larger_than: Option<u64>,
}

/// One pattern, in the syntax of a `.gitignore`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// As it was given.
    pub text: String,
    /// Whether `A` and `a` are the same letter.
    pub any_case: bool,
}

/// A file whose presence excludes the folder it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The file's name.
    pub name: Vec<u8>,
    /// How its content must begin; no bytes if its presence is enough.
    pub header: Vec<u8>,
}

impl Pattern {
    /// A pattern that tells upper from lower case.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            any_case: false,
        }
    }

    /// The patterns of a file: one a line; empty lines and lines that start with `#` are none.
    ///
    /// Fails when it is not UTF-8; `name` is the file's, for the message.
    pub fn of_lines(name: &str, content: &[u8], any_case: bool) -> Result<Vec<Self>> {
        let mut patterns = Vec::new();
        for (at, line) in content.split(|byte| *byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let text = std::str::from_utf8(line).map_err(|_| {
                Error::Invalid(format!(
                    "Line {} of {name} is not UTF-8: write `?` for each byte that is not",
                    at + 1
                ))
            })?;
            if !text.trim().is_empty() && !text.starts_with('#') {
                patterns.push(Self {
                    text: text.to_string(),
                    any_case,
                });
            }
        }
        Ok(patterns)
    }
}

impl Marker {
    /// The marker of caches, `CACHEDIR.TAG` with its signature.
    pub fn of_caches() -> Self {
        Self {
            name: CACHE_NAME.to_vec(),
            header: CACHE_HEADER.to_vec(),
        }
    }

    /// Reads `NAME` or `NAME:HEADER`. Fails when the name is none of a file.
    pub fn parse(given: &[u8]) -> Result<Self> {
        let mut parts = given.splitn(2, |byte| *byte == b':');
        let name = parts.next().unwrap_or_default().to_vec();
        let header = parts.next().unwrap_or_default().to_vec();
        if name.is_empty() || name.contains(&b'/') || name.contains(&0) {
            let given = String::from_utf8_lossy(given);
            return Err(Error::Invalid(format!(
                "`{given}` names no file that could mark a folder"
            )));
        }
        Ok(Self { name, header })
    }
}

/// The excludes, ready to be asked.
#[derive(Debug)]
pub(crate) struct Filter {
    excludes: Gitignore,
    includes: Gitignore,
    pub(super) markers: Vec<Marker>,
    pub(super) larger_than: Option<u64>,
}

impl Filter {
    /// The files that mark folders.
    pub(crate) fn markers(&self) -> &[Marker] {
        &self.markers
    }

    /// Files with more bytes than this are left out.
    pub(crate) fn larger_than(&self) -> Option<u64> {
        self.larger_than
    }

    /// Whether nothing is left out.
    pub(crate) fn takes_all(&self) -> bool {
        let no_patterns = self.excludes.is_empty() && self.includes.is_empty();
        no_patterns && self.markers.is_empty() && self.larger_than.is_none()
    }

    /// Fails on a pattern that is none.
    pub(crate) fn new(excludes: Excludes) -> Result<Self> {
        Ok(Self {
            excludes: matcher(&excludes.patterns)?,
            includes: matcher(&excludes.includes)?,
            markers: excludes.markers,
            larger_than: excludes.larger_than,
        })
    }

    pub(crate) fn excludes(&self, path: &[u8], is_folder: bool) -> bool {
        !self.excludes.is_empty() && self.excludes.matched(as_path(path), is_folder).is_ignore()
    }

    /// Whether only what matches is read.
    pub(crate) fn includes_only(&self) -> bool {
        !self.includes.is_empty()
    }

    /// Whether the item is included; `above` says that for the folder it is in.
    pub(crate) fn includes(&self, path: &[u8], is_folder: bool, above: bool) -> bool {
        match self.includes.matched(as_path(path), is_folder) {
            Match::None => above,
            Match::Ignore(_) => true,
            Match::Whitelist(_) => false,
        }
    }
}

fn as_path(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

fn matcher(patterns: &[Pattern]) -> Result<Gitignore> {
    let mut builder = GitignoreBuilder::new("");
    // Git takes `a[` for a pattern that never matches; here it is a slip that somebody wants to know of.
    builder.allow_unclosed_class(false);
    let mut failure = None;
    for pattern in patterns {
        let added = builder
            .case_insensitive(pattern.any_case)
            .and_then(|builder| builder.add_line(None, &pattern.text))
            .map(drop);
        if let Err(error) = added {
            failure.get_or_insert((pattern.text.clone(), error));
        }
    }
    if let Some((text, error)) = failure {
        return Err(Error::Invalid(format!("`{text}` is no pattern: {error}")));
    }
    builder
        .build()
        .map_err(|error| Error::Invalid(format!("The patterns cannot be used together: {error}")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    fn filter(patterns: &[&str]) -> Filter {
        let patterns = patterns.iter().map(|text| Pattern::new(*text)).collect();
        Filter::new(Excludes {
            patterns,
            ..Excludes::default()
        })
        .unwrap()
    }

    #[test]
    fn patterns_mean_what_they_mean_to_git() {
        let filter = filter(&[
            "*.tmp",
            "!keep.tmp",
            "/top",
            "build/",
            "a/**/z",
            "# no comment matches",
            "\\#odd",
        ]);
        let excluded = |path: &str| filter.excludes(path.as_bytes(), false);
        assert!(excluded("x.tmp") && excluded("deep/er/x.tmp"));
        assert!(!excluded("keep.tmp") && !excluded("deep/keep.tmp"));
        assert!(excluded("top") && !excluded("below/top"));
        assert!(!excluded("build") && filter.excludes(b"some/build", true));
        assert!(excluded("a/z") && excluded("a/b/c/z") && !excluded("b/z"));
        assert!(excluded("#odd") && !excluded("# no comment matches"));
    }

    #[test]
    fn case_counts_unless_a_pattern_says_otherwise() {
        let patterns = vec![
            Pattern::new("*.LOG"),
            Pattern {
                text: "*.Bak".to_string(),
                any_case: true,
            },
            Pattern::new("!kept.bak"),
        ];
        let filter = Filter::new(Excludes {
            patterns,
            ..Excludes::default()
        })
        .unwrap();
        assert!(filter.excludes(b"a.LOG", false) && !filter.excludes(b"a.log", false));
        assert!(filter.excludes(b"a.BAK", false) && filter.excludes(b"a.bak", false));
        assert!(!filter.excludes(b"kept.bak", false) && filter.excludes(b"KEPT.bak", false));
    }

    #[test]
    fn names_that_are_not_text_are_matched_byte_by_byte() {
        assert!(filter(&["a*z"]).excludes(b"a\xff\n\xfez", false));
        assert!(filter(&["\u{e9}?"]).excludes("\u{e9}x".as_bytes(), false));
        assert!(filter(&["line?break"]).excludes(b"line\nbreak", false));
    }

    #[test]
    fn what_is_below_an_included_folder_is_included() {
        let includes = vec![Pattern::new("*.jpg"), Pattern::new("/all/"), Pattern::new("!/all/not")];
        let filter = Filter::new(Excludes {
            includes,
            ..Excludes::default()
        })
        .unwrap();
        assert!(filter.includes_only());
        assert!(filter.includes(b"x/y.jpg", false, false) && !filter.includes(b"x/y.png", false, false));
        assert!(filter.includes(b"all", true, false) && filter.includes(b"all/x", false, true));
        assert!(!filter.includes(b"all/not", false, true));
    }

    #[test]
    fn a_pattern_that_is_none_is_named() {
        let excludes = Excludes {
            patterns: vec![Pattern::new("fine"), Pattern::new("a[")],
            ..Excludes::default()
        };
        let error = Filter::new(excludes).unwrap_err().to_string();
        assert!(error.starts_with("`a[` is no pattern"), "{error}");
        assert!(
            Pattern::of_lines("list", b"ok\n\xff\n", false)
                .unwrap_err()
                .to_string()
                .contains("Line 2 of list")
        );
        assert_eq!(Pattern::of_lines("list", b"# x\n\na\r\n b\n", false).unwrap().len(), 2);
    }

    #[test]
    fn markers_are_read_with_and_without_a_header() {
        let marker = |given: &[u8]| Marker::parse(given);
        assert_eq!(
            marker(b".nobackup").unwrap(),
            Marker {
                name: b".nobackup".to_vec(),
                header: Vec::new()
            }
        );
        assert_eq!(
            marker(b"a:b:c").unwrap(),
            Marker {
                name: b"a".to_vec(),
                header: b"b:c".to_vec()
            }
        );
        assert!(marker(b"").is_err() && marker(b":x").is_err() && marker(b"a/b").is_err());
    }
}
