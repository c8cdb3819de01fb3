//! PostgreSQL under load: saved by a schedule, its namespace destroyed, restored elsewhere; sound, and with every transaction
//! that was committed before the backup.
//!
//! The hook stops the database's processes for as long as its files are read, as a frozen file system would: what is saved
//! is what a power cut would leave, and the database recovers from it by its own log. `tests/cluster/postgres` makes the image.

use std::time::Duration;

use crate::bench::{self, spotless};
use crate::kubernetes::{Kubernetes, text, wait};
use crate::skipped::skipped;
use crate::space::Space;

/// One database, non-root, with its load beside it in the same pod. The shell is the first process: that one cannot be stopped.
fn database(class: &str) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: db, labels: {{app: db}}}}
spec:
  serviceName: db
  replicas: 1
  selector: {{matchLabels: {{app: db}}}}
  template:
    metadata:
      labels: {{app: db}}
      annotations:
        pre.hook.backup.ararat.dev/container: db
        pre.hook.backup.ararat.dev/command: '["sh", "-c", "psql -qc CHECKPOINT; for pass in 1 2; do kill -STOP $(pidof postgres) 2>/dev/null; done; sleep 0.2"]'
        post.hook.backup.ararat.dev/container: db
        post.hook.backup.ararat.dev/command: '["sh", "-c", "kill -CONT $(pidof postgres)"]'
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {{runAsNonRoot: true, runAsUser: 70, runAsGroup: 70, fsGroup: 70, fsGroupChangePolicy: OnRootMismatch, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
      - name: db
        image: localhost/postgres
        imagePullPolicy: Never
        securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
        env: [{{name: PGHOST, value: /tmp}}, {{name: PGUSER, value: postgres}}, {{name: PGDATA, value: /data/pg}}]
        command: [sh, -c]
        args:
        - |
          [ -s $PGDATA/PG_VERSION ] || initdb --auth=trust --username=postgres --data-checksums --no-locale --encoding=UTF8 || exit 1
          while :; do postgres -k /tmp -c listen_addresses= -c shared_buffers=32MB -c max_wal_size=128MB; sleep 1; done
        readinessProbe: {{exec: {{command: [pg_isready, -q]}}, periodSeconds: 1, timeoutSeconds: 5}}
        volumeMounts: [{{name: data, mountPath: /data}}, {{name: tmp, mountPath: /tmp}}]
      volumes: [{{name: tmp, emptyDir: {{}}}}]
  volumeClaimTemplates:
  - metadata: {{name: data}}
    spec: {{storageClassName: {class}, accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}
"#
    )
}

/// Writes one row after the other, and what was acknowledged into the pod's own file.
const LEDGER: &str = "
psql -qc 'create table ledger (id bigint primary key, at timestamptz default now())'
i=0
while [ ! -e /tmp/enough ]; do
  i=$((i + 1))
  psql -qc \"insert into ledger (id) values ($i)\" 2>/dev/null && echo $i >/tmp/acknowledged || i=$((i - 1))
done
";

#[test]
fn a_database_under_load_comes_back_sound_with_all_that_was_committed() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    if !has_image(cluster) {
        return;
    }
    let space = Space::labelled(
        cluster,
        &story.name("postgres"),
        &["pod-security.kubernetes.io/enforce=restricted"],
    );
    let (backup, committed) = saved_under_load(cluster, &space);
    space.destroy();
    let there = Space::awaited(cluster, &format!("{}-there", space.name));
    let line = format!(
        "restore create {backup} --from-backup {backup} --namespace-mappings {}:{} --storage-class-mappings {}:{} --wait",
        space.name,
        there.name,
        cluster.class,
        cluster.late()
    );
    cluster.ararat(&line).ok();
    spotless(cluster, &cluster.object("restore", &backup));
    sound(cluster, &there.name, committed);
}

#[test]
fn a_database_comes_back_in_the_second_cluster_too() {
    let Some(story) = bench::alone() else { return };
    let Some(second) = story.second() else { return };
    let cluster = &story.cluster;
    if !has_image(cluster) {
        return;
    }
    let space = Space::new(cluster, &story.name("exported"));
    let (backup, committed) = saved_under_load(cluster, &space);
    crate::second::install(
        &second,
        &story.place(),
        &crate::second::key(cluster, "default"),
        "--restore-only",
    );
    wait("the Backup to be found in the store", Duration::from_secs(90), || {
        (second.phase("backup", &backup) == "Completed").then_some(())
    });
    let there = Space::awaited(&second, &format!("{}-there", space.name));
    let line = format!(
        "restore create {backup} --from-backup {backup} --namespace-mappings {}:{} --storage-class-mappings {}:{} --wait",
        space.name, there.name, cluster.class, second.class
    );
    second.ararat(&line).ok();
    spotless(&second, &second.object("restore", &backup));
    sound(&second, &there.name, committed);
    bench::uninstall(&second);
}

