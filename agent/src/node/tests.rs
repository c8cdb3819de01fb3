//! The whole agent before an API server of our own: it is told, works, is canceled, loses its server, and dies.

mod server;

use std::path::PathBuf;

use api::handover::{Handover, info};
use data_encoding::BASE64;
use engine::crypto::SecretPair;
use engine::crypto::hpke::wrap;
use engine::crypto::key_text::recipient_from_text;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use self::server::Server;
use super::*;
use crate::bench::{Bench, fill};
use crate::marker;
use crate::volume::samples;

const BACKUPS: &str = "podvolumebackups";
const RESTORES: &str = "podvolumerestores";
/// The volume of a pod's own: nothing needs to be mounted on it.
const SOURCE: &str = "pods/shop/db-0/scratch";

/// An agent, and what tells it to end.
struct Agent {
    end: oneshot::Sender<()>,
    ended: JoinHandle<Result<()>>,
}

impl Agent {
    fn start(bench: &Bench, server: &Server, slots: u16) -> Self {
        let args = RunArgs {
            node: "node".into(),
            namespace: "ararat".into(),
            kubelet_dir: bench.folder.path().join("kubelet"),
            slots,
            host_dir: None,
            cache_dir: bench.folder.path().join("cache"),
        };
        let (client, (end, told)) = (server.client.clone(), oneshot::channel());
        let ended = tokio::spawn(async move {
            let told = async {
                let _ = told.await;
                Ok(())
            };
            serve(&args, &client, told).await
        });
        Self { end, ended }
    }

    async fn end(self) {
        self.end.send(()).unwrap();
        self.ended.await.unwrap().unwrap();
    }
}

