//! Owner, attributes, permissions and times of what was restored.
//!
//! The order matters: a change of owner takes set-user-id and capabilities away, an ACL changes permissions, and everything changes times;
//! so owner, then attributes, then permissions, then times. What the system refuses is a loss that is counted, not a failure.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;

use super::failure::{Failure, Tried};
use super::folder::Target;
use super::loss::LossKind;
use crate::format::tree::Metadata;
use crate::words::Timestamp;

const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";
const SET_USER: u32 = 0o4000;
const SET_GROUP: u32 = 0o2000;

/// The permissions to make a file with: all of them only when nothing has to change before they are right for those they speak of.
pub(super) fn first_mode(target: &Target, wanted: &Metadata) -> Mode {
    let owners = &target.options.owners;
    let ours = owners.user(wanted.user) == target.user && owners.group(wanted.group) == target.group;
    Mode::from_raw_mode(
        wanted.mode
            & if ours && wanted.attributes.is_empty() {
                0o777
            } else {
                0o700
            },
    )
}

/// Whether new things in the folder are born with an ACL.
pub(super) fn gives_acl(folder: impl AsFd) -> bool {
    rustix::fs::fgetxattr_query(folder, ACL_DEFAULT).is_ok_and(|length| length > 0)
}

/// Dresses a file or folder through its descriptor. `strip`: it may have attributes of its own, which are taken off.
pub(super) fn apply_to_open(
    target: &Target,
    file: BorrowedFd<'_>,
    wanted: &Metadata,
    strip: bool,
    path: impl Fn() -> Vec<u8>,
) -> Result<(), Failure> {
    let stat = rustix::fs::fstat(file).tried("look at what was restored")?;
    apply_with_stat(target, file, &stat, wanted, strip, path)
}

/// The same, for whoever has just looked.
pub(super) fn apply_with_stat(
    target: &Target,
    file: BorrowedFd<'_>,
    stat: &Stat,
    wanted: &Metadata,
    strip: bool,
    path: impl Fn() -> Vec<u8>,
) -> Result<(), Failure> {
    let change = OwnerChange::between(target, wanted, stat);
    let refused = change.make(target, &path, |owner, group| rustix::fs::fchown(file, owner, group));
    if strip {
        strip_attributes(file, wanted);
    }
    for (name, value) in &wanted.attributes {
        if let Err(error) = rustix::fs::fsetxattr(file, &name[..], value, XattrFlags::empty()) {
            target
                .losses
                .add(attribute_loss(name), &path, attribute_error(name, error));
        }
    }
    let mode = mode_for(target, wanted, stat, refused, &path);
    if (change.is_some() || strip || !wanted.attributes.is_empty() || stat.st_mode & 0o7777 != mode)
        && let Err(error) = rustix::fs::fchmod(file, Mode::from_raw_mode(mode))
    {
        target.losses.add(LossKind::Mode, &path, error);
    }
    if let Err(error) = rustix::fs::futimens(file, &times(wanted.modified)) {
        target.losses.add(LossKind::Time, &path, error);
    }
    Ok(())
}

/// Dresses something that cannot be opened without waking it up (a link, a pipe, a socket, a device) by its name in a folder.
/// `link`: it is a symbolic link, which has no permissions.
pub(super) fn apply_to_name(
    target: &Target,
    folder: BorrowedFd<'_>,
    name: &[u8],
    wanted: &Metadata,
    link: bool,
    path: impl Fn() -> Vec<u8>,
) -> Result<(), Failure> {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).tried("look at what was restored")?;
    let change = OwnerChange::between(target, wanted, &stat);
    let refused = change.make(target, &path, |owner, group| {
        rustix::fs::chownat(folder, name, owner, group, AtFlags::SYMLINK_NOFOLLOW)
    });
    // What was just made may have an ACL by inheritance, what was there before anything.
    for attribute in surplus_attributes(&list_by_name(folder, name), wanted) {
        let through = [through_proc(folder).as_bytes(), b"/", name].concat();
        let _ = rustix::fs::lremovexattr(&through[..], attribute);
    }
    for (attribute, value) in &wanted.attributes {
        // The folder is reached through its descriptor; the last name is not followed.
        let through = [through_proc(folder).as_bytes(), b"/", name].concat();
        if let Err(error) = rustix::fs::lsetxattr(&through[..], &attribute[..], value, XattrFlags::empty()) {
            target
                .losses
                .add(attribute_loss(attribute), &path, attribute_error(attribute, error));
        }
    }
    if !link {
        let mode = mode_for(target, wanted, &stat, refused, &path);
        if (change.is_some() || !wanted.attributes.is_empty() || stat.st_mode & 0o7777 != mode)
            && let Err(error) = change_mode(folder, name, mode)
        {
            target.losses.add(LossKind::Mode, &path, error);
        }
    }
    if let Err(error) = rustix::fs::utimensat(folder, name, &times(wanted.modified), AtFlags::SYMLINK_NOFOLLOW) {
        target.losses.add(LossKind::Time, &path, error);
    }
    Ok(())
}