/// Whether `tests/run` has made the image.
fn has_image(cluster: &Kubernetes) -> bool {
    let there = cluster.folder.join("images/postgres.tar").exists();
    if !there {
        skipped("this needs Debian's postgresql, of which tests/run makes an image");
    }
    there
}

/// Runs a database under load, lets a schedule save it a few times, and gives the last backup and the last row that was acknowledged before it.
fn saved_under_load(cluster: &Kubernetes, space: &Space<'_>) -> (String, u64) {
    let name = &space.name;
    cluster.apply(name, &database(cluster.class));
    cluster.rolled_out(name, "statefulset/db");
    let shell = |script: &str| cluster.shell(name, "db-0", script);
    shell("psql -qc 'create extension amcheck' && pgbench -i -q -s 2 2>/dev/null");
    shell(&format!(
        "cat >/tmp/ledger.sh <<'END'\n{LEDGER}END\nsh /tmp/ledger.sh >/dev/null 2>&1 & pgbench -c 4 -T 900 >/dev/null 2>&1 &"
    ));
    let acknowledged = || {
        shell("cat /tmp/acknowledged 2>/dev/null || echo 0")
            .trim()
            .parse::<u64>()
            .unwrap_or_default()
    };
    wait("the load", Duration::from_secs(60), || {
        (acknowledged() > 5).then_some(())
    });

    cluster
        .ararat(&format!(
            "schedule create {name} --schedule '@every 10s' --include-namespaces {name}"
        ))
        .ok();
    wait("two backups", Duration::from_secs(120), || {
        (cluster
            .names(&format!("backups -n ararat -l ararat.dev/schedule-name={name}"))
            .len()
            >= 2)
            .then_some(())
    });
    cluster.ararat(&format!("schedule pause {name}")).ok();
    let committed = acknowledged();
    cluster
        .ararat(&format!("backup create {name}-last --from-schedule {name} --wait"))
        .ok();
    for backup in cluster.names(&format!("backups -n ararat -l ararat.dev/schedule-name={name}")) {
        spotless(cluster, &cluster.ended("backup", &backup, Duration::from_secs(120)));
    }
    spotless(cluster, &cluster.object("backup", &format!("{name}-last")));
    let volumes = cluster.list("podvolumebackups -n ararat");
    let last = volumes
        .iter()
        .find(|volume| text(volume, "/spec/backupName") == format!("{name}-last"))
        .unwrap();
    assert!(
        !text(last, "/status/parentSnapshotID").is_empty(),
        "the last backup is not incremental: {last:#}"
    );
    // The load went on.
    let later = acknowledged();
    wait("the load to go on", Duration::from_secs(30), || {
        (acknowledged() > later).then_some(())
    });
    shell("touch /tmp/enough");
    cluster.kubectl(&format!("delete schedule -n ararat {name}")).ok();
    (format!("{name}-last"), committed)
}

/// The database answers, its files are sound, and what was committed is there.
fn sound(cluster: &Kubernetes, namespace: &str, committed: u64) {
    cluster.rolled_out(namespace, "statefulset/db");
    let shell = |script: &str| cluster.shell(namespace, "db-0", script);
    shell("pg_amcheck --all --heapallindexed --checkunique 2>/dev/null || pg_amcheck --all --heapallindexed");
    let rows: u64 = shell("psql -Atc 'select max(id) from ledger'").trim().parse().unwrap();
    assert!(
        rows >= committed,
        "{committed} rows were committed before the backup, {rows} came back"
    );
    assert_eq!(
        shell("psql -Atc 'select count(*) from ledger'").trim(),
        rows.to_string()
    );
    let sums = "select (select sum(abalance) from pgbench_accounts) = (select coalesce(sum(delta), 0) from pgbench_history) \
                and (select sum(bbalance) from pgbench_branches) = (select sum(tbalance) from pgbench_tellers)";
    assert_eq!(shell(&format!("psql -Atc '{sums}'")).trim(), "t");
}
