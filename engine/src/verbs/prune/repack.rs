//! Moves used blobs out of mostly unused packs, sealed as they are: no key to data is needed.

use bytes::Bytes;

use super::PruneOptions;
use super::plan::{PackFate, PrunePlan};
use super::survey::Survey;
use crate::format::envelope::{self, Access, Envelope, Kind};
use crate::format::open::SessionKind;
use crate::format::pack::{self, Table};
use crate::format::references::Moved;
use crate::format::segment::PackInfo;
use crate::repository::view::Leave;
use crate::repository::writer::WriterOptions;
use crate::repository::{Repository, Writer};
use crate::words::{Error, PackName, Progress, Result};

/// Larger packs are left where they are: one is held in memory at a time.
const PACK_BYTES_MAX: u32 = 256 << 20;

/// What a repack did.
#[derive(Default)]
pub(super) struct Repacked {
    /// Packs that were emptied.
    pub(super) packs: u64,
    /// Bytes that were moved.
    pub(super) bytes: u64,
    /// Packs that cannot be read, with the reason.
    pub(super) damaged: Vec<(PackName, String)>,
}

/// Moves blobs as the plan says. A pack that cannot be read stays; so does what is left when a person stops it.
///
/// # Errors
/// What the store says; [`Error::Fenced`].
pub(super) fn repack(
    repository: &Repository,
    survey: &Survey,
    plan: &PrunePlan,
    options: &PruneOptions,
    progress: &dyn Progress,
) -> Result<Repacked> {
    let now = (options.clock)();
    let writer_options = WriterOptions {
        now,
        machine: options.machine.clone(),
        kind: SessionKind::Repack,
        source: [0; 16],
        level: None,
        uploads: 2,
        volume_key: None,
    };
    let writer = Writer::begin_repack(repository, writer_options)?;
    let mut repacked = Repacked::default();
    let mut moved = Vec::new();
    for pack in plan
        .fates
        .iter()
        .filter(|(_, fate)| **fate == PackFate::Repack)
        .map(|(pack, _)| pack)
    {
        if progress.interrupted() {
            break;
        }
        // What another maintainer condemned meanwhile must not be read again into life.
        let Some(info) = writer.copy_from(pack)? else {
            continue;
        };
        match move_pack(repository, survey, &writer, &info) {
            Ok((table, length)) => {
                moved.push(table);
                repacked.packs += 1;
                repacked.bytes += length;
                progress.done(1, length);
            }
            // Another maintainer has buried it since the writer looked.
            Err(Error::Missing { .. }) if is_gone(repository, *pack)? => {}
            Err(error @ (Error::Damaged { .. } | Error::Missing { .. })) => {
                progress.note(&format!("Pack {pack} is left as it is: {error}"));
                repacked.damaged.push((*pack, error.to_string()));
            }
            Err(error) => {
                let _ = writer.abort((options.clock)());
                return Err(error);
            }
        }
    }
    writer.commit_moved(moved, (options.clock)())?;
    Ok(repacked)
}

/// Whether the newest generation has no such pack any more.
fn is_gone(repository: &Repository, pack: PackName) -> Result<bool> {
    Ok(repository.load_view(Leave::Dead)?.index.pack(&pack)?.is_none())
}

/// Reads a pack whole, and makes sure that it is what was stored: the original is deleted afterwards, and a copy of rot would be all that is left.
fn read_pack(repository: &Repository, info: &PackInfo) -> Result<(Bytes, Table)> {
    let name = info.name.object();
    if info.size > PACK_BYTES_MAX {
        return Err(Error::damaged(name, "it is too large to be moved"));
    }
    let object = repository.store().get(&name)?;
    let size = object.len() as u64;
    if size != u64::from(info.size) || object.last_chunk() != Some(&info.hash) {
        return Err(Error::damaged(name, "its bytes are not those that the index names"));
    }
    let Envelope { header, .. } = envelope::parse(&name, Kind::Pack, Access::Read, &object)?;
    let footer = pack::footer(info.name, size, &object)?;
    let sealed = usize::try_from(footer.table_offset)
        .ok()
        .and_then(|start| object.get(start..start.checked_add(footer.table_length as usize)?));
    let sealed = sealed.ok_or_else(|| Error::damaged(&name, "its footer points outside of it"))?;
    let index = &repository.keys().index;
    let table = pack::table(repository.id(), info.name, header, &footer, sealed, index)?;
    Ok((object, table))
}

fn move_pack(repository: &Repository, survey: &Survey, writer: &Writer<'_>, info: &PackInfo) -> Result<(Moved, u64)> {
    let pack = info.name;
    let (object, table) = read_pack(repository, info)?;
    let mut wanted = Vec::new();
    for (ordinal, entry) in table.entries.iter().enumerate() {
        if !survey.used.get(&pack).is_some_and(|used| used.contains(ordinal as u16)) {
            continue;
        }
        let start = entry.offset as usize;
        let sealed = start
            .checked_add(entry.length as usize)
            .and_then(|end| object.get(start..end));
        let sealed = sealed.ok_or_else(|| Error::damaged(pack.object(), "it is shorter than its table says"))?;
        wanted.push((ordinal as u16, entry, sealed));
    }
    let mut to = Vec::new();
    let mut length = 0;
    for (ordinal, entry, sealed) in wanted {
        let session = table.key_sessions[usize::from(entry.key)];
        let (number, place) = writer.append(entry.kind, &entry.id, entry.plaintext, session, sealed)?;
        to.push((ordinal, number, place));
        length += u64::from(entry.length);
    }
    Ok((
        Moved {
            session: pack.session,
            number: pack.number,
            to,
        },
        length,
    ))
}