/// Changes permissions by name without following a link: a descriptor that only names the thing, and the kernel's own way to it.
pub(super) fn change_mode(folder: BorrowedFd<'_>, name: &[u8], mode: u32) -> Result<(), Errno> {
    let named = rustix::fs::openat(
        folder,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let stat = rustix::fs::fstat(&named)?;
    if FileType::from_raw_mode(stat.st_mode).is_symlink() {
        return Err(Errno::LOOP);
    }
    rustix::fs::chmodat(
        CWD,
        through_proc(named.as_fd()),
        Mode::from_raw_mode(mode),
        AtFlags::empty(),
    )
}

fn through_proc(descriptor: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

/// Who it has to be given to: owner and group where they differ from what it has.
struct OwnerChange {
    user: Option<u32>,
    group: Option<u32>,
}

impl OwnerChange {
    fn between(target: &Target, wanted: &Metadata, stat: &Stat) -> Self {
        let owners = &target.options.owners;
        let (user, group) = (owners.user(wanted.user), owners.group(wanted.group));
        Self {
            user: (user != stat.st_uid).then_some(user),
            group: (group != stat.st_gid).then_some(group),
        }
    }

    fn is_some(&self) -> bool {
        self.user.is_some() || self.group.is_some()
    }

    /// Gives it away. Returns whether any of it was refused.
    fn make(
        &self,
        target: &Target,
        path: &impl Fn() -> Vec<u8>,
        change: impl Fn(Option<Uid>, Option<Gid>) -> Result<(), Errno>,
    ) -> bool {
        if !self.is_some() {
            return false;
        }
        let group = self.group.filter(|group| *group != u32::MAX).map(Gid::from_raw);
        let changed = if self.user == Some(u32::MAX) || self.group == Some(u32::MAX) {
            // To the kernel this number means "leave it".
            Err(Errno::INVAL)
        } else if self.user.is_some() && target.user != 0 {
            // An ordinary user cannot give anything away, but may choose among the groups that it is in.
            if group.is_some() {
                let _ = change(None, group);
            }
            Err(Errno::PERM)
        } else {
            change(self.user.map(Uid::from_raw), group)
        };
        if let Err(error) = changed {
            target.losses.add(LossKind::Owner, path, error);
        }
        changed.is_err()
    }
}

/// The permissions to set. Set-user-id and set-group-id must never speak of somebody else than they did; on a folder they give no rights.
fn mode_for(target: &Target, wanted: &Metadata, stat: &Stat, refused: bool, path: &impl Fn() -> Vec<u8>) -> u32 {
    let mode = wanted.mode & 0o7777;
    if refused && mode & (SET_USER | SET_GROUP) != 0 && !FileType::from_raw_mode(stat.st_mode).is_dir() {
        target
            .losses
            .add(LossKind::SetId, path, "the owner or group could not be set");
        return mode & !(SET_USER | SET_GROUP);
    }
    mode
}

/// Takes off what the entry does not have: an inherited ACL, or the attributes of what was there before.
fn strip_attributes(file: BorrowedFd<'_>, wanted: &Metadata) {
    let Ok(length) = rustix::fs::flistxattr_query(file) else {
        return;
    };
    let mut names = vec![0u8; length];
    let Ok(length) = rustix::fs::flistxattr(file, &mut names[..]) else {
        return;
    };
    names.truncate(length);
    for name in surplus_attributes(&names, wanted) {
        // What cannot be removed was not put there by a backup of ours; permissions are set afterwards all the same.
        let _ = rustix::fs::fremovexattr(file, name);
    }
}

/// The attributes in a system's list that are to be taken off.
fn surplus_attributes<'n>(names: &'n [u8], wanted: &'n Metadata) -> impl Iterator<Item = &'n [u8]> {
    let has = |name: &[u8]| wanted.attributes.iter().any(|(wanted, _)| wanted == name);
    names.split(|byte| *byte == 0).filter(move |name| {
        // Labels and signatures that the system sets by its own policy are not ours to remove.
        let policy =
            name.starts_with(b"security.") && *name != b"security.capability" || name.starts_with(b"trusted.overlay.");
        let unknown = name.starts_with(b"system.") && *name != ACL_ACCESS && *name != ACL_DEFAULT;
        !name.is_empty() && !policy && !unknown && !has(name)
    })
}

/// Names of the attributes of something in a folder, without following a link; none where there are none, or nobody may know.
fn list_by_name(folder: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    let through = [through_proc(folder).as_bytes(), b"/", name].concat();
    let Ok(length @ 1..) = rustix::fs::llistxattr_query(&through[..]) else {
        return Vec::new();
    };
    let mut names = vec![0u8; length];
    let length = rustix::fs::llistxattr(&through[..], &mut names[..]).unwrap_or(0);
    names.truncate(length);
    names
}

/// Whether something in a folder has attributes that its entry does not have.
pub(super) fn has_surplus_attributes(folder: BorrowedFd<'_>, name: &[u8], wanted: &Metadata) -> bool {
    surplus_attributes(&list_by_name(folder, name), wanted).next().is_some()
}

fn attribute_loss(name: &[u8]) -> LossKind {
    if name.starts_with(b"user.") {
        LossKind::UserAttribute
    } else {
        LossKind::SystemAttribute
    }
}

fn attribute_error(name: &[u8], error: Errno) -> String {
    format!("{}: {}", String::from_utf8_lossy(name), error)
}

fn times(modified: Timestamp) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: modified.seconds(),
            tv_nsec: modified.0.rem_euclid(1_000_000_000),
        },
    }
}
