//! Where the kubelet has a volume on this node.
//!
//! ```text
//! pods/UID/volumes/kubernetes.io~csi/PV/mount         a claim by a CSI driver, with vol_data.json beside it
//! pods/UID/volumes/PLUGIN/FOLDER                      any other: kubernetes.io~empty-dir/NAME, kubernetes.io~nfs/PV, …
//! pods/UID/volumeDevices/PLUGIN/PV                    a link to the device of a claim in block mode
//! ```
//!
//! What must hold: what is found is surely the volume. A folder on which nothing is mounted yet (or never will be, because mounts of the node do not reach
//! this container) is not it: a backup of it would look whole and be empty, and a restore into it would be lost. A link that leads nowhere is not a
//! device, and nothing is ever made in its place.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use api::volume::{VolumeMode, VolumePlace};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

use crate::volume::Kind;

const EMPTY_DIR: &str = "kubernetes.io~empty-dir";
/// Folders of the kubelet's own making, never a claim's: a claim's volume may bear the name of one of them.
const NEVER_CLAIMS: &[&str] = &[
    EMPTY_DIR,
    "kubernetes.io~configmap",
    "kubernetes.io~downward-api",
    "kubernetes.io~projected",
    "kubernetes.io~secret",
];
/// Links that are followed on the way to a hostPath.
const LINKS_MAX: usize = 40;

/// Where volumes are looked for.
#[derive(Clone, Debug)]
pub struct Places {
    /// The kubelet's folder.
    pub kubelet: PathBuf,
    /// Where the node's root is mounted, if it is.
    pub host: Option<PathBuf>,
    /// Whether something is mounted on a folder.
    pub is_mount: fn(&Path) -> io::Result<bool>,
}

/// A volume that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The folder, or the device.
    pub path: PathBuf,
    /// What it is.
    pub identity: Identity,
    /// How it is used.
    pub mode: VolumeMode,
}

/// What tells a folder or device from any other that may be at the same path later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    number: u64,
}

/// Why a volume was not found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It may still come.
    NotYet(String),
    /// Waiting does not help.
    Refused(String),
}

impl Missing {
    /// What was looked for, and what to do.
    pub fn text(self) -> String {
        match self {
            Self::NotYet(text) | Self::Refused(text) => text,
        }
    }
}

impl Identity {
    /// Of what is at the path now, links followed.
    pub fn of(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            number: metadata.rdev(),
        })
    }
}

impl Found {
    /// Whether it is still there, and the same.
    pub fn is_still_there(&self) -> bool {
        Identity::of(&self.path).is_ok_and(|identity| identity == self.identity)
    }
}

impl Places {
    /// The real ones.
    pub fn new(kubelet: PathBuf, host: Option<PathBuf>) -> Self {
        Self {
            kubelet,
            host,
            is_mount,
        }
    }

    /// Looks for a volume, once. `kind`: whether it is to be read or written.
    ///
    /// # Errors
    /// [`Missing`], with what was looked for and what to do.
    pub fn find(&self, place: &VolumePlace, source: &str, kind: Kind) -> Result<Found, Missing> {
        if let Some(path) = &place.host_path {
            return self.find_on_host(path);
        }
        for (what, name) in [("UID", &place.pod_uid), ("folder", &place.folder)] {
            check_name(what, name)?;
        }
        let (parent, what) = match place.mode {
            VolumeMode::Filesystem => ("volumes", "folder"),
            VolumeMode::Block => ("volumeDevices", "device"),
        };
        let pod = self.kubelet.join("pods").join(&place.pod_uid);
        let parent = pod.join(parent);
        let mut plugins = match list(&parent) {
            Ok(plugins) => plugins,
            Err(error) => {
                return Err(Missing::NotYet(format!(
                    "Pod {}/{} has no volumes on this node: {} cannot be listed ({error}). Look whether the pod runs here, and whether the agent mounts \
                     the kubelet's folder (--kubelet-dir)",
                    place.pod_namespace,
                    place.pod_name,
                    parent.display()
                )));
            }
        };
        let of_claim = source.starts_with("claims/");
        plugins.retain(|plugin| !(of_claim && NEVER_CLAIMS.contains(&plugin.as_str())));
        let paths = plugins
            .iter()
            .map(|plugin| (plugin, parent.join(plugin).join(&place.folder)));
        let there: Vec<(&String, PathBuf)> = paths.filter(|(_, path)| path.symlink_metadata().is_ok()).collect();
        // Names of a pod's own volumes are told apart from each other, and not from those of the volumes that its claims have.
        let own = there.iter().find(|(plugin, _)| !of_claim && *plugin == EMPTY_DIR);
        if own.is_none() && there.len() > 1 {
            let paths: Vec<String> = there.iter().map(|(_, path)| path.display().to_string()).collect();
            return Err(Missing::Refused(format!(
                "Nobody can tell which {what} of pod {}/{} is its volume {}: {}. Give the volume of the pod another name",
                place.pod_namespace,
                place.pod_name,
                place.volume,
                paths.join(" or ")
            )));
        }
        let Some((plugin, path)) = own.or(there.first()).cloned() else {
            return Err(Missing::NotYet(format!(
                "The kubelet has no {what} for volume {} of pod {}/{}: {} was looked for. Look whether the pod is running and its volume is mounted",
                place.volume,
                place.pod_namespace,
                place.pod_name,
                parent.join("*").join(&place.folder).display()
            )));
        };
        match place.mode {
            VolumeMode::Filesystem => self.folder(plugin, path),
            VolumeMode::Block => device(path, kind),
        }
    }

