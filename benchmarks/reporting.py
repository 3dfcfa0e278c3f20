"""Reports measurements: a table, a JSON file, a plot. A ratio over 1 means that tfloop is faster by that factor."""

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

from measurement import HERE, Measurement, last_document

from tfloop_cli import hardware

OURS = "tfloop"
TICKS = (0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 1, 1.25, 1.5, 2, 3, 5, 7, 10, 20, 50, 100)  # of the plot's axis
RATES = {"first epoch": "first_epoch_rate", "warm": "warm_rate"}  # higher is better
COSTS = {"command": "total_seconds", "memory": "peak_bytes"}  # lower is better


@dataclass(frozen=True)
class Comparison:
    """The measurements of one workload.

    Attributes:
        measurements: one per round, by the name of the command. The others are compared with the first one.
        facts: the cost of the model, the machine's speed, the options that were found by search. `multiply_adds` of the
            forward pass of one example and `gflops` of a matrix product give the fraction of the latter.
        skipped: names of commands that were not measured, and why.
    """

    measurements: Mapping[str, Sequence[Measurement]]
    facts: Mapping[str, Any] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)

    def ratios(self, name: str, key: str = "warm") -> list[float]:
        """Returns by what factor the first command is better than another one, round by round.

        Args:
            name: of the other command.
            key: of `RATES` or `COSTS`.
        """
        pairs = list(zip(next(iter(self.measurements.values())), self.measurements[name], strict=True))
        if key in COSTS:
            return [getattr(theirs, COSTS[key]) / getattr(ours, COSTS[key]) for ours, theirs in pairs]
        return [getattr(ours, RATES[key]) / getattr(theirs, RATES[key]) for ours, theirs in pairs]

    def fraction_of_matrix_product(self, warm_rate: float) -> float | None:
        """Returns the arithmetic rate of training as a fraction of that of a large matrix product; None if unknown.

        The backward pass has two products for each product of the forward pass.
        """
        if not self.facts.get("multiply_adds") or not self.facts.get("gflops"):
            return None
        return warm_rate * 3 * 2 * self.facts["multiply_adds"] / (self.facts["gflops"] * 1e9)


def table(title: str, comparison: Comparison) -> str:
    """Returns a table of medians over all rounds, one row per command."""
    lines = [
        title,
        f"{'':32}{'to step 1':>10}{'epoch 1':>9}{'ratio':>7}{'warm':>11}{'ratio':>7}{'from':>6} to{'':<4}"
        f"{'command':>9}{'ratio':>7}{'memory':>10}{'of sgemm':>10}",
    ]
    for name, rounds in comparison.measurements.items():
        if not rounds:
            continue
        warm_rate = median(one.warm_rate for one in rounds)
        ratios, fraction = comparison.ratios(name), comparison.fraction_of_matrix_product(warm_rate)
        lines.append(
            f"{name:32}{median(one.startup_seconds for one in rounds):>8.1f} s"
            f"{median(one.epoch_seconds[0] for one in rounds):>7.2f} s"
            f"{median(comparison.ratios(name, 'first epoch')):>7.2f}{warm_rate:>9,.0f}/s{median(ratios):>7.2f}"
            f"{min(ratios):>6.2f} {max(ratios):<6.2f}{median(one.total_seconds for one in rounds):>7.1f} s"
            f"{median(comparison.ratios(name, 'command')):>7.2f}"
            f"{median(one.peak_bytes for one in rounds) / 2**20:>6,.0f} MiB"
            + (f"{fraction:>10.0%}" if fraction is not None else "")
        )
    facts = (
        f"{name}: {fact:,.0f}" if isinstance(fact, float) else f"{name}: {fact}"
        for name, fact in comparison.facts.items()
    )
    lines += ["; ".join(facts), *(f"skipped: {name}: {reason}" for name, reason in comparison.skipped.items())]
    return "\n".join(lines)


