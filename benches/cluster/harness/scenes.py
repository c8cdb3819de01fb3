"""The scenes: what is made, what is saved and what comes back, one phase after the other."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .cluster import Cluster
from .meter import Meter

VOLUME_FILES, VOLUME_BYTES = 48_012, 2_040_301_974

POD = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: {name}}}
spec: {{storageClassName: folder, accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 50Gi}}}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {{name: a, image: localhost/busybox, imagePullPolicy: Never, command: [sleep, '999999'], volumeMounts: [{{name: d, mountPath: /data}}]}}
      volumes: [{{name: d, persistentVolumeClaim: {{claimName: {name}}}}}]
"""


def saved(cluster: Cluster, meter: Meter, name: str, namespace: str) -> dict:
    return meter.phase(lambda: cluster.ararat(f"backup create {name} --include-namespaces {namespace} --wait"))


def restored(cluster: Cluster, meter: Meter, name: str, namespace: str, round: str = "r") -> dict:
    line = f"restore create {name}-{round} --from-backup {name} --namespace-mappings {namespace}:{namespace}-r --wait"
    sample = meter.phase(lambda: cluster.ararat(line))
    return sample


def forgotten(cluster: Cluster, namespace: str, *backups: str) -> None:
    for backup in backups:
        cluster.ararat(f"backup delete {backup} --confirm")
    removed(cluster, namespace)
    prune(cluster, backups[0])


def removed(cluster: Cluster, namespace: str) -> None:
    """Removes what was restored, with its volumes."""
    cluster.kubectl(f"delete namespace {namespace}-r --ignore-not-found --timeout=900s")
    # The driver goes on removing files after the namespace is gone: the next round would be measured beside it.
    for _ in range(900):
        volumes = json.loads(cluster.kubectl("get pv -o json"))["items"]
        if not any(volume["spec"].get("claimRef", {}).get("namespace") == f"{namespace}-r" for volume in volumes):
            break
        time.sleep(1)


def cold() -> None:
    """Lets the kernel forget what it has read: whoever comes first would read for the others."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def prune(cluster: Cluster, stamp: str) -> None:
    """Empties the store, so that the next backup is a first one again."""
    cluster.kubectl(f'patch backuprepository -n ararat default --type=merge -p {{"spec":{{"pruneNow":"{stamp}"}}}}')
    for _ in range(600):
        repository = json.loads(cluster.kubectl("get backuprepository -n ararat default -o json"))
        if repository.get("status", {}).get("pruneNow") == stamp:
            return
        time.sleep(1)
    raise SystemExit(f"the prune is not done: {repository}")


def secrets(cluster: Cluster, meter: Meter, asked) -> Iterator[tuple[str, dict]]:
    """Many Secrets of 1 KiB in one namespace."""
    cluster.kubectl("create namespace many")
    maker = Path(__file__).with_name("secrets.py")
    cluster.run(sys.executable, str(maker), "many", str(asked.secrets), "1024")
    for round in range(asked.rounds):
        first, again = f"secrets-{round}", f"secrets-{round}-again"
        yield f"{asked.secrets:,} Secrets: first backup", saved(cluster, meter, first, "many")
        yield f"{asked.secrets:,} Secrets: unchanged backup", saved(cluster, meter, again, "many")
        yield f"{asked.secrets:,} Secrets: restore", restored(cluster, meter, again, "many")
        count = len(cluster.kubectl("get secrets -n many-r -o name").splitlines())
        if count < asked.secrets:
            raise SystemExit(f"only {count} Secrets came back")
        forgotten(cluster, "many", again, first)
    cluster.kubectl("delete namespace many --timeout=600s")


def chosen() -> list[tuple[Path, int]]:
    """Files of the Go toolchain and its module cache: as many, and as many bytes, as the field was measured with. In the order of their names,
    until the count is reached; then the smallest give way to the largest of the others until the bytes are."""
    where = [subprocess.run(["go", "env", name], capture_output=True, text=True, check=True).stdout.strip() for name in ("GOROOT", "GOMODCACHE")]
    found = []
    for root in where:
        for at, folders, names in os.walk(root):
            folders.sort()
            files = (Path(at, name) for name in sorted(names))
            found += [(file, file.lstat().st_size) for file in files if file.is_file() and not file.is_symlink()]
    files, rest = found[:VOLUME_FILES], sorted(found[VOLUME_FILES:], key=lambda entry: entry[1])
    files.sort(key=lambda entry: entry[1])
    total = sum(size for _, size in files)
    for place in range(len(files)):
        if not rest or total >= VOLUME_BYTES:
            break
        total += rest[-1][1] - files[place][1]
        files[place] = rest.pop()
    if len(files) < VOLUME_FILES or total < VOLUME_BYTES:
        # A smaller volume would be a better figure.
        raise SystemExit(f"only {len(files):,} files of {total:,} bytes are there; `go mod download` in benches/peers/kopia and benches/peers/restic brings more")
    return files


def corpus(folder: Path, backwards: bool = False) -> None:
    """Copies what is chosen; or every file backwards, which is other data of the same kind."""
    files = chosen()
    for file, _ in files:
        target = folder / file.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        data = file.read_bytes()
        target.write_bytes(data[::-1] if backwards else data)
    print(f"  corpus: {len(files):,} files, {sum(size for _, size in files):,} bytes", file=sys.stderr)


def volume_folder(cluster: Cluster, namespace: str, claim: str) -> Path:
    """Where the CSI driver has a claim's volume, seen from outside."""
    volume = cluster.kubectl(f"get pvc -n {namespace} {claim} -o jsonpath={{.spec.volumeName}}")
    return cluster.folder / "run/csi/volumes" / f"vol-{volume}"


