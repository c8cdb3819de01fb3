//! Values as text for people, and JSON for programs.

use bytesize::ByteSize;
use comfy_table::{CellAlignment, Table, presets};
use engine::words::Timestamp;
use serde::Serialize;

/// A number of bytes: "1.3 GiB".
pub fn bytes(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}

/// A moment in the local time zone: "2026-11-23 21:43:00".
pub fn time(time: Timestamp) -> String {
    moment(time).map_or_else(
        || "?".to_owned(),
        |zoned| zoned.strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

/// A moment as RFC 3339 in UTC, for programs.
pub fn time_json(time: Timestamp) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(time.0)).map_or_else(|_| String::new(), |time| time.to_string())
}

fn moment(time: Timestamp) -> Option<jiff::Zoned> {
    let time = jiff::Timestamp::from_nanosecond(i128::from(time.0)).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::system()))
}

/// A length of time: "1:02:03" or "4.2 s".
pub fn duration(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.0.saturating_sub(from.0) as f64 / 1e9;
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds as u64;
    format!("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60)
}

/// Raw bytes of a name or path, so that a terminal is safe from them: what is no printable UTF-8 is escaped.
pub fn path(path: &[u8]) -> String {
    let mut text = String::new();
    for chunk in path.utf8_chunks() {
        for letter in chunk.valid().chars() {
            push_safe(&mut text, letter);
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// Text that may hold names, on one or more lines: what a terminal would obey is escaped.
pub fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' => safe.push(letter),
            letter => push_safe(&mut safe, letter),
        }
    }
    safe
}

/// Control characters, and those that turn the direction of writing and so make a name look like another, are escaped.
fn push_safe(text: &mut String, letter: char) {
    let turns =
        matches!(letter, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    if letter.is_control() || turns {
        text.extend(letter.escape_default());
    } else {
        text.push(letter);
    }
}

/// A path for programs: text when it is UTF-8; what is not is escaped, and then `bytes` gives it in base64.
pub fn path_json(path_bytes: &[u8]) -> serde_json::Value {
    match std::str::from_utf8(path_bytes) {
        Ok(text) => serde_json::Value::String(text.to_owned()),
        Err(_) => serde_json::json!({ "text": path(path_bytes), "bytes": data_encoding::BASE64.encode(path_bytes) }),
    }
}

/// Prints one JSON document.
pub fn json(document: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string(document)?)
}

/// Prints a line to standard output, every byte as it is. A reader that has gone away (`| head`) is no failure of ours.
pub fn line(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// Text that comes in pieces and is printed line by line, so that nothing in it commands a terminal.
#[derive(Default)]
pub struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// Prints the lines that are whole now.
    pub fn push(&mut self, piece: &[u8]) -> anyhow::Result<()> {
        self.begun.extend_from_slice(piece);
        if let Some(end) = self.begun.iter().rposition(|byte| *byte == b'\n') {
            let whole: Vec<u8> = self.begun.drain(..=end).collect();
            line(&safe(&String::from_utf8_lossy(&whole[..end])))?;
        }
        Ok(())
    }

    /// Prints the last line, if it has no end.
    pub fn finish(self) -> anyhow::Result<()> {
        if self.begun.is_empty() {
            return Ok(());
        }
        line(&safe(&String::from_utf8_lossy(&self.begun)))
    }
}

/// A table with these headings, without lines.
pub fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(
        headings
            .iter()
            .map(|heading| comfy_table::Cell::new(heading.to_uppercase())),
    );
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Sets these columns flush right: numbers.
pub fn to_the_right(table: &mut Table, columns: &[usize]) {
    for column in columns {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_command_a_terminal() {
        assert_eq!(path(b"plain \xc3\xbc"), "plain \u{fc}");
        assert_eq!(path(b"\x1b[2J\x7f\n\xff"), "\\u{1b}[2J\\u{7f}\\n\\xff");
        assert_eq!(path("a\u{202E}b\u{9b}".as_bytes()), "a\\u{202e}b\\u{9b}");
        assert_eq!(safe("two\nlines\x1b[m"), "two\nlines\\u{1b}[m");
    }
}
