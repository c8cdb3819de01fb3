//! A file as a stream, and folders as archives that tar unpacks to what was there.

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use engine::verbs::dump::{DumpOptions, DumpReport, dump};
use engine::words::{Error, NoProgress, Result};

use crate::bench::{Bench, noise};
use crate::likeness::difference;
use crate::verb::{fill, is_root};

fn dumped(bench: &Bench, path: &[u8], tar: bool, output: &mut dyn Write) -> Result<DumpReport> {
    let repository = bench.open();
    let snapshot = repository.find_snapshot("latest", &Default::default()).unwrap();
    dump(
        &repository,
        &snapshot,
        &DumpOptions {
            path: path.to_vec(),
            tar,
        },
        output,
        &NoProgress,
    )
}

#[test]
fn a_file_comes_out_byte_for_byte() {
    let bench = Bench::new();
    fill(&bench);
    bench.write("huge", noise(5, 40_000_000));
    bench.backup();
    for name in [
        "huge",
        "large",
        "medium",
        "sparse",
        "hollow",
        "empty",
        "small/3/10",
        "odd\nname",
    ] {
        let mut output = Vec::new();
        let report = dumped(&bench, name.as_bytes(), false, &mut output).unwrap();
        assert!(output == fs::read(bench.path(name)).unwrap(), "{name}");
        assert_eq!((report.entries, report.bytes), (1, output.len() as u64));
    }
    for (path, why) in [
        ("nothing", "`nothing` is not in the snapshot"),
        ("small", "`small` is not a file"),
        ("link", "`link` is not a file"),
    ] {
        let error = dumped(&bench, path.as_bytes(), false, &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), why);
    }
}

#[test]
fn an_output_that_takes_nothing_ends_the_dump() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let bench = Bench::new();
    bench.write("large", noise(5, 30_000_000));
    bench.backup();
    let error = dumped(&bench, b"large", false, &mut Full).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

#[test]
fn an_archive_unpacks_to_what_was_there() {
    let bench = Bench::new();
    fill(&bench);
    // What only a pax header can hold.
    bench.write(&format!("{}/{}", "long".repeat(40), "name".repeat(50)), "x");
    let odd = std::os::unix::ffi::OsStrExt::from_bytes(b"odd \xff name");
    fs::write(bench.folder.path().join::<&std::ffi::OsStr>(odd), "x").unwrap();
    fs::remove_file(bench.path("socket")).unwrap();
    let negative = std::time::UNIX_EPOCH - std::time::Duration::new(1000, 250_000_000);
    fs::File::options()
        .write(true)
        .open(bench.path("empty"))
        .unwrap()
        .set_modified(negative)
        .unwrap();
    bench.backup();
    let place = tempfile::tempdir().unwrap();
    let mut tar = Command::new("tar")
        .args([
            "-x",
            "-p",
            "-S",
            "--xattrs",
            "--xattrs-include=*",
            "--numeric-owner",
            "-C",
        ])
        .arg(place.path())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = tar.stdin.take().unwrap();
    let report = dumped(&bench, b"", true, &mut input).unwrap();
    drop(input);
    assert!(tar.wait().unwrap().success());
    assert_eq!(report.left_out, []);
    if is_root() {
        assert_eq!(difference(bench.folder.path(), place.path()), None);
    }
}

#[test]
fn an_archive_says_what_it_cannot_hold_and_can_begin_anywhere() {
    let bench = Bench::new();
    fill(&bench);
    bench.backup();
    let mut archive = Vec::new();
    let report = dumped(&bench, b"", true, &mut archive).unwrap();
    assert_eq!(
        report.left_out,
        [(b"socket".to_vec(), "An archive cannot hold a socket".to_owned())]
    );
    let list = |path: &str| {
        let mut archive = tempfile::tempfile().unwrap();
        dumped(&bench, path.as_bytes(), true, &mut archive).unwrap();
        archive.write_all_at(b"", 0).unwrap();
        std::io::Seek::rewind(&mut archive).unwrap();
        let output = Command::new("tar").arg("-t").stdin(archive).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(list("modes"), "./\nread-only\nset-user-id\n");
    assert_eq!(list("modes/read-only"), "read-only\n");
}
