//! The classic guide, word for word apart from the program's name: back up an application by its label, lose its
//! namespace, get it back. This is the thin story: when it holds, everything is connected.

use std::time::Duration;

use crate::bench::{self, spotless};
use crate::content;
use crate::kubernetes::{text, wait};
use crate::space::Space;
use crate::workload;

/// The guide's application: a namespace, a claim for the logs, a Deployment and a Service, all labelled `app: nginx`. The program writes
/// down what it finds in its volume when it starts.
const NGINX: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: nginx-deployment, labels: {app: nginx}}
spec:
  replicas: 1
  strategy: {type: Recreate}
  selector: {matchLabels: {app: nginx}}
  template:
    metadata: {labels: {app: nginx}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: nginx
        image: localhost/busybox
        imagePullPolicy: Never
        command: [sh, -c, 'ls /var/log/nginx >/tmp/found-at-start; mkdir -p /www; echo hello >/www/index.html; httpd -f -p 80 -h /www']
        volumeMounts: [{name: nginx-logs, mountPath: /var/log/nginx}]
        ports: [{containerPort: 80}]
      volumes: [{name: nginx-logs, persistentVolumeClaim: {claimName: nginx-logs}}]
---
apiVersion: v1
kind: Service
metadata: {name: my-nginx, labels: {app: nginx}}
spec:
  type: LoadBalancer
  selector: {app: nginx}
  ports: [{port: 80, targetPort: 80}]
";

/// The command that a page shows below a heading, in a block of its own, as it shows it. It is told by how it begins and ends, but for a comment.
pub fn shown<'p>(page: &'p str, heading: &str, beginning: &str, end: &str) -> &'p str {
    let section = page.split(&format!("\n## {heading}\n")).nth(1).unwrap();
    let block = section.split("```").nth(1).unwrap();
    let lines = block
        .lines()
        .map(|line| line.split("   #").next().unwrap_or(line).trim_end());
    let mut meant = lines.filter(|line| line.starts_with(beginning) && line.ends_with(end));
    meant
        .next()
        .unwrap_or_else(|| panic!("the page does not show `{beginning}…{end}`:\n{block}"))
}

/// The same of README, without the name of the program.
fn of_readme(beginning: &str) -> &'static str {
    let line = shown(include_str!("../../README.md"), "On Kubernetes", beginning, "");
    line.split_once(' ').unwrap().1
}

#[test]
fn the_classic_guide_works_word_for_word() {
    let Some(story) = bench::calm() else { return };
    let cluster = &story.cluster;
    let space = Space::labelled(cluster, "nginx-example", &["app=nginx"]);
    cluster.apply(&space.name, &workload::claim("nginx-logs", cluster.class, "Filesystem"));
    cluster.kubectl("label -n nginx-example pvc nginx-logs app=nginx").ok();
    cluster.apply(&space.name, NGINX);
    cluster.rolled_out(&space.name, "deploy/nginx-deployment");
    content::fill(cluster, &space.name, "deploy/nginx-deployment", "/var/log/nginx");
    let before = content::listing(cluster, &space.name, "deploy/nginx-deployment", "/var/log/nginx");

    bench::credentials(cluster, "shown", &story.place());
    std::fs::rename(cluster.home.join("credentials-shown"), cluster.home.join("credentials")).unwrap();
    cluster
        .ararat(&format!("{} --dry-run -o yaml", of_readme("ararat install")))
        .ok()
        .says(&["kind: DaemonSet", "image: REGISTRY/ararat", "url: s3://bucket/cluster"]);
    cluster
        .ararat(of_readme("ararat backup create nginx-backup --selector app=nginx"))
        .ok()
        .says(&["nginx-backup", "completed"]);
    spotless(cluster, &cluster.object("backup", "nginx-backup"));
    cluster
        .ararat("backup get")
        .ok()
        .says(&["nginx-backup", "Completed", "app=nginx"]);
    cluster
        .ararat("backup describe nginx-backup --details")
        .ok()
        .says(&["nginx-logs", "Completed"]);
    cluster.ararat("backup logs nginx-backup").ok().says(&["nginx-example"]);

    cluster
        .kubectl(of_readme("kubectl delete namespace nginx-example"))
        .ok();

    cluster
        .ararat(of_readme("ararat restore create --from-backup nginx-backup"))
        .ok()
        .says(&["completed"]);
    let restores = cluster.list("restores -n ararat");
    let restore = restores
        .iter()
        .find(|restore| text(restore, "/spec/backupName") == "nginx-backup")
        .unwrap();
    spotless(cluster, restore);
    let name = text(restore, "/metadata/name");
    let time = name.strip_prefix("nginx-backup-").unwrap_or_default();
    assert!(
        time.len() == 14 && time.bytes().all(|byte| byte.is_ascii_digit()),
        "{name}"
    );
    cluster.ararat("restore get").ok().says(&[&name]);
    cluster
        .ararat(&format!("restore describe {name}"))
        .ok()
        .says(&["nginx-backup", "Completed"]);
    cluster.ararat(&format!("restore logs {name}")).ok();

    cluster.rolled_out(&space.name, "deploy/nginx-deployment");
    let after = content::listing(cluster, &space.name, "deploy/nginx-deployment", "/var/log/nginx");
    content::assert_same(&before, &after);
    let found = cluster.shell(&space.name, "deploy/nginx-deployment", "cat /tmp/found-at-start");
    assert!(
        found.contains("random"),
        "the program started before its data was there: {found}"
    );
    for object in [
        "namespace nginx-example",
        "deploy nginx-deployment",
        "service my-nginx",
        "pvc nginx-logs",
    ] {
        let found = cluster.get(&format!("-n {} {object}", space.name));
        assert_eq!(
            text(&found, "/metadata/labels/ararat.dev~1restore-name"),
            name,
            "{object}"
        );
        assert_eq!(
            text(&found, "/metadata/labels/ararat.dev~1backup-name"),
            "nginx-backup",
            "{object}"
        );
        assert_eq!(text(&found, "/metadata/labels/app"), "nginx", "{object}");
    }
    let address = text(&cluster.get("-n nginx-example service my-nginx"), "/spec/clusterIP");
    let page = cluster.shell(
        &space.name,
        "deploy/nginx-deployment",
        &format!("timeout 10 wget -qO- http://{address}/"),
    );
    assert_eq!(page, "hello\n");
    // Pods are their ReplicaSet's to make, and that one the Deployment's: a restore that made them too would leave two.
    assert_eq!(cluster.names("pods -n nginx-example").len(), 1);
    assert_eq!(cluster.names("replicasets -n nginx-example").len(), 1);
    nothing_left(cluster, "nginx-example");
}

/// No holder pod, and nothing of a restore's own making but its words, is left in a namespace.
#[track_caller]
pub fn nothing_left(cluster: &crate::kubernetes::Kubernetes, namespace: &str) {
    // A holder that was told to go may still be on its way.
    wait("holder pods to go", Duration::from_secs(60), || {
        let holders = cluster.names(&format!("pods -n {namespace} -l ararat.dev/holder"));
        holders.is_empty().then_some(())
    });
    for claim in cluster.list(&format!("pvc -n {namespace}")) {
        let finalizers = claim["metadata"]["finalizers"].to_string();
        assert!(!finalizers.contains("ararat"), "{claim:#}");
    }
}
