//! The bytes of a tar archive (POSIX.1-2001, pax): a header before each entry, zeros to fill its last block, and two empty blocks at the end. Pure.
//!
//! What the old header cannot hold (long or odd names, nanoseconds, large numbers, extended attributes) goes into a pax header before it, under the
//! names that GNU tar, bsdtar and star read.

use crate::format::tree::{EntryKind, Metadata};

/// Everything in an archive is a multiple of this many bytes.
pub const BLOCK: u64 = 512;

/// What an archive says of one entry.
pub struct TarEntry<'a> {
    /// Its path in the archive, without a leading or trailing `/`.
    pub path: &'a [u8],
    /// What it is; files without their content.
    pub kind: &'a EntryKind,
    /// An earlier path of the same file, which then has no content here.
    pub same_as: Option<&'a [u8]>,
    /// Mode, owner, times, attributes.
    pub metadata: &'a Metadata,
    /// The owner's name; may be empty.
    pub user: &'a [u8],
    /// The group's name; may be empty.
    pub group: &'a [u8],
}

/// The bytes before the content. Nothing for what an archive cannot hold (sockets).
pub fn header(entry: &TarEntry<'_>) -> Option<Vec<u8>> {
    let mut path = if entry.path.is_empty() {
        b".".to_vec()
    } else {
        entry.path.to_vec()
    };
    let (mut size, mut link, mut device) = (0, &[][..], (0, 0));
    let kind = match entry.kind {
        EntryKind::Folder => {
            path.push(b'/');
            b'5'
        }
        _ if entry.same_as.is_some() => {
            link = entry.same_as.unwrap_or_default();
            b'1'
        }
        EntryKind::File { size: bytes, .. } => {
            size = *bytes;
            b'0'
        }
        EntryKind::Symlink { target, .. } => {
            link = target;
            b'2'
        }
        EntryKind::CharacterDevice { major, minor } => {
            device = (*major, *minor);
            b'3'
        }
        EntryKind::BlockDevice { major, minor } => {
            device = (*major, *minor);
            b'4'
        }
        EntryKind::Fifo => b'6',
        EntryKind::Socket => return None,
    };
    let metadata = entry.metadata;
    let mut extended = Vec::new();
    let seconds = metadata.modified.seconds();
    let nanoseconds = metadata.modified.0.rem_euclid(1_000_000_000);
    let plain = |text: &[u8], most: usize| text.len() <= most && text.is_ascii() && !text.contains(&0);
    if !plain(&path, 100) || !plain(link, 100) {
        // Names are bytes; without this, pax would have them be UTF-8.
        record(&mut extended, b"hdrcharset", b"BINARY");
    }
    if !plain(&path, 100) {
        record(&mut extended, b"path", &path);
    }
    if !plain(link, 100) {
        record(&mut extended, b"linkpath", link);
    }
    if nanoseconds != 0 || octal(seconds, 12).is_none() {
        record(&mut extended, b"mtime", decimal(seconds, nanoseconds).as_bytes());
    }
    for (name, number, width) in [
        (&b"size"[..], size, 12),
        (b"uid", u64::from(metadata.user), 8),
        (b"gid", u64::from(metadata.group), 8),
    ] {
        if octal(i64::try_from(number).unwrap_or(-1), width).is_none() {
            record(&mut extended, name, number.to_string().as_bytes());
        }
    }
    for (name, value) in &metadata.attributes {
        record(&mut extended, &[b"SCHILY.xattr.", &name[..]].concat(), value);
    }
    let mut bytes = Vec::new();
    if !extended.is_empty() {
        let length = extended.len() as u64;
        bytes.extend(block(
            b"././@PaxHeader",
            b'x',
            length,
            0,
            (0o644, 0, 0),
            &[],
            (&[], &[]),
            (0, 0),
        ));
        bytes.append(&mut extended);
        bytes.resize(bytes.len() + filling(length), 0);
    }
    let owner = (metadata.mode, metadata.user, metadata.group);
    bytes.extend(block(
        &path,
        kind,
        size,
        seconds,
        owner,
        link,
        (entry.user, entry.group),
        device,
    ));
    Some(bytes)
}

/// How many zeros follow a content of that many bytes.
pub fn filling(size: u64) -> usize {
    (size.next_multiple_of(BLOCK) - size) as usize
}

/// One record of a pax header: its own length, a name, a value.
fn record(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let rest = name.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend(length.to_string().as_bytes());
    out.push(b' ');
    out.extend(name);
    out.push(b'=');
    out.extend(value);
    out.push(b'\n');
}

