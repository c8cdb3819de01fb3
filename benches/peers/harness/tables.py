"""Turns samples into Markdown: medians per phase and tool, and what ararat takes of the best peer's.

Pure functions over plain values. The best peer is found for wall time, CPU and each other column on its own.
"""

from statistics import median

from harness.rounds import PHASES, Sample

OURS = "ararat"
OURS_TOO = ("ararat-key",)
"""Other ways to run ararat: shown, and nobody's peer."""
TITLES = {
    "first": "first backup",
    "unchanged": "unchanged backup",
    "changed": "changed backup",
    "restore": "restore",
    "check": "full check",
    "prune": "forget and prune",
}


def render(result: dict, samples: list[Sample]) -> str:
    """Returns the whole page: machine, tools, and per corpus the tables and what did not go well."""
    lines = ["## Machine", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in result["machine"].items()]
    lines += ["", "## Tools", "", "| tool | version | settings |", "|---|---|---|"]
    lines += [f"| {tool['name']} | {tool['version']} | {tool['settings']} |" for tool in result["tools"]]
    for corpus in result["corpora"]:
        found = [sample for sample in samples if sample.corpus == corpus["name"]]
        if found:
            lines += ["", *corpus_section(corpus, [tool["name"] for tool in result["tools"]], found)]
    return "\n".join(lines) + "\n"


def corpus_section(corpus: dict, tools: list[str], samples: list[Sample]) -> list[str]:
    rounds = max(sample.round for sample in samples)
    lines = [
        f"## {corpus['name']}",
        "",
        f"{corpus['files']:,} files, {corpus['bytes'] / 2**20:,.0f} MiB: {corpus['taken']}."
        + (f" Changed: {corpus['changed']}." if corpus.get("changed") else ""),
        f"Medians of {rounds} round{'s' if rounds > 1 else ''}.",
        "",
    ]
    good = [sample for sample in samples if not sample.failed]
    phases = [phase for phase in PHASES if any(sample.phase == phase for sample in good)]
    lines += table("wall s", tools, phases, good, lambda sample: sample.wall_s, seconds)
    lines += table("CPU s", tools, phases, good, lambda sample: sample.cpu_s, seconds)
    lines += table("peak memory MiB", tools, phases, good, lambda sample: sample.peak_rss_bytes / 2**20, whole)
    kept = [phase for phase in phases if phase in ("first", "changed", "prune")]
    lines += table("stored MiB after", tools, kept, good, lambda sample: sample.stored_bytes / 2**20, tenth)
    lines += table("objects after", tools, kept, good, lambda sample: sample.objects, whole)
    counted = [sample for sample in good if sample.requests is not None]
    if counted:
        lines += table("store requests", tools, phases, counted, lambda sample: sample.requests, whole)
    return lines + [disturbance(good)] + remarks(samples)


def table(title: str, tools: list[str], phases: list[str], samples: list[Sample], value, show) -> list[str]:
    """Returns a table of medians, one row a phase, with the best peer and ararat's part of it in the last columns."""
    shown = [tool for tool in tools if any(sample.tool == tool for sample in samples)]
    ratio = OURS in shown and len(shown) > 1
    if not shown or not phases:
        return []
    head = [title, *shown, "best peer"] + (["ararat ÷ best"] if ratio else [])
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for phase in phases:
        medians = {}
        for tool in shown:
            values = [value(sample) for sample in samples if sample.tool == tool and sample.phase == phase]
            if values:
                medians[tool] = median(values)
        peers = {tool: number for tool, number in medians.items() if tool not in (OURS, *OURS_TOO)}
        best = min(peers, key=peers.get, default="")
        cells = [TITLES[phase], *(show(medians[tool]) if tool in medians else "–" for tool in shown), best or "–"]
        if ratio:
            known = OURS in medians and best and peers[best]
            cells.append(f"**{medians[OURS] / peers[best]:.2f}**" if known else "–")
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def disturbance(samples: list[Sample]) -> str:
    """Returns a line on how busy others were: on a machine that is not quiet, wall times say little, CPU more."""
    if not samples:
        return ""
    others = [sample.others for sample in samples]
    return f"- Others kept {median(others):.2f} cores busy meanwhile (median; at most {max(others):.2f})"


def remarks(samples: list[Sample]) -> list[str]:
    """Returns what the restores were found to hold, what metadata did not come back, and what failed."""
    lines = []
    for sample in samples:
        if sample.verified and not sample.failed:
            verified = sample.verified
            lost = ", ".join(f"{count} × {attribute}" for attribute, count in sorted(verified["metadata"].items()))
            lines.append(
                f"- {sample.tool}, round {sample.round}: "
                f"{verified['files']:,} files ({verified['bytes'] / 2**20:,.0f} MiB) "
                f"and {verified['links']:,} symlinks restored byte for byte; "
                + (f"metadata that differs: {lost}" if lost else "all metadata as it was")
            )
        if sample.failed:
            lines.append(
                f"- {sample.tool}, round {sample.round}, {TITLES[sample.phase]}, **failed**: {sample.failed[:300]}"
            )
    return lines


def seconds(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def tenth(value: float) -> str:
    return f"{value:,.1f}"


def whole(value: float) -> str:
    return f"{value:,.0f}"