/// Seals one handover to every recipient that waits, as the controller does; the first `wrong` of them to another key.
fn control(server: &Server, backup: Handover, restore: Handover, mut wrong: u32) -> JoinHandle<()> {
    let (server, mut answered) = (server.clone(), BTreeSet::new());
    tokio::spawn(async move {
        loop {
            for (plural, handover) in [(BACKUPS, &backup), (RESTORES, &restore)] {
                for name in server.names(plural) {
                    let object = server.get(plural, &name);
                    let status = &object["status"];
                    let (Some(recipient), true) = (status["recipient"].as_str(), status["handover"].is_null()) else {
                        continue;
                    };
                    if !answered.insert(recipient.to_owned()) {
                        continue;
                    }
                    let mut recipient = recipient_from_text(recipient).unwrap();
                    if wrong > 0 {
                        wrong -= 1;
                        recipient = SecretPair::random().public();
                    }
                    let info = info(object["metadata"]["uid"].as_str().unwrap());
                    let sealed = wrap(recipient, &info, &serde_json::to_vec(handover).unwrap()).unwrap();
                    server.merge(
                        plural,
                        &name,
                        &json!({ "status": { "handover": BASE64.encode(&sealed) } }),
                    );
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
}

fn phase(object: &Value) -> &str {
    object["status"]["phase"].as_str().unwrap_or("none")
}

fn ask_backup(server: &Server, name: &str, second: i64) {
    ask_backup_as(server, name, second, &format!("uid-of-{name}"));
}

fn ask_backup_as(server: &Server, name: &str, second: i64, uid: &str) {
    let Volume::Backup(mut backup) = samples::backup(name, second, None) else {
        unreachable!("it is one")
    };
    backup.spec.source = SOURCE.into();
    backup.spec.place.folder = "scratch".into();
    backup.metadata.uid = Some(uid.into());
    server.put(BACKUPS, &backup);
}

fn ask_restore(server: &Server, name: &str, snapshot: &str, folder: &str) {
    let Volume::Restore(mut restore) = samples::restore(name, 1, SOURCE, snapshot) else {
        unreachable!("it is one")
    };
    restore.spec.place.folder = folder.into();
    server.put(RESTORES, &restore);
}

struct Story {
    bench: Bench,
    scratch: PathBuf,
}

impl Story {
    fn new() -> Self {
        let bench = Bench::new();
        let scratch = bench.volume("kubernetes.io~empty-dir", "scratch");
        fill(&scratch);
        Self { bench, scratch }
    }

    fn control(&self, server: &Server, wrong: u32) -> JoinHandle<()> {
        let (backup, restore) = (
            self.bench.handover(&self.bench.writer),
            self.bench.handover(&self.bench.reader),
        );
        control(server, backup, restore, wrong)
    }
}

#[test]
fn volumes_are_saved_and_filled_for_whoever_asks_and_no_key_stays() {
    let story = Story::new();
    let target = story.bench.volume("kubernetes.io~empty-dir", "again");
    story.bench.runtime.block_on(async {
        let server = Server::start().await;
        let agent = Agent::start(&story.bench, &server, 2);
        let controller = story.control(&server, 2);
        ask_backup(&server, "first", 1);
        let saved = server
            .until(BACKUPS, "first", |object| phase(object) == "Completed")
            .await;
        let status = &saved["status"];
        assert!(
            status["recipient"].is_null() && status["handover"].is_null(),
            "{status}"
        );
        assert_eq!(status["progress"]["bytesDone"], status["progress"]["bytesTotal"]);
        assert!(status["startTimestamp"].is_string() && status["completionTimestamp"].is_string());
        let snapshot = status["snapshotID"].as_str().unwrap();
        ask_restore(&server, "again", snapshot, "again");
        let filled = server
            .until(RESTORES, "again", |object| phase(object) == "Completed")
            .await;
        assert_eq!(filled["status"]["snapshotID"], snapshot);
        assert!(target.join(marker::RESTORED).exists() && target.join("deep/er/large").exists());
        ask_restore(&server, "missing", &"00".repeat(16), "again");
        let failed = server
            .until(RESTORES, "missing", |object| phase(object) == "Failed")
            .await;
        assert!(
            failed["status"]["message"]
                .as_str()
                .unwrap()
                .contains("There is no snapshot")
        );
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(
            server.reasons(),
            ["Started", "Completed", "Started", "Completed", "Started", "Failed"]
        );
        controller.abort();
        agent.end().await;
    });
}

#[test]
fn what_is_canceled_or_deleted_lets_the_next_begin() {
    let story = Story::new();
    story.bench.runtime.block_on(async {
        let server = Server::start().await;
        let agent = Agent::start(&story.bench, &server, 1);
        for (name, second) in [("first", 1), ("second", 2), ("third", 3), ("fourth", 4)] {
            ask_backup(&server, name, second);
        }
        // Nobody seals anything: each waits.
        server
            .until(BACKUPS, "first", |object| phase(object) == "Accepted")
            .await;
        server.merge(BACKUPS, "fourth", &json!({ "spec": { "cancel": true } }));
        server
            .until(BACKUPS, "fourth", |object| phase(object) == "Canceled")
            .await;
        assert_eq!(phase(&server.get(BACKUPS, "second")), "none", "there is one slot");
        server.merge(BACKUPS, "first", &json!({ "spec": { "cancel": true } }));
        let canceled = server
            .until(BACKUPS, "first", |object| phase(object) == "Canceled")
            .await;
        assert!(canceled["status"]["recipient"].is_null());
        server
            .until(BACKUPS, "second", |object| phase(object) == "Accepted")
            .await;
        server.delete(BACKUPS, "second");
        server
            .until(BACKUPS, "third", |object| phase(object) == "Accepted")
            .await;
        // Taken for lost by the controller: nothing more is said of it.
        server.merge(
            BACKUPS,
            "third",
            &json!({ "status": { "phase": "Failed", "message": "lost" } }),
        );
        ask_backup(&server, "fifth", 5);
        server
            .until(BACKUPS, "fifth", |object| phase(object) == "Accepted")
            .await;
        assert_eq!(server.get(BACKUPS, "third")["status"]["message"], "lost");
        agent.end().await;
        assert_eq!(
            phase(&server.get(BACKUPS, "fifth")),
            "Accepted",
            "the next agent begins it again"
        );
    });
}

#[test]
fn a_server_that_goes_and_comes_back_and_an_expired_watch_lose_nothing() {
    let story = Story::new();
    story.bench.runtime.block_on(async {
        let server = Server::start().await;
        let agent = Agent::start(&story.bench, &server, 2);
        ask_backup(&server, "first", 1);
        server
            .until(BACKUPS, "first", |object| phase(object) == "Accepted")
            .await;
        server.turn(true);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        // Meanwhile one has come, and one is gone; and nobody remembers.
        server.delete(BACKUPS, "first");
        ask_backup(&server, "second", 2);
        server.forget();
        server.turn(false);
        let controller = story.control(&server, 0);
        server
            .until(BACKUPS, "second", |object| phase(object) == "Completed")
            .await;
        assert_eq!(server.names(BACKUPS), ["second"]);
        controller.abort();
        agent.end().await;
    });
}

#[test]
fn what_a_dead_agent_had_accepted_is_begun_again_with_a_new_key() {
    let story = Story::new();
    story.bench.runtime.block_on(async {
        let server = Server::start().await;
        ask_backup(&server, "first", 1);
        let old = recipient_text();
        let status = json!({ "status": { "phase": "InProgress", "recipient": old, "handover": "c2VhbGVk", "startTimestamp": "2026-11-26T00:00:00Z" } });
        server.merge(BACKUPS, "first", &status);
        let agent = Agent::start(&story.bench, &server, 2);
        server.until(BACKUPS, "first", |object| object["status"]["recipient"] != old.as_str()).await;
        // The answer to the dead agent comes late.
        server.merge(BACKUPS, "first", &json!({ "status": { "recipient": old, "handover": "c2VhbGVk" } }));
        let controller = story.control(&server, 0);
        let saved = server.until(BACKUPS, "first", |object| phase(object) == "Completed").await;
        assert_ne!(saved["status"]["startTimestamp"], "2026-11-26T00:00:00Z");
        // Another object of the same name is another volume.
        server.delete(BACKUPS, "first");
        ask_backup_as(&server, "first", 7, "another");
        server.until(BACKUPS, "first", |object| phase(object) == "Completed").await;
        controller.abort();
        agent.end().await;
        assert!(story.scratch.join("deep/er/large").exists());
    });
}

fn recipient_text() -> String {
    engine::crypto::key_text::recipient_to_text(&SecretPair::random().public())
}

#[test]
fn a_server_is_left_alone_for_longer_and_longer_but_never_for_long() {
    let mut patience = Patience::default();
    for seconds in [1, 2, 4, 8, 8] {
        let pause = patience.next().unwrap();
        assert!(
            pause >= Duration::from_millis(500 * seconds) && pause <= Duration::from_secs(seconds),
            "{pause:?}"
        );
    }
    patience.reset();
    assert!(patience.next().unwrap() <= Duration::from_secs(1));
}
