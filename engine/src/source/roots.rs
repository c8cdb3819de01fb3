//! Which paths are backed up, and where in the snapshot each of them is.
//!
//! A source is stored as it was given: `.` puts the folder's entries at the root of the snapshot; `foo/bar` is stored
//! as `foo` and `foo/bar`; `/srv/data` as `srv` and `srv/data`. A path with `..` is made absolute first, as the system
//! resolves it. Several sources are merged into one tree; equal and nested ones are read once.
//!
//! Symbolic links above a source are followed and stored as the folders they lead to. A source that is itself a link
//! is stored as a link, as restic and borg do, with two exceptions: with a slash at its end it means what it points to
//! (as for tar and rsync), and a link to a block device means the device, because volumes are named by links.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::folder::{Descriptors, Folder};
use super::found::LOOK;
use crate::words::{Error, Result};

/// Sources as a tree of names; node 0 is the root of the snapshot.
#[derive(Debug)]
pub(super) struct Roots {
    nodes: Vec<Node>,
}

/// A name on the way to a source, or a source.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// It was named as a source: everything in it is read.
    pub(super) given: bool,
    /// It was given with a slash at its end: a link is followed.
    pub(super) follow: bool,
    /// Where the name is looked up, for the first names of the tree and the root.
    pub(super) base: Option<Arc<Folder>>,
    /// As the person wrote the source that made this node, for messages.
    text: String,
    children: BTreeMap<Vec<u8>, usize>,
}

/// A source's path, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Resolved {
    absolute: bool,
    names: Vec<Vec<u8>>,
    follow: bool,
}

/// Reads a list of paths, as `--files-from` gives it: one a line, or separated by NUL when names may hold newlines.
///
/// A path stands for itself: there are no comments, no patterns, and spaces count. Empty lines are skipped.
pub fn paths_of_list(content: &[u8], separator: u8) -> Vec<PathBuf> {
    let paths = content.split(|byte| *byte == separator).filter(|path| !path.is_empty());
    paths.map(|path| PathBuf::from(OsStr::from_bytes(path))).collect()
}

impl Roots {
    /// Takes the sources; relative ones start from `here`. Fails when one makes no sense or two would be stored at
    /// one place, or when there is none of them at all.
    pub(super) fn new(sources: &[PathBuf], here: &Path, descriptors: &Arc<Descriptors>) -> Result<Self> {
        if sources.is_empty() {
            return Err(Error::Invalid("Nothing to back up: no path was given".to_string()));
        }
        expect_one(sources, here)?;
        let top = Folder::base(Path::new("/"), descriptors).map_err(|error| Error::io("open", "/", error))?;
        let base = Folder::base(here, descriptors).map_err(|error| Error::io("open", here, error))?;
        let at_top = (base.device(), base.inode()) == (top.device(), top.inode());
        let mut roots = Self {
            nodes: vec![Node::default()],
        };
        for source in sources {
            let resolved = resolve(source, here)?;
            let base = if resolved.absolute || at_top { &top } else { &base };
            roots.insert(source, &resolved, base)?;
        }
        roots.check_root()?;
        Ok(roots)
    }

    pub(super) fn node(&self, at: usize) -> Option<&Node> {
        self.nodes.get(at)
    }

    /// The node below `at` that has this name.
    pub(super) fn below(&self, at: usize, name: &[u8]) -> Option<usize> {
        self.node(at)?.children.get(name).copied()
    }

    fn insert(&mut self, source: &Path, resolved: &Resolved, base: &Arc<Folder>) -> Result<()> {
        let mut at = 0;
        for (depth, name) in resolved.names.iter().enumerate() {
            let next = self.below(at, name).unwrap_or(self.nodes.len());
            if next == self.nodes.len() {
                let base = (depth == 0).then(|| Arc::clone(base));
                self.nodes.push(Node {
                    base,
                    text: source.display().to_string(),
                    ..Node::default()
                });
                if let Some(node) = self.nodes.get_mut(at) {
                    node.children.insert(name.clone(), next);
                }
            } else if depth == 0 {
                self.check_same(next, name, source, base)?;
            }
            at = next;
        }
        let Some(node) = self.nodes.get_mut(at) else {
            return Ok(());
        };
        if at == 0 {
            if let Some(other) = &node.base
                && !Arc::ptr_eq(other, base)
            {
                return Err(collision(&node.text, source, b""));
            }
            node.base = Some(Arc::clone(base));
            node.text = source.display().to_string();
        }
        node.given = true;
        node.follow |= resolved.follow;
        Ok(())
    }

