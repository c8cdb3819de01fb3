//! What was left out on purpose, as the texts of a snapshot's record, and back.
//!
//! A text is a pattern of what was excluded, unless it begins with one of the words below; a pattern that does is written with a backslash before it, which
//! changes nothing of what it matches. So every text means one thing, and people can read it.

use super::excludes::{Excludes, Marker, Pattern};

const ONLY: &str = "only ";
const FOLDERS_WITH: &str = "folders with ";
const LARGER_THAN: &str = "files larger than ";
const OTHER_FILE_SYSTEMS: &str = "other file systems";
const BYTES: &str = " bytes";
const ANY_CASE: &str = " (any case)";
const ANY_CASE_ESCAPED: &str = " (any case\\)";

/// What a backup left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// By patterns, markers and sizes.
    pub excludes: Excludes,
    /// File systems that were mounted in the sources.
    pub other_file_systems: bool,
}

impl LeftOut {
    /// The texts, in an order that [`LeftOut::of_texts`] keeps.
    pub fn texts(excludes: &Excludes, other_file_systems: bool) -> Vec<String> {
        let patterns = excludes.patterns.iter().map(|pattern| {
            let text = pattern_text(pattern);
            let is_word = [ONLY, FOLDERS_WITH, LARGER_THAN, OTHER_FILE_SYSTEMS];
            let escape = is_word.iter().any(|word| text.starts_with(word));
            format!("{}{text}", if escape { "\\" } else { "" })
        });
        let includes = excludes.includes.iter();
        let includes = includes.map(|pattern| format!("{ONLY}{}", pattern_text(pattern)));
        let markers = excludes.markers.iter().map(|marker| {
            let (name, header) = (escaped(&marker.name, true), escaped(&marker.header, false));
            let colon = if header.is_empty() { "" } else { ": " };
            format!("{FOLDERS_WITH}{name}{colon}{header}")
        });
        let sizes = excludes.larger_than.iter();
        let sizes = sizes.map(|size| format!("{LARGER_THAN}{size}{BYTES}"));
        let others = other_file_systems.then(|| OTHER_FILE_SYSTEMS.to_owned());
        patterns
            .chain(includes)
            .chain(markers)
            .chain(sizes)
            .chain(others)
            .collect()
    }

    /// What the texts of a record say.
    pub fn of_texts(texts: &[String]) -> Self {
        let mut left_out = Self::default();
        let excludes = &mut left_out.excludes;
        for text in texts {
            let size = || text.strip_prefix(LARGER_THAN)?.strip_suffix(BYTES)?.parse().ok();
            if text == OTHER_FILE_SYSTEMS {
                left_out.other_file_systems = true;
            } else if let Some(pattern) = text.strip_prefix(ONLY) {
                excludes.includes.push(pattern_of(pattern));
            } else if let Some(marker) = text.strip_prefix(FOLDERS_WITH) {
                let (name, header) = marker.split_once(": ").unwrap_or((marker, ""));
                excludes.markers.push(Marker {
                    name: unescaped(name),
                    header: unescaped(header),
                });
            } else if let Some(size) = size() {
                excludes.larger_than = Some(size);
            } else {
                excludes.patterns.push(pattern_of(text));
            }
        }
        left_out
    }
}

fn pattern_text(pattern: &Pattern) -> String {
    match (pattern.any_case, pattern.text.strip_suffix(ANY_CASE)) {
        (true, _) => format!("{}{ANY_CASE}", pattern.text),
        (false, Some(rest)) => format!("{rest}{ANY_CASE_ESCAPED}"),
        (false, None) => pattern.text.clone(),
    }
}

fn pattern_of(text: &str) -> Pattern {
    let (text, any_case) = match text.strip_suffix(ANY_CASE) {
        Some(text) => (text, true),
        None => (text, false),
    };
    Pattern {
        text: text.to_owned(),
        any_case,
    }
}

/// Bytes as text: a backslash, control characters and what is not UTF-8 as `\xHH`; in a name, the colon too.
fn escaped(bytes: &[u8], is_name: bool) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter.is_ascii_control() || letter == '\\' || letter == ':' && is_name {
                text.push_str(&format!("\\x{:02x}", u32::from(letter)));
            } else {
                text.push(letter);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let number = rest.strip_prefix(b"\\x").and_then(|rest| rest.get(..2));
        let number = number.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match number {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use super::super::excludes::Filter;
    use super::*;

    fn pattern(text: &str, any_case: bool) -> Pattern {
        Pattern {
            text: text.into(),
            any_case,
        }
    }

    #[test]
    fn what_was_left_out_can_be_read_back_from_its_texts() {
        let excludes = Excludes {
            patterns: vec![
                pattern("*.tmp", false),
                pattern("!keep.tmp", true),
                pattern("x (any case)", true),
                pattern("\\only y", false),
            ],
            includes: vec![pattern("/srv", false), pattern("only this", true)],
            markers: vec![
                Marker::of_caches(),
                Marker::parse(b".nobackup").unwrap(),
                Marker::parse(b"a\\\xff:b: c\n\xfe").unwrap(),
            ],
            larger_than: Some(1 << 40),
        };
        for other_file_systems in [false, true] {
            let texts = LeftOut::texts(&excludes, other_file_systems);
            let expected = LeftOut {
                excludes: excludes.clone(),
                other_file_systems,
            };
            assert_eq!(LeftOut::of_texts(&texts), expected, "{texts:?}");
        }
        let texts = LeftOut::texts(&excludes, true);
        assert_eq!(texts[0], "*.tmp");
        assert_eq!(texts[4], "only /srv");
        assert_eq!(
            texts[6],
            "folders with CACHEDIR.TAG: Signature: 8a477f597d28d172789f06886806bc55"
        );
        assert_eq!(
            texts[9..],
            ["files larger than 1099511627776 bytes", "other file systems"]
        );
        assert_eq!(LeftOut::of_texts(&[]), LeftOut::default());
    }

    #[test]
    fn a_pattern_that_looks_like_something_else_still_matches_the_same() {
        for text in [
            "only x",
            "folders with x",
            "files larger than 5 bytes",
            "other file systems",
            "x (any case)",
        ] {
            let excludes = Excludes {
                patterns: vec![pattern(text, false)],
                ..Excludes::default()
            };
            let read = LeftOut::of_texts(&LeftOut::texts(&excludes, false)).excludes;
            assert_eq!(
                (read.patterns.len(), read.includes.len(), read.markers.len()),
                (1, 0, 0),
                "{text}"
            );
            let filter = Filter::new(read).unwrap();
            assert!(
                filter.excludes(text.as_bytes(), false) && filter.excludes(&[b"a/", text.as_bytes()].concat(), false)
            );
            assert!(!filter.excludes(text.to_uppercase().as_bytes(), false) && !filter.excludes(b"x", false));
        }
    }
}
