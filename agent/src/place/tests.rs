//! Volumes in a folder that looks like the kubelet's.

use std::os::unix::fs::symlink;

use super::*;
use crate::volume::samples::place;

struct Node {
    folder: tempfile::TempDir,
    places: Places,
}

fn node() -> Node {
    let folder = tempfile::tempdir().unwrap();
    let places = Places {
        kubelet: folder.path().to_owned(),
        host: Some(folder.path().join("host")),
        is_mount: |path| Ok(!path.to_string_lossy().contains("unmounted")),
    };
    Node { folder, places }
}

impl Node {
    fn make(&self, path: &str) -> PathBuf {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn find(&self, mode: VolumeMode, folder: &str, source: &str) -> Result<PathBuf, Missing> {
        self.places
            .find(&place(mode, folder), source, Kind::Backup)
            .map(|found| found.path)
    }
}

#[test]
fn folders_are_found_whatever_plugin_they_are_of() {
    let node = node();
    let nfs = node.make("pods/uid-1/volumes/kubernetes.io~nfs/pv-nfs");
    let csi = node.make("pods/uid-1/volumes/kubernetes.io~csi/pv-csi/mount");
    std::fs::write(csi.with_file_name("vol_data.json"), "{}").unwrap();
    let scratch = node.make("pods/uid-1/volumes/kubernetes.io~empty-dir/scratch");
    // A claim's volume that has the name of a folder of the pod's own.
    node.make("pods/uid-1/volumes/kubernetes.io~empty-dir/pv-nfs");
    let table = [
        ("pv-nfs", "claims/shop/data", &nfs),
        ("pv-csi", "claims/shop/data", &csi),
        ("scratch", "pods/shop/db-0/scratch", &scratch),
    ];
    for (folder, source, expected) in table {
        assert_eq!(
            &node.find(VolumeMode::Filesystem, folder, source).unwrap(),
            expected,
            "{folder}"
        );
    }
}

#[test]
fn an_empty_dir_is_never_taken_for_the_volume_of_a_claim_with_its_name() {
    let node = node();
    let claims = node.make("pods/uid-1/volumes/kubernetes.io~csi/data/mount");
    std::fs::write(claims.with_file_name("vol_data.json"), "{}").unwrap();
    let own = node.make("pods/uid-1/volumes/kubernetes.io~empty-dir/data");
    let find = |source: &str| node.find(VolumeMode::Filesystem, "data", source);
    assert_eq!(find("pods/shop/db-0/data").unwrap(), own);
    assert_eq!(find("claims/shop/data").unwrap(), claims);
    // Of two others nobody can tell which is meant.
    node.make("pods/uid-1/volumes/kubernetes.io~nfs/data");
    assert_eq!(find("pods/shop/db-0/data").unwrap(), own);
    assert!(
        matches!(find("claims/shop/data"), Err(Missing::Refused(why)) if why.contains("nfs") && why.contains("csi"))
    );
    std::fs::remove_dir(&own).unwrap();
    assert!(matches!(find("pods/shop/db-0/data"), Err(Missing::Refused(_))));
}

#[test]
fn what_is_not_there_or_not_mounted_is_told_with_what_was_looked_for() {
    let node = node();
    let find = |folder: &str| {
        node.find(VolumeMode::Filesystem, folder, "claims/shop/data")
            .unwrap_err()
    };
    let Missing::NotYet(why) = find("pv") else {
        unreachable!("it may come")
    };
    assert!(why.contains("shop/db-0") && why.contains("pods/uid-1/volumes"), "{why}");
    node.make("pods/uid-1/volumes/kubernetes.io~csi/unmounted/mount");
    let Missing::NotYet(why) = find("pv") else {
        unreachable!("it may come")
    };
    assert!(why.contains("volumes/*/pv"), "{why}");
    std::fs::write(
        node.folder
            .path()
            .join("pods/uid-1/volumes/kubernetes.io~csi/unmounted/vol_data.json"),
        "",
    )
    .unwrap();
    let Missing::NotYet(why) = find("unmounted") else {
        unreachable!("it may come")
    };
    assert!(
        why.contains("nothing is mounted on it") && why.contains("mountPropagation"),
        "{why}"
    );
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let node = node();
    for name in ["", ".", "..", "../../etc", "/etc", "a/b", "a/"] {
        let refused = node.find(VolumeMode::Filesystem, name, "claims/shop/data").unwrap_err();
        assert!(
            matches!(refused, Missing::Refused(why) if why.contains("single name")),
            "{name}"
        );
    }
    let mut place = place(VolumeMode::Filesystem, "pv");
    place.pod_uid = "../../..".into();
    let refused = node.places.find(&place, "claims/shop/data", Kind::Backup).unwrap_err();
    assert!(matches!(refused, Missing::Refused(_)));
}

#[test]
fn a_link_that_leads_to_no_device_is_refused_and_nothing_is_made() {
    let node = node();
    let devices = node.make("pods/uid-1/volumeDevices/kubernetes.io~csi");
    symlink("/nowhere/at-all", devices.join("dangling")).unwrap();
    std::fs::write(devices.join("plain"), "").unwrap();
    let find = |folder: &str| node.find(VolumeMode::Block, folder, "claims/shop/data").unwrap_err();
    assert!(
        matches!(find("dangling"), Missing::NotYet(why) if why.contains("leads to no device") && why.contains("same"))
    );
    assert!(matches!(find("plain"), Missing::Refused(why) if why.contains("no block device")));
    assert!(!Path::new("/nowhere").exists());
}

#[test]
fn links_on_the_node_are_followed_on_the_node() {
    let node = node();
    let real = node.make("host/data/real");
    symlink("/data", node.folder.path().join("host/absolute")).unwrap();
    symlink("../../../../../data/./real", node.folder.path().join("host/data/up")).unwrap();
    symlink("loop", node.folder.path().join("host/loop")).unwrap();
    let find = |path: &str| {
        let mut place = place(VolumeMode::Filesystem, "");
        place.host_path = Some(path.into());
        node.places
            .find(&place, "pods/shop/db-0/host", Kind::Backup)
            .map(|found| found.path)
    };
    for path in ["/data/real", "/absolute/real", "/data/up", "/absolute/../data/real/"] {
        assert_eq!(find(path).unwrap(), real, "{path}");
    }
    assert!(find("/loop").is_err() && find("/missing").is_err());
    let blind = Places {
        host: None,
        ..node.places.clone()
    };
    let mut place = place(VolumeMode::Filesystem, "");
    place.host_path = Some("/data".into());
    let refused = blind.find(&place, "pods/shop/db-0/host", Kind::Backup).unwrap_err();
    assert!(matches!(refused, Missing::Refused(why) if why.contains("--host-dir")));
}

#[test]
fn the_root_of_a_mount_is_told_from_a_folder_in_it() {
    assert!(is_mount(Path::new("/proc")).unwrap());
    assert!(!is_mount(tempfile::tempdir().unwrap().path()).unwrap());
}

#[test]
fn another_folder_at_the_same_path_is_another_volume() {
    let node = node();
    let path = node.make("pods/uid-1/volumes/kubernetes.io~nfs/pv");
    let found = node
        .places
        .find(&place(VolumeMode::Filesystem, "pv"), "claims/shop/data", Kind::Backup)
        .unwrap();
    assert!(found.is_still_there());
    std::fs::rename(&path, path.with_file_name("moved")).unwrap();
    assert!(!found.is_still_there());
    std::fs::create_dir(&path).unwrap();
    assert!(!found.is_still_there());
}
