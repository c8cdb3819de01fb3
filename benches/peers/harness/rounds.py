"""The measuring itself: rounds of phases, in each phase one tool after the other.

What must hold: within a phase the tools follow one another directly, so a disturbance of the machine hits neighbours
alike, and the first of them is another one each round; all see the same source in the same state, with the page cache
warmed the same way; every tool starts every round with nothing; nothing is removed before a restore is measured (see
harness/disk.py). A tool that fails a phase is out for the rest of the round, with its words in the result; the others
go on.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from harness import machine
from harness.disk import FEW_FILES, Folder, Image, remove
from harness.measure import CommandFailed, stored
from harness.tools import Tool

PHASES = ["first", "unchanged", "changed", "restore", "check", "prune"]
HERE = Path(__file__).resolve().parent.parent


@dataclass
class Sample:
    """One tool in one phase of one round."""

    corpus: str
    round: int
    tool: str
    phase: str
    wall_s: float = 0.0
    cpu_s: float = 0.0
    user_s: float = 0.0
    peak_rss_bytes: int = 0
    stored_bytes: int = 0
    objects: int = 0
    requests: int | None = None
    verified: dict | None = None
    others: float = 0.0
    """Cores that others kept busy meanwhile (other programs, the kernel's own threads, the host)."""
    failed: str = ""


@dataclass
class Plan:
    """What to measure, where."""

    work: Path
    disk: Folder | Image
    tools: dict[str, tuple[type[Tool], Path]]
    phases: list[str]
    rounds: int
    scale: float = 1.0
    verify_rounds: int = 1
    samples: list[Sample] = field(default_factory=list)


def measure_corpus(plan: Plan, corpus: str, finished) -> None:
    """Runs all rounds on one corpus; calls `finished` after each phase, so that an interrupted run keeps what it has."""
    source = plan.work / "corpora" / corpus / "source"
    say(f"== {corpus}")
    for number in range(1, plan.rounds + 1):
        script(plan, "corpora", "reset", corpus)
        plan.disk.fresh()
        try:
            measure_round(plan, corpus, source, number, finished)
        finally:
            plan.disk.drop()
    script(plan, "corpora", "reset", corpus)


def measure_round(plan: Plan, corpus: str, source: Path, number: int, finished) -> None:
    rooms = plan.disk.rooms
    names = list(plan.tools)
    first = (number - 1) % len(names)
    tools = [plan.tools[name][0](plan.tools[name][1], rooms / name) for name in names[first:] + names[:first]]
    out: set[str] = set()
    for tool in tools:
        tool.prepare()
        try:
            tool.init()
        except CommandFailed as failure:
            out.add(tool.name)
            sample = Sample(corpus, number, tool.name, "first", failed=str(failure))
            plan.samples.append(sample)
            report(sample)
    last = max(PHASES.index(phase) for phase in plan.phases)
    for phase in PHASES[: last + 1]:
        if phase in ("restore", "check", "prune") and phase not in plan.phases:
            continue
        if phase == "changed":
            script(plan, "corpora", "change", corpus)
        for tool in tools:
            if tool.name in out:
                continue
            sample = Sample(corpus, number, tool.name, phase)
            measure_phase(tool, source, phase, sample, verify=number <= plan.verify_rounds)
            report(sample)
            if sample.failed:
                out.add(tool.name)
            if phase in plan.phases or sample.failed:
                plan.samples.append(sample)
        finished()


def measure_phase(tool: Tool, source: Path, phase: str, sample: Sample, *, verify: bool) -> None:
    """Runs one phase of one tool and fills the sample."""
    target = tool.room / "restored"
    if phase in ("first", "changed"):
        # The tool before may have pushed the source out. The unchanged backup needs no more than the first one left.
        python("harness.warm", source)
    elif phase != "unchanged":
        python("harness.warm", tool.repository)
    # What others wrote must not be written back on this tool's time.
    os.sync()
    busy_s = machine.busy_s()
    tool.requests = None
    try:
        match phase:
            case "first" | "unchanged" | "changed":
                cost = tool.backup(source)
            case "restore":
                cost = tool.restore_latest(source, target)
            case "check":
                cost = tool.check_full()
            case "prune":
                cost = tool.forget_prune(source)
    except CommandFailed as failure:
        sample.failed = str(failure)
        return
    sample.others = max(0.0, machine.busy_s() - busy_s - cost.cpu_s) / cost.wall_s
    sample.wall_s, sample.cpu_s, sample.user_s = cost.wall_s, cost.cpu_s, cost.user_s
    sample.peak_rss_bytes = cost.peak_rss_bytes
    sample.stored_bytes, sample.objects = stored(tool.repository)
    sample.requests = tool.requests
    if phase == "restore":
        if verify:
            sample.verified = compare(source, target)
            if sample.verified["content_count"]:
                sample.failed = f"The restore differs from the source: {sample.verified['content']}"
        if stored(target)[1] <= FEW_FILES:
            remove(target)


def compare(source: Path, target: Path) -> dict:
    """Compares a restored tree with its source in a process of its own; returns harness.compare's findings."""
    done = subprocess.run(
        [sys.executable, "-B", "-m", "harness.compare", source, target], cwd=HERE, stdout=subprocess.PIPE, check=False
    )
    if not done.stdout:
        raise SystemExit("The comparer ended without a result")
    return json.loads(done.stdout)


def python(module: str, *arguments) -> None:
    subprocess.run([sys.executable, "-B", "-m", module, *map(str, arguments)], cwd=HERE, check=True)


def script(plan: Plan, name: str, *arguments) -> None:
    command = [sys.executable, HERE / name, *arguments, "--dir", plan.work / "corpora", "--scale", str(plan.scale)]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)


def report(sample: Sample) -> None:
    if sample.failed:
        say(f"  {sample.round} {sample.phase:9} {sample.tool:8} FAILED: {sample.failed}")
        return
    verified = f"  verified {sample.verified['files']} files" if sample.verified else ""
    say(
        f"  {sample.round} {sample.phase:9} {sample.tool:8} {sample.wall_s:8.2f} s  cpu {sample.cpu_s:8.2f} s  "
        f"rss {sample.peak_rss_bytes >> 20:5} MiB  "
        f"stored {sample.stored_bytes / 2**20:9.1f} MiB in {sample.objects}{verified}"
    )


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def as_json(samples: list[Sample]) -> list[dict]:
    return [asdict(sample) for sample in samples]
