//! Opening, reading, holes, reading ahead.

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use engine::source::{Ahead, FoundKind, OpenFile, Piece, ReadAhead};

use crate::skipped::skipped;
use crate::trees::Tree;

fn open(tree: &Tree, path: &str) -> OpenFile {
    tree.walk().expect_no_errors().get(path).clone().open().unwrap()
}

/// A file of 64 MiB with 10 bytes in the middle and 5 before its end, the rest a hole.
fn sparse(tree: &Tree, path: &str) {
    let mut file = std::fs::File::create(tree.at(path)).unwrap();
    file.set_len(64 << 20).unwrap();
    file.seek(SeekFrom::Start(32 << 20)).unwrap();
    file.write_all(b"in between").unwrap();
    file.seek(SeekFrom::End(-5)).unwrap();
    file.write_all(b"ended").unwrap();
}

/// Whether the file system of the tests keeps holes.
fn holes_are_kept(tree: &Tree, path: &str) -> bool {
    std::fs::metadata(tree.at(path)).unwrap().blocks() * 512 < 1 << 20
}

#[test]
fn small_files_are_read_whole() {
    let tree = Tree::new();
    tree.file("empty", "").file("small", "some bytes");
    let mut content = b"left over".to_vec();
    open(&tree, "empty").read_all(&mut content, 100).unwrap();
    assert_eq!(content, b"");
    let file = open(&tree, "small");
    file.read_all(&mut content, 100).unwrap();
    assert_eq!(content, b"some bytes");
    file.read_all(&mut content, 4).unwrap();
    assert_eq!(content, b"some", "never more than wanted");
    std::fs::write(tree.at("small"), vec![7; 100_000]).unwrap();
    file.read_all(&mut content, 1 << 20).unwrap();
    assert_eq!(content, vec![7; 100_000], "what was written since is read too");
    assert!(file.has_changed().unwrap());
}

#[test]
fn places_in_a_file_are_read_without_moving_in_it() {
    let tree = Tree::new();
    tree.file("file", "0123456789");
    let file = open(&tree, "file");
    let mut buffer = [0; 4];
    assert_eq!(file.read_at(&mut buffer, 3).unwrap(), 4);
    assert_eq!(&buffer, b"3456");
    assert_eq!(file.read_at(&mut buffer, 8).unwrap(), 2);
    assert_eq!(file.read_at(&mut buffer, 80).unwrap(), 0);
    let mut appended = b"before ".to_vec();
    assert_eq!(file.append_at(&mut appended, 3, 2).unwrap(), 3);
    assert_eq!(file.append_at(&mut appended, 30, 9).unwrap(), 1);
    assert_eq!(appended, b"before 2349");
}

#[test]
fn holes_are_found_and_not_read() {
    let tree = Tree::new();
    sparse(&tree, "sparse");
    std::fs::File::create(tree.at("all-hole"))
        .unwrap()
        .set_len(10 << 20)
        .unwrap();
    tree.file("dense", "x".repeat(10_000));
    if !holes_are_kept(&tree, "sparse") {
        return skipped("this file system keeps no holes");
    }
    let walked = tree.walk().expect_no_errors();
    let FoundKind::File { size, allocated, .. } = *walked.kind("sparse") else {
        panic!("no file")
    };
    assert!(allocated < size);
    let extents = |path| open(&tree, path).data_extents().map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(extents("dense"), vec![0..10_000]);
    assert_eq!(extents("all-hole"), []);
    let found = extents("sparse");
    assert!(
        found.iter().map(|extent| extent.end - extent.start).sum::<u64>() < 1 << 20,
        "{found:?}"
    );
    assert!(found.iter().any(|extent| extent.contains(&(32 << 20))));
    assert_eq!(found.last().unwrap().end, 64 << 20);
}

#[test]
fn a_file_read_ahead_comes_in_order_with_its_holes() {
    let tree = Tree::new();
    sparse(&tree, "sparse");
    let ahead = ReadAhead::of_file(
        Arc::new(open(&tree, "sparse")),
        Ahead {
            piece_bytes: 1_000,
            pieces: 3,
        },
    )
    .unwrap();
    let mut content = Vec::new();
    let mut ahead = ahead;
    while let Some(piece) = ahead.next() {
        match piece.unwrap() {
            Piece::Hole(length) => content.resize(content.len() + usize::try_from(length).unwrap(), 0),
            Piece::Data(bytes) => {
                assert!(!bytes.is_empty() && bytes.len() <= 1_000);
                content.extend_from_slice(&bytes);
                ahead.give_back(bytes);
            }
        }
    }
    assert!(content == std::fs::read(tree.at("sparse")).unwrap());
}

#[test]
fn a_stream_read_ahead_comes_in_full_pieces() {
    let stream = std::io::repeat(3).take(10_001);
    let mut ahead = ReadAhead::of_stream(
        stream,
        Ahead {
            piece_bytes: 1_000,
            pieces: 1,
        },
    )
    .unwrap();
    let mut lengths = Vec::new();
    while let Some(piece) = ahead.next() {
        let Piece::Data(bytes) = piece.unwrap() else {
            panic!("a stream has no holes")
        };
        assert!(bytes.iter().all(|byte| *byte == 3));
        lengths.push(bytes.len());
        ahead.give_back(bytes);
    }
    assert_eq!(lengths, [vec![1_000; 10], vec![1]].concat());
}

#[test]
fn an_error_of_a_stream_ends_it() {
    struct Broken(u32);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0 += 1;
            buffer[0] = 1;
            if self.0 <= 3 {
                Ok(1)
            } else {
                Err(std::io::Error::other("torn"))
            }
        }
    }
    let mut ahead = ReadAhead::of_stream(
        Broken(0),
        Ahead {
            piece_bytes: 2,
            pieces: 1,
        },
    )
    .unwrap();
    assert_eq!(ahead.next().unwrap().unwrap(), Piece::Data(vec![1, 1]));
    assert_eq!(ahead.next().unwrap().unwrap_err().to_string(), "torn");
    assert!(ahead.next().is_none());
}

#[test]
fn reading_that_is_abandoned_ends_the_thread() {
    let ahead = ReadAhead::of_stream(std::io::repeat(0), Ahead::default()).unwrap();
    drop(ahead);
}

#[test]
fn reading_leaves_the_access_time_alone() {
    let tree = Tree::new();
    tree.file("file", "x").file("folder/y", "");
    let long_ago = rustix::fs::Timespec {
        tv_sec: 1_000_000,
        tv_nsec: 5,
    };
    let times = rustix::fs::Timestamps {
        last_access: long_ago,
        last_modification: long_ago,
    };
    for name in ["file", "folder"] {
        rustix::fs::utimensat(rustix::fs::CWD, tree.at(name), &times, rustix::fs::AtFlags::empty()).unwrap();
    }
    let mut content = Vec::new();
    open(&tree, "file").read_all(&mut content, 10).unwrap();
    for name in ["file", "folder"] {
        assert_eq!(std::fs::metadata(tree.at(name)).unwrap().atime(), 1_000_000, "{name}");
    }
}
