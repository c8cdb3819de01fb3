//! Controllers, agents and the API server end at random moments of backups and restores; the end is that of an undisturbed run.
//!
//! A slice runs every day; `tests/long/cluster-kills` asks for more rounds by `ARARAT_KILL_ROUNDS` (and `ARARAT_KILL_SEED` for the same moments again).

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::bench::{self, spotless};
use crate::guide::nothing_left;
use crate::kubernetes::{Kubernetes, number, text};
use crate::objects::many;
use crate::space::Space;
use crate::workload;

/// Every day: each victim once or twice.
const ROUNDS: usize = 2;
/// The longest pause before a kill: a backup or restore of the story takes about as long.
const PAUSE_MAX: u64 = 4000;
/// How long an operation may take that was disturbed.
const END_MAX: Duration = Duration::from_secs(300);

/// What ends.
const VICTIMS: [&str; 3] = ["ararat-controller", "ararat-agent", "kube-apiserver"];

/// Moments and victims (xorshift, Marsaglia).
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

#[test]
fn whoever_is_killed_whenever_the_end_is_the_same() {
    let Some(story) = bench::alone() else { return };
    let asked = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let rounds = asked("ARARAT_KILL_ROUNDS").map_or(ROUNDS, |rounds: u64| usize::try_from(rounds).unwrap());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = asked("ARARAT_KILL_SEED").unwrap_or(now.as_secs() | 1);
    println!("{rounds} rounds, ARARAT_KILL_SEED={seed}");
    let mut dice = Dice(seed);

    let cluster = &story.cluster;
    let space = Space::new(cluster, &story.name("killed"));
    let name = space.name.clone();
    story.location(&name, &story.store.location(&name), "");
    let documents = workload::claim("one", cluster.class, "Filesystem")
        + &workload::deployment("one", "one")
        + &workload::claim("two", &cluster.late(), "Filesystem")
        + &workload::deployment("two", "two")
        + &workload::claim("three", cluster.class, "Filesystem");
    cluster.apply(&name, &documents);
    cluster.create(&name, &many(100));
    for app in ["one", "two"] {
        cluster.rolled_out(&name, &format!("deploy/{app}"));
        let fill = "mkdir /data/small; for i in $(seq 1 400); do echo $i >/data/small/$i; done; head -c 25000000 /dev/urandom >/data/big";
        cluster.shell(&name, &format!("deploy/{app}"), fill);
    }

    for round in 0..rounds {
        // New data in each round, or an unchanged volume would be read in no time.
        for app in ["one", "two"] {
            cluster.shell(
                &name,
                &format!("deploy/{app}"),
                "head -c 25000000 /dev/urandom >/data/big; echo $RANDOM >/data/small/7",
            );
        }
        let sums = sums(cluster, &name);
        let this = format!("{name}-{round}");
        cluster
            .ararat(&format!(
                "backup create {this} --include-namespaces {name} --storage-location {name}"
            ))
            .ok();
        let victim = disturb(cluster, &mut dice, round);
        let backup = cluster.ended("backup", &this, END_MAX);
        spotless(cluster, &backup);
        let counts = (
            number(&backup, "/status/volumes/completed"),
            number(&backup, "/status/volumes/failed"),
        );
        assert_eq!(counts, (3, 0), "round {round}, {victim}: {backup:#}");
        nothing_left(cluster, &name);

        let there = Space::awaited(cluster, &format!("{this}-there"));
        let line = format!(
            "restore create {this} --from-backup {this} --namespace-mappings {name}:{}",
            there.name
        );
        cluster.ararat(&line).ok();
        let victim = disturb(cluster, &mut dice, round + 1);
        spotless(cluster, &cluster.ended("restore", &this, END_MAX));
        assert_eq!(
            cluster
                .names(&format!("configmaps,secrets -n {} -l story=many", there.name))
                .len(),
            100,
            "round {round}, {victim}"
        );
        for app in ["one", "two"] {
            cluster.rolled_out(&there.name, &format!("deploy/{app}"));
        }
        assert_eq!(sums, self::sums(cluster, &there.name), "round {round}, {victim}");
        nothing_left(cluster, &there.name);
    }

    // Nothing is doubled or forgotten: when every Backup is deleted the store is empty.
    let ours: Vec<String> = cluster
        .names("backups -n ararat")
        .into_iter()
        .filter(|backup| backup.starts_with(&name))
        .collect();
    assert_eq!(ours.len(), rounds);
    for backup in ours {
        cluster.ararat(&format!("backup delete {backup} --confirm")).ok();
    }
    for kind in [
        "podvolumebackups",
        "podvolumerestores",
        "restores",
        "deletebackuprequests",
    ] {
        let items = cluster.list(&format!("{kind} -n ararat"));
        let left = items
            .iter()
            .filter(|item| item["spec"].to_string().contains(&name) && text(item, "/status/phase") != "Processed");
        assert_eq!(left.count(), 0, "{kind} are left: {items:#?}");
    }
    // Sessions that killed agents have left open are ended when nothing was heard of them for hours; the owner need not wait. One pack stays:
    // it has the record of the cluster that owns the location.
    let packs = story.store.folder().join("data/ararat").join(&name).join("p");
    for prunes in 1.. {
        let ran = crate::second::repo(&story, &name, "prune --fence-after 1s --max-unused 0").ok();
        let left = files(&packs);
        if left == 1 {
            break;
        }
        let snapshots = crate::second::snapshots(&story, &name);
        assert!(prunes < 5, "{left} packs stay\n{}\n{snapshots}", ran.out);
        std::thread::sleep(Duration::from_secs(2));
    }
    cluster.ararat(&format!("backup-location delete {name} --confirm")).ok();
    bench::ready(cluster);
}

/// Ends something after a while, now and then two things; says what.
fn disturb(cluster: &Kubernetes, dice: &mut Dice, round: usize) -> String {
    let mut victims = vec![VICTIMS[round % VICTIMS.len()]];
    if dice.below(4) == 0 {
        victims.push(VICTIMS[usize::try_from(dice.below(3)).unwrap()]);
    }
    for victim in &victims {
        let pause = dice.below(PAUSE_MAX);
        std::thread::sleep(Duration::from_millis(pause));
        match *victim {
            "kube-apiserver" => cluster.kill_part(victim),
            program => cluster.kill_program(program),
        }
        println!("round {round}: {victim} after {pause} ms");
    }
    cluster.answers();
    victims.join(" and ")
}

/// What is in the volumes.
fn sums(cluster: &Kubernetes, namespace: &str) -> Vec<String> {
    let sum = |app: &str| {
        let script = "cd /data && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum";
        cluster.shell(namespace, &format!("deploy/{app}"), script)
    };
    ["one", "two"].map(sum).to_vec()
}

fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 })
        .sum()
}
