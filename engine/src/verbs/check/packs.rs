//! Packs: are they there, and do they hold what was put into them?

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Bad, BadPack, CheckOptions, CheckReport, ReadData};
use crate::format::envelope::{self, Access, Kind};
use crate::format::pack::{self, Table};
use crate::format::segment::PackInfo;
use crate::index::Place;
use crate::repository::{Repository, View};
use crate::words::{Error, PackName, Progress, Result};

/// Compares the index with the list of packs.
pub(super) fn presence(repository: &Repository, view: &View, bad: &mut Bad, report: &mut CheckReport) -> Result<()> {
    let sizes = list(repository)?;
    let mut missing = Vec::new();
    for info in view.index.packs()? {
        let info = info?;
        report.packs += 1;
        match sizes.get(&info.name) {
            None => missing.push(info.name),
            Some(size) if *size != u64::from(info.size) => {
                let message = format!("Pack {} has {size} bytes instead of {}", info.name, info.size);
                bad.packs.insert(info.name, BadPack { message, hurts: true });
            }
            Some(_) => {}
        }
    }
    if !missing.is_empty() {
        // Maintenance may have deleted them since the view was read: only the newest generation says what should be there.
        let newest = repository.refresh()?;
        let sizes = list(repository)?;
        for pack in missing {
            if newest.index.pack(&pack)?.is_some() && !sizes.contains_key(&pack) {
                let message = format!("Pack {pack} is missing from the store");
                bad.packs.insert(pack, BadPack { message, hurts: true });
            }
        }
    }
    let mut unknown = 0;
    for pack in sizes.keys() {
        unknown += u64::from(view.index.pack(pack)?.is_none());
    }
    if unknown > 0 {
        report.notes.push(format!(
            "{unknown} packs are in no index: left by interrupted backups, being written, or condemned; prune removes what nobody needs"
        ));
    }
    Ok(())
}

fn list(repository: &Repository) -> Result<HashMap<PackName, u64>> {
    let listed = repository.store().list("p/")?;
    let parsed = listed
        .into_iter()
        .filter_map(|object| Some((PackName::of_object(&object.name)?, object.size)));
    Ok(parsed.collect())
}

/// Reads the chosen packs.
pub(super) fn read(
    repository: &Repository,
    options: &CheckOptions,
    bad: &mut Bad,
    report: &mut CheckReport,
    progress: &dyn Progress,
) -> Result<()> {
    let view = repository.view()?;
    let mut packs = view.index.packs()?.collect::<Result<Vec<PackInfo>>>()?;
    packs.retain(|info| !bad.packs.contains_key(&info.name));
    let chosen = choose(packs, options);
    progress.expect(
        chosen.len() as u64,
        chosen.iter().map(|info| u64::from(info.size)).sum(),
    );
    let next = AtomicUsize::new(0);
    let found = Mutex::new((bad, report, None::<Error>));
    std::thread::scope(|scope| {
        for _ in 0..options.workers.clamp(1, 64) {
            scope.spawn(|| {
                let mut plaintext = Vec::new();
                while let Some(info) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if progress.interrupted() {
                        return;
                    }
                    let result = read_pack(repository, info, &mut plaintext);
                    let Ok(mut found) = found.lock() else { return };
                    let (bad, report, failure) = &mut *found;
                    match result {
                        Ok(pack) => {
                            report.packs_read += 1;
                            report.bytes_read += u64::from(info.size);
                            report.blobs_read += pack.blobs;
                            if let Some(message) = pack.damage {
                                let hurts = !pack.is_whole;
                                bad.packs.insert(info.name, BadPack { message, hurts });
                            }
                            for (entry, message) in pack.bad {
                                bad.blobs
                                    .insert((entry.id.prefix(), entry.kind), (Some(info.name), message));
                            }
                        }
                        Err(error) => {
                            failure.get_or_insert(error);
                            return;
                        }
                    }
                    progress.done(1, u64::from(info.size));
                }
            });
        }
    });
    let (_, _, failure) = found
        .into_inner()
        .map_err(|_| Error::Internal("a thread that checks died".into()))?;
    if progress.interrupted() {
        return Err(Error::Interrupted);
    }
    failure.map_or(Ok(()), Err)
}

