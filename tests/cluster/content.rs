//! What is in a volume: made by a shell in a pod, listed by a shell in a pod, compared.

use crate::kubernetes::Kubernetes;

/// Makes a bit of everything that a folder can hold, as far as busybox can make it; as root also what only root may.
const FILL: &str = r#"
set -e
mkdir -p texts/deep/deeper empty 'with blank' ; echo hello >texts/hello; echo -n >texts/nothing
i=0; while [ $i -lt 60 ]; do echo "file $i" >texts/deep/$i; i=$((i + 1)); done
head -c 3000000 /dev/urandom >random; head -c 100000 /dev/zero >zeroes
dd if=/dev/urandom of=sparse bs=4096 count=1 seek=2000 2>/dev/null
printf 'x' >'with blank/ünï cödé'; printf 'y' >"$(printf 'new\nline')"; printf 'z' >"$(printf 'not-\377-utf8')"
ln -s texts/hello link; ln -s /nowhere/at/all dangling; ln texts/hello texts/hard; mkfifo pipe
chmod 0640 texts/hello; chmod 0600 random; chmod 4755 zeroes; chmod 2775 texts; chmod 1777 empty
if [ "$(id -u)" = 0 ]; then chown 1234:5678 random; chown -h 99:98 link; mknod null c 1 3; chown 7:8 empty; fi
touch -h -d '2001-02-03 04:05:06' link 2>/dev/null || true
touch -d '1999-12-31 23:59:58' texts/deep/7; touch -d '2030-01-01 00:00:00' texts/nothing; touch -d '2011-11-11 11:11:11' texts/deep empty
sync
"#;

/// Every name with its kind, mode, owner, times, links and target; then every file's size and content.
const LIST: &str = r#"
find . -print0 | sort -z | xargs -0 stat -c '%N %f %u:%g %Y links=%h device=%t,%T'
find . -type f -print0 | sort -z | xargs -0 stat -c '%n %s'
find . -type f -print0 | sort -z | xargs -0 sha256sum
"#;

/// Fills a folder of a pod.
#[track_caller]
pub fn fill(cluster: &Kubernetes, namespace: &str, pod: &str, folder: &str) {
    cluster.shell(namespace, pod, &format!("cd {folder}\n{FILL}"));
}

/// What is in a folder of a pod.
#[track_caller]
pub fn listing(cluster: &Kubernetes, namespace: &str, pod: &str, folder: &str) -> String {
    let listing = cluster.shell(namespace, pod, &format!("cd {folder} && {{\n{LIST}\n}}"));
    assert!(
        listing.lines().count() > 1,
        "{namespace}/{pod}:{folder} is empty:\n{listing}"
    );
    listing
}

/// Fails with the lines that differ.
#[track_caller]
pub fn assert_same(before: &str, after: &str) {
    let only = |in_this: &str, not_that: &str, sign: char| {
        let known: std::collections::HashSet<&str> = not_that.lines().collect();
        let lines = in_this.lines().filter(|line| !known.contains(line)).take(20);
        lines.map(|line| format!("{sign} {line}\n")).collect::<String>()
    };
    let differences = only(before, after, '-') + &only(after, before, '+');
    assert!(differences.is_empty(), "what came back differs:\n{differences}");
}