/// Seconds and nanoseconds as a decimal fraction. Before 1970 the fraction counts the other way.
fn decimal(seconds: i64, nanoseconds: i64) -> String {
    let (sign, whole, fraction) = if seconds < 0 && nanoseconds > 0 {
        ("-", -(seconds + 1), 1_000_000_000 - nanoseconds)
    } else {
        (if seconds < 0 { "-" } else { "" }, seconds.abs(), nanoseconds)
    };
    if fraction == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{fraction:09}")
    }
}

/// A number for a field of that many bytes, if it fits with the NUL behind it.
fn octal(number: i64, width: usize) -> Option<Vec<u8>> {
    let digits = width - 1;
    let text = format!("{number:0digits$o}");
    (number >= 0 && text.len() == digits).then(|| text.into_bytes())
}

#[allow(clippy::too_many_arguments, reason = "the fields of the header, each once")]
fn block(
    path: &[u8],
    kind: u8,
    size: u64,
    seconds: i64,
    (mode, user, group): (u32, u32, u32),
    link: &[u8],
    (user_name, group_name): (&[u8], &[u8]),
    (major, minor): (u32, u32),
) -> [u8; BLOCK as usize] {
    let mut block = [0; BLOCK as usize];
    let mut text = |at: usize, most: usize, text: &[u8]| {
        let length = text.len().min(most);
        block[at..at + length].copy_from_slice(&text[..length]);
    };
    // What does not fit is in the pax header.
    let number = |number: i64, width: usize| octal(number, width).unwrap_or_else(|| vec![b'0'; width - 1]);
    text(0, 100, path);
    text(100, 8, &number(i64::from(mode & 0o7777), 8));
    text(108, 8, &number(i64::from(user), 8));
    text(116, 8, &number(i64::from(group), 8));
    text(124, 12, &number(i64::try_from(size).unwrap_or(-1), 12));
    text(136, 12, &number(seconds, 12));
    text(148, 8, b"        ");
    text(156, 1, &[kind]);
    text(157, 100, link);
    text(257, 8, b"ustar\x0000");
    text(265, 31, user_name);
    text(297, 31, group_name);
    text(329, 8, &number(i64::from(major), 8));
    text(337, 8, &number(i64::from(minor), 8));
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;
    use crate::words::Timestamp;

    fn of(path: &[u8], kind: &EntryKind, metadata: &Metadata) -> Option<Vec<u8>> {
        header(&TarEntry {
            path,
            kind,
            same_as: None,
            metadata,
            user: b"anna",
            group: b"",
        })
    }

    #[test]
    fn a_plain_entry_is_one_block_with_the_right_sum() {
        let metadata = Metadata {
            mode: 0o644,
            modified: Timestamp::new(1_000_000_000, 0),
            ..Metadata::default()
        };
        let bytes = of(b"folder/file", &EntryKind::Fifo, &metadata).unwrap();
        assert_eq!(bytes.len(), 512);
        assert_eq!(&bytes[100..108], b"0000644\0");
        assert_eq!(&bytes[136..148], b"07346545000\0");
        let mut blank = bytes.clone();
        blank[148..156].fill(b' ');
        let sum: u32 = blank.iter().map(|byte| u32::from(*byte)).sum();
        assert_eq!(std::str::from_utf8(&bytes[148..154]).unwrap(), format!("{sum:06o}"));
    }

    #[test]
    fn what_does_not_fit_goes_into_a_pax_header() {
        let metadata = Metadata {
            modified: Timestamp::new(5, 7),
            user: 3_000_000,
            attributes: vec![(b"user.x".to_vec(), b"\0\n".to_vec())],
            ..Metadata::default()
        };
        let path = vec![b'p'; 300];
        let bytes = of(&path, &EntryKind::Folder, &metadata).unwrap();
        let pax = String::from_utf8_lossy(&bytes[512..1024]).into_owned();
        for record in [
            "21 hdrcharset=BINARY\n",
            "311 path=ppp",
            "21 mtime=5.000000007\n",
            "15 uid=3000000\n",
            "26 SCHILY.xattr.user.x=\0\n\n",
        ] {
            assert!(pax.contains(record), "{record} {pax:?}");
        }
        assert_eq!(bytes.len() % 512, 0);
        assert!(of(b"socket", &EntryKind::Socket, &metadata).is_none());
    }

    #[test]
    fn times_before_1970_count_backwards() {
        assert_eq!(decimal(-1, 250_000_000), "-0.750000000");
        assert_eq!(decimal(-2, 0), "-2");
        assert_eq!(decimal(3, 500_000_000), "3.500000000");
        let mut out = Vec::new();
        record(&mut out, b"a", &[b'x'; 93]);
        assert_eq!(out.len(), 99, "its length counts itself");
        record(&mut out, b"a", &[b'x'; 94]);
        assert_eq!(out.len(), 99 + 101);
    }
}
