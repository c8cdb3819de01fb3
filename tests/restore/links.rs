//! Files with several names, of which some cannot be restored.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use engine::format::tree::{Content, EntryKind, Extent, TreeReader};
use engine::store::Location;
use engine::verbs::restore::{RestoreOptions, StepKind};
use engine::words::BlobKind;

use crate::bench::{Bench, noise};
use crate::verb::{to, try_restore};

fn linked(bench: &Bench, content: Vec<u8>) {
    bench.write("a/first", content);
    for name in ["b/second", "c/third"] {
        fs::create_dir_all(bench.path(name).parent().unwrap()).unwrap();
        fs::hard_link(bench.path("a/first"), bench.path(name)).unwrap();
    }
    bench.backup();
}

/// Names that waited for the first one failed with it, and names that were met later did not: it depended on which thread was faster.
#[test]
fn when_a_files_first_name_cannot_be_restored_the_next_one_gets_the_content() {
    for length in [100, 300_000, 9_000_000] {
        let bench = Bench::new();
        linked(&bench, noise(1, length));
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("target");
        let taken = target.join("a/first");
        let options = RestoreOptions {
            // All names wait by now, and nothing has been written yet: somebody else takes the first one's.
            observe: Some(Arc::new(move |step| {
                if step.kind == StepKind::Folder && step.path == b"c" {
                    fs::write(&taken, "somebody else's").unwrap();
                }
            })),
            ..to(&target)
        };
        let report = try_restore(&bench, &options).unwrap();
        assert_eq!((report.failed, report.files, report.links), (1, 1, 1), "{report:?}");
        assert_eq!(report.failures[0].0, b"a/first");
        assert_eq!(fs::read(target.join("a/first")).unwrap(), b"somebody else's");
        assert_eq!(fs::read(target.join("b/second")).unwrap(), noise(1, length));
        let inode = |name: &str| fs::metadata(target.join(name)).unwrap().ino();
        assert_eq!(inode("b/second"), inode("c/third"));
    }
}

#[test]
fn when_the_content_is_lost_every_name_says_so() {
    let place = tempfile::tempdir().unwrap();
    let bench = Bench::at(Location::local(place.path().join("repository")).unwrap());
    linked(&bench, noise(1, 300_000));
    let repository = bench.open();
    let root = repository
        .find_snapshot("latest", &Default::default())
        .unwrap()
        .record
        .unwrap()
        .root
        .0;
    let entries: Vec<_> = TreeReader::new(&repository, root).map(Result::unwrap).collect();
    let file = entries.iter().find(|entry| entry.size() > 0).unwrap();
    let EntryKind::File {
        content: Content::Chunks(extents),
        ..
    } = &file.kind
    else {
        panic!("{file:?}")
    };
    let [Extent::Chunk { blob, .. }] = &extents[..] else {
        panic!("{extents:?}")
    };
    let blob = repository.locate(BlobKind::Data, blob).unwrap().unwrap();
    let path = place.path().join("repository").join(blob.pack.object());
    let mut pack = fs::read(&path).unwrap();
    pack[blob.offset as usize + 50] ^= 1;
    fs::write(&path, pack).unwrap();
    let report = try_restore(&bench, &to(&place.path().join("target"))).unwrap();
    assert_eq!((report.failed, report.files, report.links), (3, 0, 0), "{report:?}");
    let reasons: Vec<_> = report.failures.iter().map(|(_, why)| why).collect();
    assert!(reasons.iter().all(|why| *why == reasons[0]), "{reasons:?}");
}
