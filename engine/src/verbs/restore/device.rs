//! Restoring the content of one file onto a block device: the same ranges of packs, but one place to write to.

use std::sync::atomic::Ordering;

use super::RestoreOptions;
use super::StepKind;
use super::extents::{Batches, Piece};
use super::tally::Tally;
use super::verify::{content_differs, differs_at};
use super::work::threads;
use crate::format::tree::{EntryKind, TreeReader};
use crate::repository::Repository;
use crate::target::Device;
use crate::verbs::restore::pipeline::JobQueue;
use crate::words::{BlobId, Error, Result};

/// Writes the chosen file to the device.
pub(super) fn run(repository: &Repository, tree: BlobId, options: &RestoreOptions, tally: &Tally<'_>) -> Result<()> {
    let within = &options.selection.within;
    let mut reader = TreeReader::new(repository, tree).subtree(within)?;
    // The file that was asked for, or the only one there is.
    let mut found = None;
    while let Some(entry) = reader.next_entry()? {
        if let EntryKind::File { size, content, .. } = &entry.kind {
            if found.is_some() {
                return Err(Error::Invalid(format!(
                    "{} is a block device, and takes a single file; say which one of the snapshot's",
                    options.target.display()
                )));
            }
            found = Some((entry.path.clone(), *size, content.clone()));
        }
    }
    let Some((path, size, content)) = found else {
        return Err(Error::Invalid(format!(
            "`{}` is not a file in the snapshot",
            String::from_utf8_lossy(within)
        )));
    };
    if options.dry_run {
        tally.step(StepKind::File, size, || path);
        return Ok(());
    }
    tally.progress.stage("Restoring", "");
    tally.progress.expect(1, size);
    let device = Device::open(&options.target, size)?;
    write(
        repository,
        &device,
        Batches::of(repository, size, content.clone()),
        tally,
    )?;
    device.finish()?;
    tally.step_shown(StepKind::File, size, size, || path.clone());
    if options.verify {
        tally.progress.stage("Verifying", "");
        let differs = content_differs(repository, device.to_read_back(), size, &content, |_| {
            !tally.is_stopped()
        });
        if let Some(error) = tally.take_error() {
            return Err(error);
        }
        match differs {
            Ok(None) => drop(tally.verified.fetch_add(1, Ordering::Relaxed)),
            Ok(Some(at)) => tally.fail(|| path, differs_at(at)),
            Err(why) => tally.fail(|| path, why),
        }
    }
    Ok(())
}

fn write(repository: &Repository, device: &Device, batches: Batches<'_>, tally: &Tally<'_>) -> Result<()> {
    let queue = JobQueue::new(16);
    let work = |batch: super::extents::Batch| {
        if tally.is_stopped() {
            return queue.stop();
        }
        let written = batch.read(repository, |offset, piece| {
            let length = match piece {
                Piece::Bytes(bytes) => device.write_at(bytes, offset).map(|()| bytes.len() as u64),
                Piece::Hole(length) => device.zero(offset, length).map(|()| length),
            };
            length.map(|length| tally.progress.done(0, length))
        });
        match written {
            Ok(fetched) => drop(tally.bytes_fetched.fetch_add(fetched, Ordering::Relaxed)),
            Err(error) => tally.stop(error),
        }
    };
    let found = queue.run(threads(repository), work, || {
        for batch in batches {
            if tally.is_stopped() {
                break;
            }
            queue.push(batch?, 1);
        }
        Ok(())
    });
    tally.take_error().map_or(found, Err)
}