    /// The first name of a source is taken already: that is right only if both mean the same.
    fn check_same(&self, at: usize, name: &[u8], source: &Path, base: &Arc<Folder>) -> Result<()> {
        let Some(node) = self.node(at) else { return Ok(()) };
        match &node.base {
            Some(other) if !Arc::ptr_eq(other, base) && !same(other, base, name) => {
                Err(collision(&node.text, source, name))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// When a whole folder is stored at the root, nothing from elsewhere may bear a name of it.
    fn check_root(&self) -> Result<()> {
        let Some(Node {
            given: true,
            base: Some(base),
            text,
            children,
            ..
        }) = self.node(0)
        else {
            return Ok(());
        };
        for (name, child) in children {
            let Some(Node {
                base: Some(other),
                text: second,
                ..
            }) = self.node(*child)
            else {
                continue;
            };
            let taken = !Arc::ptr_eq(base, other) && identity(base, name).is_some() && !same(base, other, name);
            if taken {
                return Err(collision(text, Path::new(second), name));
            }
        }
        Ok(())
    }
}

impl Node {
    /// The names below it that lead to sources.
    pub(super) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.children.keys().map(Vec::as_slice)
    }

    /// Whether it leads to further sources.
    pub(super) fn leads_on(&self) -> bool {
        !self.children.is_empty()
    }
}

fn collision(first: &str, second: &Path, name: &[u8]) -> Error {
    let place = if name.is_empty() {
        "the root".to_string()
    } else {
        format!("`{}`", String::from_utf8_lossy(name))
    };
    Error::Invalid(format!(
        "The sources {first} and {} would both be stored at {place} of the snapshot: give both as absolute paths, or back them up one by one",
        second.display()
    ))
}

fn identity(folder: &Folder, name: &[u8]) -> Option<(u64, u64)> {
    let handle = folder.handle().ok()?;
    let stat = rustix::fs::statat(&handle, name, LOOK).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

fn same(left: &Folder, right: &Folder, name: &[u8]) -> bool {
    identity(left, name) == identity(right, name)
}

/// Sources that are missing are reported by the walk; only when there is none at all, nothing can be backed up.
fn expect_one(sources: &[PathBuf], here: &Path) -> Result<()> {
    let mut failure = None;
    for source in sources {
        match std::fs::symlink_metadata(here.join(source)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                failure.get_or_insert(Error::io("read", source, error));
            }
            Ok(_) | Err(_) => return Ok(()),
        }
    }
    failure.map_or(Ok(()), Err)
}

fn resolve(source: &Path, here: &Path) -> Result<Resolved> {
    let given = source.as_os_str().as_bytes();
    if given.is_empty() || given.contains(&0) {
        return Err(Error::Invalid(format!("`{}` is no path", source.display())));
    }
    let mut parts: Vec<&[u8]> = given.split(|byte| *byte == b'/').collect();
    let follow = matches!(parts.last(), Some(&(b"" | b".")));
    let mut absolute = given.starts_with(b"/");
    let mut names = Vec::new();
    if let Some(last) = parts.iter().rposition(|part| part == b"..") {
        // `a/../b` is not `b` when `a` is a link: let the system say what it is.
        let rest = parts.split_off(last + 1);
        let above = here.join(OsStr::from_bytes(&parts.join(&b'/')));
        let above = std::fs::canonicalize(&above).map_err(|error| Error::io("resolve", source, error))?;
        names.extend(names_of(above.as_os_str().as_bytes().split(|byte| *byte == b'/')));
        parts = rest;
        absolute = true;
    }
    names.extend(names_of(parts.into_iter()));
    Ok(Resolved {
        absolute,
        names,
        follow,
    })
}

fn names_of<'a>(parts: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = Vec<u8>> {
    parts
        .filter(|part| !part.is_empty() && *part != b".")
        .map(<[u8]>::to_vec)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    fn names(path: &str, here: &Path) -> (bool, Vec<String>, bool) {
        let resolved = resolve(Path::new(path), here).unwrap();
        let names = resolved
            .names
            .into_iter()
            .map(|name| String::from_utf8(name).unwrap())
            .collect();
        (resolved.absolute, names, resolved.follow)
    }

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn sources_are_stored_as_they_were_given() {
        let here = Path::new("/");
        assert_eq!(names(".", here), (false, list(&[]), true));
        assert_eq!(names("./", here), (false, list(&[]), true));
        assert_eq!(names("/", here), (true, list(&[]), true));
        assert_eq!(names("foo/./bar", here), (false, list(&["foo", "bar"]), false));
        assert_eq!(names("./foo//bar/", here), (false, list(&["foo", "bar"]), true));
        assert_eq!(names("//srv/data", here), (true, list(&["srv", "data"]), false));
    }

    #[test]
    fn dots_are_resolved_as_the_system_does_it() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(here.join("far/away")).unwrap();
        std::fs::create_dir(here.join("near")).unwrap();
        std::os::unix::fs::symlink("../far/away", here.join("near/link")).unwrap();
        let (absolute, found, _) = names("near/link/../x", &here);
        assert!(absolute);
        assert_eq!(found.last_chunk::<2>().unwrap(), &["far".to_string(), "x".to_string()]);
        let (_, found, _) = names("near/..", &here);
        assert_eq!(PathBuf::from(format!("/{}", found.join("/"))), here);
    }

    #[test]
    fn two_sources_for_one_place_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        let descriptors = Descriptors::new(0);
        let roots = |sources: &[&str]| {
            Roots::new(
                &sources.iter().map(PathBuf::from).collect::<Vec<_>>(),
                here,
                &descriptors,
            )
        };
        std::fs::create_dir(here.join("etc")).unwrap();
        assert!(
            roots(&["etc", "/etc"])
                .unwrap_err()
                .to_string()
                .contains("both be stored at `etc`")
        );
        assert!(
            roots(&[".", "/etc"])
                .unwrap_err()
                .to_string()
                .contains("both be stored at `etc`")
        );
        assert!(roots(&[".", "/"]).unwrap_err().to_string().contains("at the root"));
        assert!(roots(&[".", "/usr"]).is_ok());
        assert!(roots(&[]).is_err());
        assert!(matches!(roots(&["missing", "gone"]).unwrap_err(), Error::Io { .. }));
        assert!(roots(&["missing", "etc"]).is_ok());
    }

    #[test]
    fn lists_of_paths_keep_every_byte() {
        let lines = paths_of_list(b"a b\n\n# c\n\xff\n", b'\n');
        assert_eq!(
            lines,
            [
                Path::new("a b"),
                Path::new("# c"),
                Path::new(OsStr::from_bytes(b"\xff"))
            ]
        );
        assert_eq!(paths_of_list(b"a\nb\0c\0", 0), [Path::new("a\nb"), Path::new("c")]);
    }
}