/// Pure: which packs are read.
fn choose(mut packs: Vec<PackInfo>, options: &CheckOptions) -> Vec<PackInfo> {
    packs.sort_by_key(|info| info.name);
    let lot = |info: &PackInfo| {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(&options.seed.to_le_bytes())
            .update(&info.name.session.0)
            .update(&info.name.number.to_le_bytes());
        u64::from_le_bytes(std::array::from_fn(|i| hasher.finalize().as_bytes()[i]))
    };
    match options.read_data {
        ReadData::None => packs.clear(),
        ReadData::All => {}
        ReadData::Slice { number, of } => {
            let of = u64::from(of.max(1));
            // By name, so that all slices together are every pack, whatever has come and gone between two of them.
            packs.retain(|info| {
                let name = blake3::hash(&[info.name.session.0.as_slice(), &info.name.number.to_le_bytes()].concat());
                let place = u64::from_le_bytes(std::array::from_fn(|i| name.as_bytes()[i])) % of;
                place + 1 == u64::from(number)
            });
        }
        ReadData::Permille(permille) => {
            packs.sort_by_key(lot);
            packs.truncate((packs.len() * permille as usize).div_ceil(1000));
        }
        ReadData::Bytes(bytes) => {
            packs.sort_by_key(lot);
            let mut sum = 0u64;
            packs.retain(|info| {
                let before = sum;
                sum += u64::from(info.size);
                before < bytes
            });
        }
    }
    packs
}

/// What was read of one pack.
#[derive(Default)]
struct PackRead {
    blobs: u64,
    damage: Option<String>,
    /// Every blob in it was opened and is right.
    is_whole: bool,
    bad: Vec<(pack::TableEntry, String)>,
}

/// Reads one pack. Damage is a result; an error is the store's. The buffer is used again for blob after blob.
fn read_pack(repository: &Repository, info: &PackInfo, plaintext: &mut Vec<u8>) -> Result<PackRead> {
    let name = info.name.object();
    let object = match repository.store().get(&name) {
        Ok(object) => object,
        // Deleted since the view was read, as the newest generation knows; or lost.
        Err(Error::Missing { .. }) if repository.refresh()?.index.pack(&info.name)?.is_none() => {
            return Ok(PackRead::default());
        }
        Err(error @ (Error::Missing { .. } | Error::Damaged { .. })) => {
            return Ok(PackRead {
                damage: Some(error.to_string()),
                ..PackRead::default()
            });
        }
        Err(error) => return Err(error),
    };
    let mut read = PackRead::default();
    let hash_fits = envelope::hash_fits(&object);
    if !hash_fits || object.last_chunk::<32>() != Some(&info.hash) {
        read.damage = Some(format!(
            "Pack {} does not have the hash that it was written with",
            info.name
        ));
    }
    let table = match table_of(repository, info, &object) {
        Ok(table) => table,
        Err(error @ (Error::Damaged { .. } | Error::NewerFormat { .. })) => {
            read.damage.get_or_insert(error.to_string());
            return Ok(read);
        }
        Err(error) => return Err(error),
    };
    if !super::can_read(repository) {
        return Ok(read);
    }
    // What the hash vouches for has the bytes that the writer sealed; whether those were right is known only after opening them.
    for (ordinal, entry) in table.entries.iter().enumerate() {
        let place = Place {
            pack: info.name,
            pack_number: 0,
            pack_size: info.size,
            offset: entry.offset,
            length: entry.length,
            ordinal: ordinal as u16,
            kind: entry.kind,
        };
        let sealed = object.get(entry.offset as usize..entry.offset as usize + entry.length as usize);
        let opened = match sealed {
            Some(sealed) => repository.unseal_into(&place, entry.kind, &entry.id, sealed, plaintext),
            None => Err(Error::damaged(&name, "a blob lies outside of it")),
        };
        match opened {
            Ok(()) if plaintext.len() as u64 == u64::from(entry.plaintext) => read.blobs += 1,
            Ok(()) => read.bad.push((
                *entry,
                format!(
                    "Blob {} in pack {} has another length than its table says",
                    entry.id, info.name
                ),
            )),
            Err(error @ (Error::Damaged { .. } | Error::Missing { .. })) => read.bad.push((*entry, error.to_string())),
            Err(error) => return Err(error),
        }
    }
    // A flipped bit that hurts no blob is damage of the pack alone; one that does is the blob's.
    read.is_whole = read.bad.is_empty();
    if !read.is_whole {
        read.damage = None;
    } else if let Some(damage) = &mut read.damage {
        damage.push_str("; every blob in it is whole");
    }
    Ok(read)
}

fn table_of(repository: &Repository, info: &PackInfo, object: &[u8]) -> Result<Table> {
    let name = info.name.object();
    let (header, _) = envelope::check_start(&name, Kind::Pack, Access::Read, object)?;
    let footer = pack::footer(info.name, object.len() as u64, object)?;
    let start = footer.table_offset as usize;
    let sealed = object.get(start..start + footer.table_length as usize);
    let sealed = sealed.ok_or_else(|| Error::damaged(&name, "its table lies outside of it"))?;
    pack::table(
        repository.id(),
        info.name,
        header,
        &footer,
        sealed,
        &repository.keys().index,
    )
}