def volume(cluster: Cluster, meter: Meter, asked) -> Iterator[tuple[str, dict]]:
    """One claim with many files."""
    cluster.kubectl("create namespace files")
    cluster.kubectl("apply -n files -f -", text=POD.format(name="data"))
    cluster.kubectl("rollout status -n files deploy/data --timeout=120s")
    corpus(volume_folder(cluster, "files", "data"))
    sums = "cd /data && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum"
    before = cluster.shell("files", "deploy/data", sums)
    for round in range(asked.rounds):
        first, again = f"volume-{round}", f"volume-{round}-again"
        yield "volume: first backup", saved(cluster, meter, first, "files")
        yield "volume: unchanged backup", saved(cluster, meter, again, "files")
        yield "volume: restore", restored(cluster, meter, again, "files")
        cluster.kubectl("rollout status -n files-r deploy/data --timeout=120s")
        if cluster.shell("files-r", "deploy/data", sums) != before:
            raise SystemExit("what came back differs")
        forgotten(cluster, "files", again, first)
    cluster.kubectl("delete namespace files --timeout=600s")


def four(cluster: Cluster, meter: Meter, asked) -> Iterator[tuple[str, dict]]:
    """Four volumes at once: a million small files, one sparse file of 20 GiB, the corpus, and the corpus backwards: sessions beside each other do not
    share what is new, and one of the engine alone would."""
    cluster.kubectl("create namespace four")
    for name in ("small", "sparse", "one", "two"):
        cluster.kubectl("apply -n four -f -", text=POD.format(name=name))
        cluster.kubectl(f"rollout status -n four deploy/{name} --timeout=120s")
    small = volume_folder(cluster, "four", "small")
    for folder in range(1000):
        (small / str(folder)).mkdir()
        for file in range(1000):
            (small / str(folder) / str(file)).write_bytes(b"%d of %d\n" % (file, folder) * 12)
    with open(volume_folder(cluster, "four", "sparse") / "disk", "wb") as disk:
        disk.truncate(20 << 30)
        for place in range(0, 20 << 30, 1 << 30):
            disk.seek(place)
            disk.write(os.urandom(1 << 20))
    corpus(volume_folder(cluster, "four", "one"))
    corpus(volume_folder(cluster, "four", "two"), backwards=True)
    folders = " ".join(str(volume_folder(cluster, "four", name)) for name in ("small", "sparse", "one", "two"))
    # Side by side, and every other round the other way round: what a machine does besides, and what the one before has left, meets both. Restores come
    # last: who measures after a million files were deleted measures that, too.
    ways = [lambda round: alone(cluster, meter, folders), lambda round: by_agents(cluster, meter, round)]
    for round in range(asked.rounds):
        for way in ways if round % 2 == 0 else reversed(ways):
            yield from way(round)
    last = f"four-{asked.rounds - 1}"
    for round in range(asked.rounds):
        yield "four volumes: restore", restored(cluster, meter, last, "four", str(round))
        removed(cluster, "four")
    forgotten(cluster, "four", last)
    cluster.kubectl("delete namespace four --timeout=900s")


def alone(cluster: Cluster, meter: Meter, folders: str) -> Iterator[tuple[str, dict]]:
    """The same data through the engine alone, from the node."""
    cluster.repo("init")
    cold()
    yield "four folders: first `ararat repo backup`", meter.phase(lambda: cluster.repo(f"backup {folders}"))
    yield "four folders: unchanged `ararat repo backup`", meter.phase(lambda: cluster.repo(f"backup {folders}"))
    for left in (cluster.bucket / "alone", cluster.work / "alone.cache"):
        shutil.rmtree(left)
    (cluster.work / "alone.key").unlink()


def by_agents(cluster: Cluster, meter: Meter, round: int) -> Iterator[tuple[str, dict]]:
    """The same data by the agents; what the round before has stored is removed first, so that its first backup is one. The last backup is left."""
    if round > 0:
        forgotten(cluster, "four", f"four-{round - 1}")
    first, again = f"four-{round}-first", f"four-{round}"
    cold()
    yield "four volumes: first backup", saved(cluster, meter, first, "four")
    yield "four volumes: unchanged backup", saved(cluster, meter, again, "four")
    cluster.ararat(f"backup delete {first} --confirm")


def objects(cluster: Cluster, meter: Meter, asked) -> Iterator[tuple[str, dict]]:
    """A hundred thousand mixed objects: Secrets, ConfigMaps and ServiceAccounts in ten namespaces."""
    maker = Path(__file__).with_name("secrets.py")
    for number in range(10):
        cluster.kubectl(f"create namespace mixed-{number}")
        cluster.run(sys.executable, str(maker), f"mixed-{number}", "10000", "400", "secrets,configmaps,serviceaccounts")
    for round in range(asked.rounds):
        first, again = f"mixed-{round}", f"mixed-{round}-again"
        yield "100,000 objects: first backup", saved(cluster, meter, first, "mixed-*")
        yield "100,000 objects: unchanged backup", saved(cluster, meter, again, "mixed-*")
        forgotten(cluster, "mixed", again, first)


SCENES = {"secrets": secrets, "volume": volume, "four": four, "objects": objects}
