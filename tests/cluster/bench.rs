//! The bench of all stories: one cluster, one installation, one S3 server; made by the first story that asks, as a user makes it.
//!
//! - A story is *calm* (runs beside others) or *alone* (kills parts, or installs anew), never both.
//! - Elsewhere than in a cluster started by `tests/run cluster` each story says that it is skipped.
//! - When a story fails, the state of the cluster is printed with it (`report`).

use std::io::Write;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::kubernetes::{Kubernetes, number, text, wait};
use crate::report;
use crate::servers::{Location, Server, VERSITYGW};
use crate::skipped::skipped;

/// Where `tests/run` says which cluster there is, and the second one.
const FIRST: &str = "ARARAT_TEST_CLUSTER";
const SECOND: &str = "ARARAT_TEST_SECOND";

/// What all stories have.
pub struct Bench {
    pub cluster: Kubernetes,
    /// The S3 server of the default location.
    pub store: Server,
    /// What is new in each run, for names that must not be met again.
    pub run: String,
    _home: tempfile::TempDir,
}

static BENCH: OnceLock<Result<Bench, String>> = OnceLock::new();
static TURN: RwLock<()> = RwLock::new(());

enum Turn {
    Calm(#[expect(dead_code, reason = "held until the story ends")] RwLockReadGuard<'static, ()>),
    Alone(#[expect(dead_code, reason = "held until the story ends")] RwLockWriteGuard<'static, ()>),
}

/// A story's hold on the bench.
pub struct Story {
    bench: &'static Bench,
    began: Instant,
    turn: Turn,
}

impl Deref for Story {
    type Target = Bench;

    fn deref(&self) -> &Bench {
        self.bench
    }
}

/// For a story that others may run beside. None, said aloud, where there is no cluster.
pub fn calm() -> Option<Story> {
    begin(|| Turn::Calm(TURN.read().unwrap_or_else(std::sync::PoisonError::into_inner)))
}

/// For a story that disturbs whatever else runs.
pub fn alone() -> Option<Story> {
    begin(|| Turn::Alone(TURN.write().unwrap_or_else(std::sync::PoisonError::into_inner)))
}

fn begin(turn: impl FnOnce() -> Turn) -> Option<Story> {
    let Some(folder) = std::env::var_os(FIRST).filter(|folder| !folder.is_empty()) else {
        skipped("this needs a cluster; run it with: tests/run cluster");
        return None;
    };
    let turn = turn();
    let folder = PathBuf::from(folder);
    let made = BENCH.get_or_init(|| {
        report::on_failure(folder.clone());
        let set_up = std::panic::AssertUnwindSafe(|| Bench::new(folder));
        std::panic::catch_unwind(set_up).map_err(|_| "the installation failed; the first story says how".to_owned())
    });
    match made {
        Ok(bench) => Some(Story {
            bench,
            began: Instant::now(),
            turn,
        }),
        Err(why) => panic!("{why}"),
    }
}

impl Drop for Story {
    /// Says on the terminal how long the story took: the run of every day is to stay short.
    fn drop(&mut self) {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        writeln!(std::io::stderr(), "    {} s {name}", self.began.elapsed().as_secs()).ok();
    }
}

impl Story {
    /// Installs once more with further switches, as an operator who changes his mind; for stories that are alone.
    pub fn install(&self, more: &str) {
        assert!(matches!(self.turn, Turn::Alone(_)), "others would be disturbed");
        self.bench.install(more);
    }

    /// The second cluster. None, said aloud, where there is none.
    pub fn second(&self) -> Option<Kubernetes> {
        let Some(folder) = std::env::var_os(SECOND).filter(|folder| !folder.is_empty()) else {
            skipped("this needs a second cluster; run it with: tests/run cluster");
            return None;
        };
        let (home, class) = (self.cluster.home.join("second"), "other");
        std::fs::create_dir_all(&home).unwrap();
        Some(Kubernetes {
            folder: folder.into(),
            class,
            home,
        })
    }
}

impl Bench {
    fn new(folder: PathBuf) -> Self {
        let home = tempfile::tempdir().unwrap();
        let cluster = Kubernetes {
            folder,
            class: "folder",
            home: home.path().to_owned(),
        };
        let store = Server::start(&VERSITYGW).unwrap_or_else(|why| panic!("{why:?}"));
        let run = format!("{:x}", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
        let bench = Self {
            cluster,
            store,
            run,
            _home: home,
        };
        uninstall(&bench.cluster);
        bench.install("");
        bench
    }

    /// A name that no other story and no earlier run has.
    pub fn name(&self, of: &str) -> String {
        format!("{of}-{}", self.run)
    }

    /// Where the default location is.
    pub fn place(&self) -> Location {
        self.store.location(&self.name("main"))
    }

    fn install(&self, more: &str) {
        let place = self.place();
        let credentials = credentials(&self.cluster, "main", &place);
        let sheet = self.cluster.home.join(format!("sheet-{}", nanoseconds()));
        let line = format!(
            "install --image localhost/ararat --image-pull-policy Never --location {} {} --credentials-file {credentials} \
             --recovery-sheet {} --wait-timeout 180s {more}",
            place.url,
            options(&place, "--location-option"),
            sheet.display(),
        );
        self.cluster.ararat(&line).ok();
        ready(&self.cluster);
    }

    /// Makes a location of a story's own, with a repository of its own, and waits until it can be used.
    pub fn location(&self, name: &str, place: &Location, more: &str) {
        let cluster = &self.cluster;
        let credentials = credentials(cluster, name, place);
        let sheet = cluster.home.join(format!("sheet-{name}"));
        let line = format!(
            "backup-location create {name} --url {} {} --credentials-file {credentials} --recovery-sheet {} {more}",
            place.url,
            options(place, "--option"),
            sheet.display(),
        );
        cluster.ararat(&line).ok();
        available(cluster, name);
    }
}

/// Waits until a location can be used.
#[track_caller]
pub fn available(cluster: &Kubernetes, location: &str) {
    wait(&format!("location {location}"), Duration::from_secs(60), || {
        (cluster.phase("backupstoragelocation", location) == "Available").then_some(())
    });
}

/// Waits until every part of an installation is ready, and its default location can be used.
#[track_caller]
pub fn ready(cluster: &Kubernetes) {
    cluster.rolled_out("ararat", "deploy/ararat-controller");
    cluster.rolled_out("ararat", "daemonset/ararat-agent");
    available(cluster, "default");
}

/// Removes what an earlier run has left in a cluster that stayed.
pub fn uninstall(cluster: &Kubernetes) {
    if cluster.find("namespace ararat").is_some() {
        cluster.ararat("uninstall --confirm --delete-key --crds").ok();
        cluster
            .kubectl("delete namespace ararat --ignore-not-found --timeout=180s")
            .ok();
    }
}

/// Writes a file with the credentials of a place, as an operator has it, and gives its path.
pub fn credentials(cluster: &Kubernetes, name: &str, place: &Location) -> String {
    let secret =
        |name: &&(&str, String)| !name.0.contains("ENDPOINT") && !name.0.contains("REGION") && !name.0.contains("HTTP");
    let lines = place
        .environment
        .iter()
        .filter(secret)
        .map(|(name, value)| format!("{name}={value}\n"));
    let file = cluster.home.join(format!("credentials-{name}"));
    std::fs::write(&file, lines.collect::<String>()).unwrap();
    file.to_str().unwrap().to_owned()
}

/// The options of a place, each behind its switch.
pub fn options(place: &Location, switch: &str) -> String {
    let word = |name: &str| match name {
        "AWS_ENDPOINT_URL" | "AZURE_STORAGE_ENDPOINT" => Some("endpoint"),
        "AWS_REGION" => Some("region"),
        _ => None,
    };
    let options = place
        .environment
        .iter()
        .filter_map(|(name, value)| Some((word(name)?, value)));
    options
        .map(|(word, value)| format!("{switch} {word}={value} "))
        .collect()
}

fn nanoseconds() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()
}

/// What a Backup or Restore that did everything looks like: no error, no warning.
#[track_caller]
pub fn spotless(cluster: &Kubernetes, object: &Value) {
    let phase = text(object, "/status/phase");
    let counts = (number(object, "/status/errors"), number(object, "/status/warnings"));
    if (phase.as_str(), counts) == ("Completed", (0, 0)) {
        return;
    }
    let (kind, name) = (text(object, "/kind").to_lowercase(), text(object, "/metadata/name"));
    let described = cluster.ararat(&format!("{kind} describe {name} --details"));
    panic!(
        "{kind} {name} is {phase}, (errors, warnings) are {counts:?}\n{}\n{}",
        described.out, described.err
    );
}