    fn folder(&self, plugin: &str, path: PathBuf) -> Result<Found, Missing> {
        let path = match path.join("vol_data.json").exists() {
            true => path.join("mount"),
            false => path,
        };
        let metadata = path.symlink_metadata();
        if !metadata.is_ok_and(|metadata| metadata.is_dir()) {
            return Err(Missing::NotYet(format!(
                "{} is not there, or is no folder. Look whether the pod is running and its volume is mounted",
                path.display()
            )));
        }
        if plugin != EMPTY_DIR && !(self.is_mount)(&path).map_err(|error| unreadable(&path, &error))? {
            return Err(Missing::NotYet(format!(
                "{} is there, but nothing is mounted on it: its content would not be the volume's. Look whether the pod is running, and whether the agent \
                 mounts the kubelet's folder with mountPropagation HostToContainer",
                path.display()
            )));
        }
        let identity = Identity::of(&path).map_err(|error| unreadable(&path, &error))?;
        Ok(Found {
            path,
            identity,
            mode: VolumeMode::Filesystem,
        })
    }

    fn find_on_host(&self, wanted: &str) -> Result<Found, Missing> {
        let Some(host) = &self.host else {
            return Err(Missing::Refused(format!(
                "The volume is the path {wanted} of the node, which this agent does not see: mount the node's root into the agents and name it with --host-dir"
            )));
        };
        let path = resolve_within(host, Path::new(wanted)).map_err(|error| {
            Missing::NotYet(format!(
                "The path {wanted} of the node cannot be read ({error}). Look whether it is there"
            ))
        })?;
        let identity = Identity::of(&path).map_err(|error| unreadable(&path, &error))?;
        if !path.is_dir() {
            return Err(Missing::Refused(format!(
                "The path {wanted} of the node is no folder; only folders of the node can be saved and restored"
            )));
        }
        Ok(Found {
            path,
            identity,
            mode: VolumeMode::Filesystem,
        })
    }
}

fn device(path: PathBuf, kind: Kind) -> Result<Found, Missing> {
    let metadata = std::fs::metadata(&path).map_err(|error| {
        Missing::NotYet(format!(
            "The link {} leads to no device ({error}). Look whether the pod is running, and whether the agent mounts the kubelet's whole folder at the same \
             path as on the node",
            path.display()
        ))
    })?;
    if !metadata.file_type().is_block_device() {
        return Err(Missing::Refused(format!(
            "{} is no block device, so it is not the volume",
            path.display()
        )));
    }
    let opened = match kind {
        Kind::Backup => File::open(&path),
        Kind::Restore => OpenOptions::new().read(true).write(true).open(&path),
    };
    match opened {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(Missing::Refused(format!(
            "The agent may not open the block device {} ({error}): only a privileged container may. Install with `ararat install --privileged-agent`",
            path.display()
        ))),
        Err(error) => Err(unreadable(&path, &error)),
        Ok(_) => Ok(Found {
            identity: Identity::of(&path).map_err(|error| unreadable(&path, &error))?,
            path,
            mode: VolumeMode::Block,
        }),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Missing {
    Missing::NotYet(format!("{} cannot be opened: {error}", path.display()))
}

/// Names come from an object: one that leads elsewhere would have the agent read anything of the node.
fn check_name(what: &str, name: &str) -> Result<(), Missing> {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(only)), None) if only == name => Ok(()),
        _ => Err(Missing::Refused(format!(
            "`{name}` is no {what} of a volume: it must be a single name"
        ))),
    }
}

fn list(folder: &Path) -> io::Result<Vec<String>> {
    let entries = std::fs::read_dir(folder)?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Whether the folder is the root of a mount. A kernel that does not tell (before 5.8) is believed.
fn is_mount(path: &Path) -> io::Result<bool> {
    let stat = statx(CWD, path, AtFlags::NO_AUTOMOUNT, StatxFlags::BASIC_STATS)?;
    let tells = stat.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT);
    Ok(!tells || stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// The path as a program on the node would find it, when the node's root is mounted at `root`: links are of the node, too.
fn resolve_within(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let mut at = root.to_owned();
    let mut depth = 0_usize;
    let mut links = 0;
    let mut rest: Vec<PathBuf> = parts_of(path);
    while let Some(part) = rest.pop() {
        if part == Path::new("..") {
            if depth > 0 {
                at.pop();
                depth -= 1;
            }
            continue;
        }
        let next = at.join(&part);
        let metadata = next.symlink_metadata()?;
        if !metadata.is_symlink() {
            at = next;
            depth += 1;
            continue;
        }
        links += 1;
        if links > LINKS_MAX {
            return Err(io::Error::from(rustix::io::Errno::LOOP));
        }
        let target = std::fs::read_link(&next)?;
        if target.is_absolute() {
            (at, depth) = (root.to_owned(), 0);
        }
        rest.extend(parts_of(&target));
    }
    Ok(at)
}

/// Names and `..`, the last first.
fn parts_of(path: &Path) -> Vec<PathBuf> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    });
    let mut parts: Vec<PathBuf> = parts.collect();
    parts.reverse();
    parts
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
#[path = "place/tests.rs"]
mod tests;
