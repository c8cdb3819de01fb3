//! Moves used blobs out of mostly unused packs, sealed as they are: no key to data is needed.

use std::collections::BTreeMap;

use super::PruneOptions;
use super::plan::{PackFate, PrunePlan};
use super::survey::Survey;
use crate::format::open::SessionKind;
use crate::format::references::Moved;
use crate::repository::view::Leave;
use crate::repository::writer::WriterOptions;
use crate::repository::{Repository, Writer};
use crate::words::{BlobKind, Error, PackName, Progress, Result};

/// Gaps up to this length between used blobs are read along with them.
const GAP_BYTES: u32 = 1 << 20;

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
        if writer.view().index.pack(pack)?.is_none() {
            continue;
        }
        match move_pack(repository, survey, &writer, *pack) {
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

fn move_pack(repository: &Repository, survey: &Survey, writer: &Writer<'_>, pack: PackName) -> Result<(Moved, u64)> {
    let size = survey.sizes.get(&pack).copied().unwrap_or_default();
    let table = repository.table(pack, size)?;
    let none = crate::format::references::Used::none(0);
    let used = survey.used.get(&pack).unwrap_or(&none);
    // By offset, so that neighbours are read together.
    let wanted: BTreeMap<u32, usize> = (0..table.entries.len())
        .filter(|ordinal| used.contains(*ordinal as u16))
        .map(|ordinal| (table.entries[ordinal].offset, ordinal))
        .collect();
    let mut runs: Vec<(u32, u32, Vec<usize>)> = Vec::new();
    for (offset, ordinal) in wanted {
        let end = offset.saturating_add(table.entries[ordinal].length);
        match runs.last_mut() {
            Some((_, last, ordinals)) if offset.saturating_sub(*last) <= GAP_BYTES => {
                *last = end.max(*last);
                ordinals.push(ordinal);
            }
            _ => runs.push((offset, end, vec![ordinal])),
        }
    }
    let mut to = Vec::new();
    let mut length = 0;
    for (start, end, ordinals) in runs {
        let bytes = repository.fetch(&pack, u64::from(start)..u64::from(end))?;
        for ordinal in ordinals {
            let entry = &table.entries[ordinal];
            let begin = (entry.offset - start) as usize;
            let sealed = bytes.get(begin..begin + entry.length as usize);
            let sealed = sealed.ok_or_else(|| Error::damaged(pack.object(), "it is shorter than its table says"))?;
            let session = table.key_sessions[usize::from(entry.key)];
            let (number, place) = writer.append(entry.kind, &entry.id, entry.plaintext, session, sealed)?;
            to.push((ordinal as u16, number, place));
            length += u64::from(entry.length);
            debug_assert!(matches!(entry.kind, BlobKind::Data | BlobKind::Tree));
        }
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
