//! A repository and a kubelet's folder for tests, without a cluster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::handover::Handover;
use engine::crypto::Secret;
use engine::format::keys::Role;
use engine::repository::slots::Holder;
use engine::repository::{InitOptions, Repository};
use engine::store::{Location, Store, StoreOptions};
use tokio::runtime::Runtime;

use crate::handover::Told;
use crate::machine::now;
use crate::place::Places;
use crate::progress::Counter;
use crate::repositories::Repositories;
use crate::shares::Shares;
use crate::volume::{Volume, samples};
use crate::work::{Outcome, Task};

/// A repository with the keys that the controller would give, and a kubelet's folder.
pub struct Bench {
    pub folder: tempfile::TempDir,
    pub runtime: Runtime,
    pub owner: Repository,
    pub writer: String,
    pub reader: String,
    volume_key: String,
}

impl Bench {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        std::fs::create_dir(folder.path().join("cache")).unwrap();
        let location = Location::local(folder.path().join("repository")).unwrap();
        let store = Store::open(&location, &StoreOptions::default(), runtime.handle().clone()).unwrap();
        let options = InitOptions {
            now: now(),
            ..InitOptions::default()
        };
        let (owner, _) = Repository::init(store, options).unwrap();
        let key = |role| {
            let (_, key) = owner.add_slot(Holder::NewKey, role, "agent".into(), now()).unwrap();
            key.unwrap().to_text().to_string()
        };
        Self {
            writer: key(Role::Writer),
            reader: key(Role::Reader),
            volume_key: data_encoding::HEXLOWER.encode(Secret::random().expose()),
            folder,
            runtime,
            owner,
        }
    }

    /// The folder of a volume, as the kubelet has it.
    pub fn volume(&self, plugin: &str, name: &str) -> PathBuf {
        let path = self
            .folder
            .path()
            .join("kubelet/pods/uid-1/volumes")
            .join(plugin)
            .join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// What the controller would say to an agent with this key.
    pub fn handover(&self, key: &str) -> Handover {
        Handover {
            url: self.folder.path().join("repository").display().to_string(),
            options: BTreeMap::new(),
            environment: BTreeMap::new(),
            key: key.to_owned(),
            volume_key: Some(self.volume_key.clone()),
        }
    }

    pub fn task(&self, volume: Volume, key: &str) -> Task {
        let told = Told::new(self.handover(key));
        let places = Places {
            kubelet: self.folder.path().join("kubelet"),
            host: None,
            is_mount: |_| Ok(true),
        };
        let cache = self.folder.path().join("cache");
        Task {
            counter: Arc::new(Counter::new(volume.to_string(), Shares::new(2).join())),
            volume,
            told,
            node: "node".into(),
            places,
            repositories: Arc::new(Repositories::new(self.runtime.handle().clone(), cache)),
        }
    }

    pub fn back_up(&self) -> Outcome {
        self.task(samples::backup("b", 1, None), &self.writer).run().unwrap()
    }

    pub fn restoring(&self, source: &str, snapshot: &str, folder: &str) -> Task {
        let Volume::Restore(mut restore) = samples::restore("r", 1, source, snapshot) else {
            unreachable!("it is one")
        };
        restore.spec.place.folder = folder.into();
        self.task(restore.into(), &self.reader)
    }
}

/// Fills a folder with what volumes have.
pub fn fill(folder: &Path) {
    std::fs::create_dir_all(folder.join("deep/er")).unwrap();
    std::fs::create_dir_all(folder.join("lost+found")).unwrap();
    for number in 0..40 {
        std::fs::write(folder.join(format!("deep/{number}")), format!("small {number}")).unwrap();
    }
    let large: Vec<u8> = (0..3_000_000_u32)
        .flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    std::fs::write(folder.join("deep/er/large"), large).unwrap();
    std::os::unix::fs::symlink("deep/1", folder.join("link")).unwrap();
    // What was written within the last second may have been written since: it is read again.
    let status = std::process::Command::new("find")
        .arg(folder)
        .args(["-exec", "touch", "-h", "-d", "2001-02-03", "{}", "+"])
        .status();
    assert!(status.unwrap().success());
}
