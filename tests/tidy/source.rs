//! The tree as the rules see it: every text file with its path, and Rust files with comments and strings blanked.
//!
//! Blanking keeps every line break and every column, so a place found in `code` is the same place in `text`.

use std::fmt;
use std::path::{Path, PathBuf};

/// A place that breaks a rule.
pub struct Finding {
    pub path: String,
    /// Counted from 1; 0 when the whole file is meant.
    pub line: usize,
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(out, "  {}: {}", self.path, self.what),
            line => write!(out, "  {}:{line}: {}", self.path, self.what),
        }
    }
}

/// One text file.
pub struct File {
    /// Relative to the root, with forward slashes.
    pub path: String,
    pub text: String,
    /// For Rust: `text` with comments, strings and character literals blanked. For others: empty.
    pub code: String,
}

impl File {
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Name without folder and ending; for `store/mod.rs`-like files the folder's name.
    pub fn stem(&self) -> &str {
        let (folder, name) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        match name.split('.').next().unwrap_or(name) {
            "mod" => folder.rsplit('/').next().unwrap_or(folder),
            stem => stem,
        }
    }

    /// The code without its test module, which stands last (see STYLE: public things first, tests last).
    pub fn product(&self) -> &str {
        let tests = self.code.match_indices("#[cfg(test)]").find(|(at, _)| {
            let rest = &self.code[*at..];
            rest.find("mod ")
                .is_some_and(|module| !rest[..module].contains(['{', '}', ';']))
        });
        match tests {
            Some((at, _)) => &self.code[..at],
            None => &self.code,
        }
    }

    pub fn finding(&self, at: usize, what: impl Into<String>) -> Finding {
        Finding {
            path: self.path.clone(),
            line: self.line_of(at),
            what: what.into(),
        }
    }

    pub fn whole(&self, what: impl Into<String>) -> Finding {
        Finding {
            path: self.path.clone(),
            line: 0,
            what: what.into(),
        }
    }

    fn line_of(&self, at: usize) -> usize {
        self.text[..at].matches('\n').count() + 1
    }
}

/// All text files of the repository that people write.
pub struct Tree {
    pub root: PathBuf,
    pub files: Vec<File>,
}

impl Tree {
    pub fn read() -> Tree {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf();
        let mut files = Vec::new();
        walk(&root, &root, &mut files);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        assert!(
            files.iter().any(|file| file.path == "engine/src/lib.rs"),
            "No engine below {}",
            root.display()
        );
        Tree { root, files }
    }

    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust())
    }

    pub fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a File> {
        self.rust().filter(move |file| file.path.starts_with(folder))
    }

    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// Folders nobody writes by hand: built things, stored bytes of fixtures and fuzzing.
const PASSED_BY: &[&str] = &[
    "target",
    ".git",
    "node_modules",
    "fixtures",
    "corpus",
    "artifacts",
    "__pycache__",
];
const TEXT: &[&str] = &["rs", "toml", "md", "py", "sh", "yaml", "yml", "json", "txt"];

fn walk(root: &Path, folder: &Path, files: &mut Vec<File>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_symlink() || PASSED_BY.contains(&name.as_str()) {
            continue;
        }
        // Cargo tags what it builds; `engine/src/target/` is ours.
        if path.join("CACHEDIR.TAG").exists() {
            continue;
        }
        if path.is_dir() {
            walk(root, &path, files);
            continue;
        }
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or("");
        // Scripts such as tests/run have no ending.
        if !TEXT.contains(&ending) && !ending.is_empty() {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        let relative = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
        let code = if ending == "rs" { blank(&text) } else { String::new() };
        files.push(File {
            path: relative,
            text,
            code,
        });
    }
}

/// Replaces comments, strings and character literals by spaces, byte for byte, and keeps line breaks.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => line_end(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if !in_word(bytes, at) => raw_string_end(bytes, at).unwrap_or(at),
            b'\'' => character_end(bytes, at).unwrap_or(at),
            _ => at,
        };
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8(out).unwrap()
}

/// Says whether the byte at `at` continues a word; `br"…"` does not count, its `b` is a prefix.
fn in_word(bytes: &[u8], at: usize) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match at {
        0 => false,
        1 => word(bytes[0]) && bytes[0] != b'b',
        _ => word(bytes[at - 1]) && (bytes[at - 1] != b'b' || word(bytes[at - 2])),
    }
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..]
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(bytes.len(), |length| at + length)
}

fn comment_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut next = at + 1;
    while next < bytes.len() && bytes[next] != b'"' {
        next += if bytes[next] == b'\\' { 2 } else { 1 };
    }
    (next + 1).min(bytes.len())
}

fn raw_string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
    if bytes.get(at + 1 + hashes) != Some(&b'"') {
        return None;
    }
    let mut end = vec![b'"'];
    end.resize(1 + hashes, b'#');
    let start = at + 2 + hashes;
    let length = bytes[start..].windows(end.len()).position(|window| window == end)?;
    Some(start + length + end.len())
}

/// The end of a character literal; `None` for a lifetime.
fn character_end(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at + 1) == Some(&b'\\') {
        let close = bytes[at + 3..].iter().position(|byte| *byte == b'\'')?;
        return Some(at + 3 + close + 1);
    }
    let width = std::str::from_utf8(&bytes[at + 1..(at + 5).min(bytes.len())])
        .unwrap_or_else(|error| std::str::from_utf8(&bytes[at + 1..at + 1 + error.valid_up_to()]).unwrap())
        .chars()
        .next()?
        .len_utf8();
    (bytes.get(at + 1 + width) == Some(&b'\'')).then_some(at + 2 + width)
}

/// Every place where `word` stands alone: not inside a longer identifier.
pub fn places_of<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| !part(code[..*at].chars().next_back()) && !part(code[*at + word.len()..].chars().next()))
}

#[test]
fn blanking_keeps_code_and_drops_comments_strings_and_characters() {
    let text = "let a = \"x::y\"; // c::d\nlet b = r#\"e\"f\"#; 'l: loop { '\\'' ; 'é' } /* g /* h */ */ br\"i\" end";
    let code = blank(text);
    assert_eq!(code.len(), text.len());
    for gone in ["x::y", "c::d", "e\"f", "é", "g", "h", "\"i"] {
        assert!(!code.contains(gone), "{gone} is left in {code}");
    }
    for kept in ["let a", "let b", "'l: loop", "end"] {
        assert!(code.contains(kept), "{kept} is gone from {code}");
    }
}
