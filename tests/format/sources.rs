//! The folders that the golden repositories are backups of: every kind of entry, name, attribute, time and content.
//!
//! Making them needs root (devices, owners, capabilities) and a file system with holes and extended attributes. Reading the repositories needs neither.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, makedev, mknodat, utimensat};

/// Lines of text that compress well and repeat nowhere.
pub fn text(seed: usize, length: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(length + 64);
    while text.len() < length {
        let line = format!("This is line {} of text {seed}, and nothing more.\n", text.len());
        text.extend_from_slice(line.as_bytes());
    }
    text.truncate(length);
    text
}

/// Bytes that do not compress.
pub fn noise(seed: usize, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(seed as u64).to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// A folder that is being filled.
pub struct Source {
    pub folder: tempfile::TempDir,
}

impl Source {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: impl AsRef<[u8]>) -> PathBuf {
        self.folder.path().join(OsStr::from_bytes(name.as_ref()))
    }

    pub fn write(&self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    fn mode(&self, name: &str, mode: u32) {
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn attribute(&self, path: &Path, name: &str, value: &[u8]) {
        rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
    }

    fn sparse(&self, name: &str, size: u64, pieces: impl IntoIterator<Item = (u64, Vec<u8>)>) {
        let path = self.write(name, "");
        let file = std::fs::File::options().write(true).open(path).unwrap();
        for (offset, bytes) in pieces {
            file.write_all_at(&bytes, offset).unwrap();
        }
        file.set_len(size).unwrap();
    }

    /// Gives everything a time of its own that does not depend on when this runs.
    pub fn settle(&self) {
        let mut count = 0;
        settle(self.folder.path(), &mut count);
        for (name, seconds, nanoseconds) in [
            ("times/before-1970", -86_400 * 365, 1),
            ("times/exact", 1_700_000_000, 123_456_789),
            ("times/epoch", 0, 0),
            ("times/far", 7_258_118_400, 999_999_999),
        ] {
            if self.path(name).exists() {
                set_time(&self.path(name), seconds, nanoseconds);
            }
        }
    }

    /// Small files, some of one byte, in folders.
    pub fn fill_small(&self) {
        self.write("empty", "");
        for number in 0..40 {
            self.write(
                format!("small/{}/file-{number:02}.txt", number % 4),
                text(number, number * number * 3),
            );
        }
        self.write("one-byte", "1");
    }

    /// Everything that an entry can be.
    pub fn fill_all(&self) {
        self.fill_small();
        self.fill_names();
        for (name, mode) in [
            ("set-user-id", 0o4755),
            ("sticky", 0o1777),
            ("none", 0o000),
            ("read-only", 0o444),
        ] {
            self.write(format!("modes/{name}"), name);
            self.mode(&format!("modes/{name}"), mode);
        }
        for name in ["before-1970", "exact", "epoch", "far"] {
            self.write(format!("times/{name}"), name);
        }
        self.fill_special();
        self.fill_attributes();
        self.fill_large();
        std::fs::create_dir_all(self.path("folder-with-nothing/in-it")).unwrap();
        self.mode("folder-with-nothing/in-it", 0o2750);
        self.mode("", 0o751);
    }

    fn fill_names(&self) {
        for name in [
            &b"latin-\xe9"[..],
            b"new\nline",
            b" space ",
            b"-rf",
            b"...",
            b"back\\slash",
            b"%41",
            b"\xff\xfe",
            b"tab\t\x01\x7f",
            "d\u{e9}j\u{e0} \u{1f6a2}".as_bytes(),
            // Sorts between `order` and `order/below`, if one compared plain bytes.
            b"order.txt",
            b"order/below",
        ] {
            self.write([b"names/", name].concat(), name);
        }
        self.write(format!("names/{}", "l".repeat(255)), "long");
        self.write(format!("names/{}deepest", "deep/".repeat(60)), "deep");
    }

    fn fill_special(&self) {
        let file = self.write("links/first", text(900, 5000));
        std::fs::hard_link(&file, self.path("links/second")).unwrap();
        std::fs::create_dir_all(self.path("other")).unwrap();
        std::fs::hard_link(&file, self.path("other/third")).unwrap();
        symlink("first", self.path("links/to-first")).unwrap();
        symlink("/nowhere/at/all", self.path("links/dangling")).unwrap();
        symlink(OsStr::from_bytes(b"../\xff"), self.path("links/odd")).unwrap();
        symlink("t/".repeat(500), self.path("links/to-far-away")).unwrap();
        std::fs::hard_link(self.path("links/dangling"), self.path("links/dangling-too")).unwrap();
        lchown(self.path("links/to-first"), Some(1234), Some(5678)).unwrap();
        lchown(self.path("links/first"), Some(4_000_000_000), Some(65534)).unwrap();

        std::fs::create_dir_all(self.path("special")).unwrap();
        let node = |name: &str, kind, device| {
            mknodat(
                CWD,
                self.path(format!("special/{name}")),
                kind,
                Mode::from(0o640),
                device,
            )
            .unwrap();
        };
        node("fifo", FileType::Fifo, 0);
        node("socket", FileType::Socket, 0);
        node("null", FileType::CharacterDevice, makedev(1, 3));
        node("many", FileType::CharacterDevice, makedev(4095, 1_048_575));
        node("disk", FileType::BlockDevice, makedev(8, 1));
    }

    fn fill_attributes(&self) {
        let file = self.write("attributes/file", "attributed");
        self.attribute(&file, "user.text", b"value");
        self.attribute(&file, "user.binary", b"\0\x01\xff\n");
        self.attribute(&file, "user.empty", b"");
        self.attribute(&file, "user.large", &noise(5, 2000));
        self.attribute(&file, "trusted.secret", b"root's");
        self.attribute(&self.path("attributes"), "user.folder", b"too");
        // cap_net_bind_service=ep, as the kernel stores it.
        let capability = [[1, 0, 0, 2], [0, 4, 0, 0], [0; 4], [0; 4], [0; 4]].concat();
        let capable = self.write("attributes/capable", "capable");
        self.mode("attributes/capable", 0o755);
        self.attribute(&capable, "security.capability", &capability);
        // user::rw- user:1234:r-- group::r-- mask::r-- other::---, as the kernel stores it.
        let acl = |entries: &[(u16, u16, u32)]| {
            let mut bytes = 2u32.to_le_bytes().to_vec();
            for (tag, permissions, id) in entries {
                bytes.extend_from_slice(&tag.to_le_bytes());
                bytes.extend_from_slice(&permissions.to_le_bytes());
                bytes.extend_from_slice(&id.to_le_bytes());
            }
            bytes
        };
        let access = acl(&[
            (1, 6, u32::MAX),
            (2, 4, 1234),
            (4, 4, u32::MAX),
            (16, 4, u32::MAX),
            (32, 0, u32::MAX),
        ]);
        let listed = self.write("attributes/acl", "listed");
        self.attribute(&listed, "system.posix_acl_access", &access);
        std::fs::create_dir_all(self.path("attributes/inherits")).unwrap();
        self.attribute(&self.path("attributes/inherits"), "system.posix_acl_default", &access);
    }

    fn fill_large(&self) {
        self.write("large/text", text(1000, 700_000));
        self.write("large/noise", noise(1001, 132_000));
        // Rewritten in place, so cut at fixed places.
        self.write("large/table.db", text(1002, 400_000));
        self.sparse("sparse/nothing-but-a-hole", 10 << 20, []);
        self.sparse(
            "sparse/holes",
            3 << 20,
            [(0, text(1, 70_000)), (1 << 20, text(2, 200_000))],
        );
        self.sparse("sparse/starts-and-ends-with-holes", 2 << 20, [(1 << 20, text(3, 5000))]);
        // So many pieces that they go into lists; all alike, so that they cost one blob.
        let islands = (0..1500).map(|island| (island << 16, b"island--".repeat(512)));
        self.sparse("sparse/islands.img", 1500 << 16, islands);
    }

    /// Some files that are new, some changed, some gone.
    pub fn change(&self) {
        self.write("small/1/new", text(77, 3000));
        self.write("small/2/file-06.txt", "changed");
        std::fs::remove_file(self.path("small/3/file-39.txt")).unwrap();
        self.write("a-new-folder/with/a-file", text(78, 150_000));
    }
}

fn settle(path: &Path, count: &mut i64) {
    if path.symlink_metadata().unwrap().is_dir() {
        let mut below: Vec<PathBuf> = std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        below.sort();
        below.iter().for_each(|below| settle(below, count));
    }
    *count += 1;
    set_time(
        path,
        1_600_000_000 + *count * 1000,
        (*count * 1_234_567 % 1_000_000_000) as u64,
    );
}

fn set_time(path: &Path, seconds: i64, nanoseconds: u64) {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds as _,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}
