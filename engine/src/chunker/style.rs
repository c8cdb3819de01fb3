//! How a file is cut: by content, or at fixed places for files that are rewritten in place. Pure.
//!
//! Databases and disk images change a page here and there and shift nothing: cut by content, each changed page would cost a whole chunk of about
//! two MiB. At fixed places it costs [`FIXED_BYTES`]; pages are aligned to it, so no page touches two blocks.

/// The length of a fixed block.
pub const FIXED_BYTES: usize = 256 << 10;
/// The length of a fixed block of a block device.
pub const DEVICE_BYTES: usize = 1 << 20;

/// How a file is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// By content.
    Content,
    /// Every so many bytes.
    Fixed(usize),
}

const ENDINGS: &[&str] = &[
    "img", "raw", "qcow2", "qcow", "vmdk", "vdi", "vhd", "vhdx", "hdd", "ibd", "ibdata1", "mdf", "ndf", "dbf",
    "sqlite", "sqlite3", "db", "db3", "mdb", "kdbx", "edb", "luks", "vmem", "wt", "myd", "fdb", "gdb",
];

/// Chooses by name, size and the file's first bytes.
pub fn style_of(name: &[u8], size: u64, start: &[u8]) -> Style {
    let ending = name
        .rsplit(|byte| *byte == b'.')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let by_name = ENDINGS.iter().any(|known| known.as_bytes() == ending);
    let magic = start.starts_with(b"QFI\xfb")
        || start.starts_with(b"SQLite format 3\0")
        || start.starts_with(b"KDMV")
        || start.starts_with(b"LUKS\xba\xbe")
        || start.starts_with(b"vhdxfile")
        || start.get(0x40..0x44) == Some(&[0x7f, 0x10, 0xda, 0xbe]);
    if by_name || magic || is_postgres_relation(name, size) {
        Style::Fixed(FIXED_BYTES)
    } else {
        Style::Content
    }
}

/// PostgreSQL names the files of tables and indexes by number, with a segment (`.1`) or a fork (`_fsm`); they consist of 8 KiB pages.
fn is_postgres_relation(name: &[u8], size: u64) -> bool {
    let name = name
        .strip_suffix(b"_fsm")
        .or(name.strip_suffix(b"_vm"))
        .or(name.strip_suffix(b"_init"))
        .unwrap_or(name);
    let mut parts = name.splitn(2, |byte| *byte == b'.');
    let number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    size.is_multiple_of(8192) && parts.next().is_some_and(number) && parts.next().is_none_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_and_images_are_cut_at_fixed_places_and_the_rest_by_content() {
        for (name, size, start) in [
            (&b"16384"[..], 1 << 30, &b""[..]),
            (b"16384.1", 8192 * 20, b""),
            (b"2619_fsm", 8192 * 3, b""),
            (b"disk.QCOW2", 5, b""),
            (b"state", 4096, b"SQLite format 3\0"),
        ] {
            assert_eq!(
                style_of(name, size, start),
                Style::Fixed(FIXED_BYTES),
                "{}",
                String::from_utf8_lossy(name)
            );
        }
        for (name, size, start) in [
            (&b"16384"[..], 8191, &b""[..]),
            (b"a.tar", 8192, b""),
            (b"1.2.3", 8192, b""),
            (b"db", 3, b""),
        ] {
            let expected = if name == b"db" {
                Style::Fixed(FIXED_BYTES)
            } else {
                Style::Content
            };
            assert_eq!(
                style_of(name, size, start),
                expected,
                "{}",
                String::from_utf8_lossy(name)
            );
        }
    }
}
