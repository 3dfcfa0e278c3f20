"""What came out: a table, a JSON file, a picture. A ratio over 1 says that tfloop is so many times as fast."""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from measurement import HERE, Measured, ask

OURS = "tfloop"
TICKS = (0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 1, 1.25, 1.5, 2, 3, 5, 7, 10, 20, 50, 100)  # of the picture's axis
Rows = Mapping[str, Sequence[Measured]]


@dataclass(frozen=True)
class Contest:
    """One workload, measured.

    Attributes:
        rows: by contender, one a round.
        facts: what the model costs, what the machine can do, what was chosen for whom; `multiply_adds` of one example
            forwards and `gflops` of the matrix product give the share of it.
        skipped: why a contender is not there.
    """

    rows: Rows
    facts: Mapping[str, Any] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)

    def ratios(self, name: str, key: str = "warm") -> list[float]:
        """How many times as fast tfloop was, round by round, since the machine's speed drifts."""
        pairs = zip(self.rows[OURS], self.rows[name], strict=True)
        if key == "whole":
            return [theirs.whole / ours.whole for ours, theirs in pairs]
        return [getattr(ours, key) / getattr(theirs, key) for ours, theirs in pairs]

    def share(self, warm: float) -> float | None:
        """Of the machine's matrix product, while training: each product of the forward pass is two backwards."""
        if not self.facts.get("multiply_adds") or not self.facts.get("gflops"):
            return None
        return warm * 3 * 2 * self.facts["multiply_adds"] / (self.facts["gflops"] * 1e9)


def table(title: str, contest: Contest) -> str:
    """Medians of all rounds."""
    lines = [
        title,
        f"{'':32}{'to step 1':>10}{'epoch 1':>9}{'ratio':>7}{'warm':>11}{'ratio':>7}{'from':>6} to{'':<4}"
        f"{'command':>9}{'ratio':>7}{'memory':>10}{'of sgemm':>10}",
    ]
    for name, rows in contest.rows.items():
        if not rows:
            continue
        warm = median(row.warm for row in rows)
        ratios, share = contest.ratios(name), contest.share(warm)
        lines.append(
            f"{name:32}{median(row.start for row in rows):>8.1f} s{median(row.epochs[0] for row in rows):>7.2f} s"
            f"{median(contest.ratios(name, 'first')):>7.2f}{warm:>9,.0f}/s{median(ratios):>7.2f}"
            f"{min(ratios):>6.2f} {max(ratios):<6.2f}{median(row.whole for row in rows):>7.1f} s"
            f"{median(contest.ratios(name, 'whole')):>7.2f}{median(row.peak for row in rows) / 2**20:>6,.0f} MiB"
            + (f"{share:>10.0%}" if share is not None else "")
        )
    facts = (
        f"{name}: {fact:,.0f}" if isinstance(fact, float) else f"{name}: {fact}" for name, fact in contest.facts.items()
    )
    lines += ["; ".join(facts), *(f"left out: {name}: {why}" for name, why in contest.skipped.items())]
    return "\n".join(lines)


def arguments(description: str, rounds: int = 5, epochs: int = 4) -> argparse.ArgumentParser:
    """The options of every benchmark here that measures in rounds."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--epochs", type=int, default=epochs, help="of each training; the first one is not warm")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    parser.add_argument("--png", type=Path, help="where to draw the ratios; needs matplotlib")
    return parser


def finish(options: argparse.Namespace, contests: Mapping[str, Contest]) -> None:
    """Prints the tables, and writes the files that were asked for."""
    about = save(options, contests)
    print(f"{about['cpu']}, {about['cores']} cores; medians of {options.rounds} rounds, {options.epochs} epochs each")
    print("a ratio over 1 says that tfloop is so many times as fast; `from` and `to`: the lowest and the highest round")
    for name, contest in contests.items():
        print(f"\n{table(name, contest)}", flush=True)


def save(options: argparse.Namespace, contests: Mapping[str, Contest]) -> dict[str, Any]:
    """Writes the files that were asked for, of what is measured so far; returns what is said of the machine."""
    about = machine()
    if options.json:
        told = {name: plain(contest) for name, contest in contests.items()}
        options.json.write_text(json.dumps({"machine": about, "arguments": sys.argv, "contests": told}, indent=1))
    if options.png:
        picture(options.png, f"{about['cpu']}, {about['cores']} cores", contests)
    return about


def plain(contest: Contest) -> dict[str, Any]:
    """A contest as JSON can hold it: the figures, and what the table makes of them."""
    told: dict[str, Any] = {"facts": dict(contest.facts), "skipped": dict(contest.skipped), "rounds": {}, "ratios": {}}
    for name, rows in contest.rows.items():
        told["rounds"][name] = [asdict(row) | {"warm": row.warm} for row in rows]
        told["ratios"][name] = {key: contest.ratios(name, key) for key in ("first", "warm", "whole")}
    return told


def picture(path: Path, title: str, contests: Mapping[str, Contest]) -> None:
    """Bars of the median warm ratios, with a line from the lowest to the highest round; on a logarithmic axis."""
    try:
        import matplotlib
    except ImportError:
        print("no picture: matplotlib is not installed", file=sys.stderr)
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    labels: list[str] = []
    bars: list[list[float]] = []
    for workload, contest in contests.items():
        for name in contest.rows:
            if name != OURS and contest.rows[name]:
                labels.append(f"{workload}: {name}" if len(contests) > 1 else name)
                bars.append(contest.ratios(name))
    if not bars:
        return
    middles = [median(bar) for bar in bars]
    whiskers = [
        [middle - min(bar) for middle, bar in zip(middles, bars, strict=True)],
        [max(bar) - middle for middle, bar in zip(middles, bars, strict=True)],
    ]
    figure, axes = pyplot.subplots(figsize=(9, 1.3 + 0.36 * len(bars)), layout="constrained")
    colours = ["#2a7f9e" if middle >= 1 else "#c8693b" for middle in middles]
    axes.barh(labels, [middle - 1 for middle in middles], left=1, color=colours, height=0.62)
    axes.errorbar(middles, range(len(bars)), xerr=whiskers, fmt="none", ecolor="#333333", capsize=3, linewidth=1)
    for place, (middle, bar) in enumerate(zip(middles, bars, strict=True)):
        axes.text(max(1.0, *bar) * 1.03, place, f"{middle:.2f}", va="center", fontsize=9)
    axes.axvline(1, color="#333333", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(min(0.8, *map(min, bars)) * 0.95, max(1.25, *map(max, bars)) * 1.2)
    ticks = [tick for tick in TICKS if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.minorticks_off()
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("tfloop is so many times as fast (warm epochs; median, lowest and highest round)")
    axes.set_title(title, fontsize=10)
    figure.savefig(path, dpi=150)


def sgemm() -> float:
    """GFLOP/s of this machine's matrix product, now."""
    return float(ask([sys.executable, str(HERE / "matrix_product.py")])["gflops"])


def machine() -> dict[str, Any]:
    """Where and when, and of which commit."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False)
    return {
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
        "time": time.strftime("%Y-%m-%d %H:%M:%S"),
        "load": os.getloadavg(),
    }


def cpu() -> str:
    """The processor's name, as Linux tells it."""
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        return next(
            (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
        )
