//! Folders that bear a marker: which they are, and what is left of their names.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, OFlags};

use super::excludes::Marker;
use super::folder::Folder;
use super::found::LOOK;
use super::names::Names;
use super::open::fill_at;

/// Leaves nothing but the markers in a folder that bears one, and says how many names that cost.
pub(super) fn obey_markers(markers: &[Marker], folder: &Folder, open: BorrowedFd<'_>, names: &mut Names) -> usize {
    let there: Vec<&Marker> = markers
        .iter()
        .filter(|marker| bears(folder, open, names, marker))
        .collect();
    if there.is_empty() {
        return 0;
    }
    let before = names.len();
    names.retain(|name| there.iter().any(|marker| marker.name == name));
    names.more = false;
    names.add(there.iter().map(|marker| marker.name.as_slice()), None);
    before.saturating_sub(names.len())
}

fn bears(folder: &Folder, open: BorrowedFd<'_>, names: &Names, marker: &Marker) -> bool {
    let in_a_later_pass = || names.more && rustix::fs::statat(open, marker.name.as_slice(), LOOK).is_ok();
    let there = names.contains(&marker.name) || in_a_later_pass();
    // A marker that cannot be read marks nothing: better too much in the backup than too little.
    there && (marker.header.is_empty() || begins(folder, open, marker).unwrap_or(false))
}

fn begins(folder: &Folder, open: BorrowedFd<'_>, marker: &Marker) -> io::Result<bool> {
    let file = folder.descriptors().open(open, &marker.name, OFlags::NOFOLLOW, None)?;
    if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
        return Ok(false);
    }
    let mut header = vec![0; marker.header.len()];
    Ok(fill_at(&file, &mut header, 0)? == header.len() && header == marker.header)
}