def argument_parser(description: str, rounds: int = 5, epochs: int = 4) -> argparse.ArgumentParser:
    """Returns a parser with the options of every benchmark that measures in rounds."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help="trainings per command")
    parser.add_argument("--epochs", type=int, default=epochs, help="of each training; the first one is not warm")
    parser.add_argument("--json", type=Path, help="write all measurements to this file")
    parser.add_argument("--png", type=Path, help="plot the ratios to this file; requires matplotlib")
    return parser


def log(text: str) -> None:
    """Prints a line to stderr."""
    print(text, file=sys.stderr, flush=True)


def print_tables(options: argparse.Namespace, comparisons: Mapping[str, Comparison]) -> None:
    """Prints one table per workload, and writes the requested files."""
    facts = save(options, comparisons)
    print(f"{facts['cpu']}, {facts['cores']} cores; medians of {options.rounds} rounds, {options.epochs} epochs each")
    print(
        "a ratio over 1 means that tfloop is faster by that factor; `from` and `to`: the lowest and the highest round"
    )
    for name, comparison in comparisons.items():
        print(f"\n{table(name, comparison)}", flush=True)


def save(options: argparse.Namespace, comparisons: Mapping[str, Comparison], **more: Any) -> dict[str, Any]:
    """Writes the requested files with all comparisons so far; returns the facts about the machine.

    Args:
        options: `json` and `png`, the paths of the files.
        comparisons: by workload.
        more: further entries of the JSON document.
    """
    facts = machine()
    if options.json:
        workloads = {name: to_mapping(comparison) for name, comparison in comparisons.items()}
        content = {"machine": facts, "arguments": sys.argv, "workloads": workloads} | more
        options.json.write_text(json.dumps(content, indent=1))
    if getattr(options, "png", None):
        plot(options.png, f"{facts['cpu']}, {facts['cores']} cores", comparisons)
    return facts


def to_mapping(comparison: Comparison) -> dict[str, Any]:
    """Returns a comparison as plain data for JSON: all measurements, and their ratios."""
    return {
        "facts": dict(comparison.facts),
        "skipped": dict(comparison.skipped),
        "rounds": {
            name: [asdict(one) | {"warm_rate": one.warm_rate} for one in rounds]
            for name, rounds in comparison.measurements.items()
        },
        "ratios": {
            name: {key: comparison.ratios(name, key) for key in (*RATES, *COSTS)} for name in comparison.measurements
        },
    }


def plot(path: Path, title: str, comparisons: Mapping[str, Comparison]) -> None:
    """Plots the median ratios of warm epochs as bars with the range of all rounds, on a logarithmic axis."""
    try:
        import matplotlib
    except ImportError:
        log("no plot: matplotlib is not installed")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    labels: list[str] = []
    bars: list[list[float]] = []
    for workload, comparison in comparisons.items():
        for name in comparison.measurements:
            if name != OURS and comparison.measurements[name]:
                labels.append(f"{workload}: {name}" if len(comparisons) > 1 else name)
                bars.append(comparison.ratios(name))
    if not bars:
        return
    medians = [median(bar) for bar in bars]
    ranges = [
        [middle - min(bar) for middle, bar in zip(medians, bars, strict=True)],
        [max(bar) - middle for middle, bar in zip(medians, bars, strict=True)],
    ]
    figure, axes = pyplot.subplots(figsize=(9, 1.3 + 0.36 * len(bars)), layout="constrained")
    colors = ["#2a7f9e" if middle >= 1 else "#c8693b" for middle in medians]
    axes.barh(labels, [middle - 1 for middle in medians], left=1, color=colors, height=0.62)
    axes.errorbar(medians, range(len(bars)), xerr=ranges, fmt="none", ecolor="#333333", capsize=3, linewidth=1)
    for row, (middle, bar) in enumerate(zip(medians, bars, strict=True)):
        axes.text(max(1.0, *bar) * 1.03, row, f"{middle:.2f}", va="center", fontsize=9)
    axes.axvline(1, color="#333333", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(min(0.8, *map(min, bars)) * 0.95, max(1.25, *map(max, bars)) * 1.2)
    ticks = [tick for tick in TICKS if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.minorticks_off()
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("speed of tfloop relative to the other (warm epochs; median and range of the rounds)")
    axes.set_title(title, fontsize=10)
    figure.savefig(path, dpi=150)


def matrix_product_gflops() -> float:
    """Measures this machine's float32 matrix product now: GFLOP/s."""
    return float(last_document([sys.executable, str(HERE / "matrix_product.py")])["gflops"])


def machine() -> dict[str, Any]:
    """Returns facts about the machine, the time and the git commit."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False)
    return {
        "cpu": hardware.cpu()[0],
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
        "time": time.strftime("%Y-%m-%d %H:%M:%S"),
        "load": os.getloadavg(),
    }
