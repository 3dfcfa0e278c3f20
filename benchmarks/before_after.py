"""Compares the speed of this checkout with another git revision of the repository on six workloads.

    python benchmarks/before_after.py REVISION [--rounds 5] [--epochs 3] [--only NAME ...] [--scale 1.0] [--json FILE]
    python benchmarks/before_after.py REVISION --check

The other revision is exported to a temporary folder, and installed in a new virtual environment with its own C++
operations. Both use the same installation of TensorFlow. Each training is a process, and the two take turns. Each side
uses the built-in config of its own revision, by name, with the same changes and the same seed. A ratio over 1 means
that the checkout is faster, or needs less memory, by that factor.

The environment must have this checkout installed: `pip install --editable .`
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from measurement import HERE, CommandError, Measurement, TrainingCommand, measure_rounds, tfloop
from reporting import COSTS, RATES, Comparison, log, machine, save
from workloads import EMPTY_CACHE, WORKLOADS, Workload

ROOT = HERE.parent
CHECKOUT = "this checkout"
CHECK = {"rounds": 1, "epochs": 2, "scale": 0.05}  # the values of `--check`
# Prints where the package is, whether the C++ operations can be used, and the versions of what both sides share. Older
# revisions have other names, or no C++ operations at all.
DESCRIBE = """
import json, tensorflow, keras, tfloop_cli
try:
    from tfloop_cli.engine.kernels import native
except ImportError:
    library, reason = None, "this revision has none"
else:
    library = str(native.LIBRARY)
    reason = (native.unavailable_reason if hasattr(native, "unavailable_reason") else native.why_not)()
print(json.dumps({
    "package": tfloop_cli.__file__, "library": library, "reason": reason,
    "versions": {module.__name__: module.__version__ for module in (tensorflow, keras)},
}))
"""


@dataclass(frozen=True)
class Side:
    """An installed revision of tfloop.

    Attributes:
        name: `CHECKOUT`, or the revision.
        python: of its environment.
        root: the folder with its sources.
    """

    name: str
    python: str
    root: Path

    def config(self, workload: Workload) -> str:
        """Returns the name of a workload's config in this revision."""
        exists = (self.root / "configs" / workload.config).exists()
        return workload.config if exists or workload.earlier is None else workload.earlier

    def describe(self) -> dict[str, object]:
        """Returns the output of `DESCRIBE`.

        Raises:
            CommandError: its Python imports another tfloop, or loads the C++ operations of another one.
        """
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [self.python, "-c", DESCRIBE], cwd=folder, capture_output=True, text=True, check=False
            )
        if done.returncode:
            raise CommandError(f"{self.name}: tfloop cannot be imported:\n{done.stderr[-2000:]}")
        facts = json.loads(done.stdout.splitlines()[-1])
        for path in filter(None, (facts["package"], facts["library"])):
            if not Path(path).resolve().is_relative_to(self.root.resolve()):
                raise CommandError(f"{self.name}: {self.python} imports {path}, which is not in {self.root}")
        return facts


def install(revision: str, folder: Path) -> Side:
    """Installs a revision in a new virtual environment, which also has the packages of the current environment.

    Args:
        revision: anything that git resolves to a commit.
        folder: an empty folder for sources and environment.

    Raises:
        CommandError: there is no such revision, or its installation failed.
    """
    commit = run("git", "-C", str(ROOT), "rev-parse", "--verify", f"{revision}^{{commit}}").strip()
    sources, archive, environment = folder / "sources", folder / "sources.tar", folder / "environment"
    sources.mkdir()
    run("git", "-C", str(ROOT), "archive", "--output", str(archive), commit)
    run("tar", "--extract", "--file", str(archive), "--directory", str(sources))
    run(sys.executable, "-m", "venv", str(environment))
    python = str(environment / "bin" / "python")
    # Editable, as this checkout is; the build compiles the C++ operations into the sources.
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--editable", str(sources))
    # Its own packages come first. Python ignores .pth files in these folders, such as the one of this checkout.
    shared = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (site_packages,) = environment.glob("lib/python*/site-packages")
    (site_packages / "zz_shared_packages.pth").write_text("".join(f"{path}\n" for path in shared))
    run(python, "-m", "compileall", "-q", str(sources / "tfloop_cli"))
    return Side(revision, python, sources)


def run(*command: str) -> str:
    """Runs a command and returns its stdout.

    Raises:
        CommandError: with its stderr.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandError(f"{' '.join(command)} ended with exit code {done.returncode}:\n{done.stderr[-4000:]}")
    return done.stdout


def describe_operations(sides: Sequence[Side], facts: Mapping[str, Mapping[str, object]]) -> str:
    """Returns a line on the C++ operations of both sides."""
    reasons = {side.name: facts[side.name]["reason"] for side in sides}
    if not any(reasons.values()):
        return "C++ operations: both sides use their own"
    each = ", ".join(f"{name}: {reason or 'available'}" for name, reason in reasons.items())
    if all(reasons.values()):
        return f"C++ operations: neither side has them ({each})"
    return f"WARNING: only one side has C++ operations ({each})"


def compare(name: str, sides: Sequence[Side], options: argparse.Namespace) -> Comparison:
    """Measures both sides on a workload, in turns."""
    workload = WORKLOADS[name]
    with tempfile.TemporaryDirectory() as folder:
        workload.write_files(options.scale, Path(folder))
        sets = workload.sets(options.scale, Path(folder))
        environment = EMPTY_CACHE if workload.files else {}
        commands: dict[str, TrainingCommand] = {
            side.name: tfloop(side.config(workload), *sets, python=side.python, environment=environment)
            for side in sides
        }
        measurements = measure_rounds(commands, options.rounds, options.epochs, lambda text: log(f"{name}: {text}"))
    if len(measurements) < len(sides):
        raise CommandError("the other revision failed, see above")
    return Comparison(measurements, {"weights": compare_weights(list(measurements.values()))})


def compare_weights(measurements: Sequence[Sequence[Measurement]]) -> str:
    """Returns whether all trainings ended with bitwise equal weights."""
    per_side = [{one.weights_sha256 for one in rounds} for rounds in measurements]
    if any(None in digests for digests in per_side):
        return "unknown"
    if any(len(digests) > 1 for digests in per_side):
        return "differ between rounds of one side"
    return "equal" if len(set.union(*per_side)) == 1 else "different"


def row(name: str, comparison: Comparison) -> str:
    """Returns the line of a workload in the table."""
    ours, theirs = comparison.measurements
    ratios = {key: comparison.ratios(theirs, key) for key in (*RATES, *COSTS)}
    warm, other_warm = (median(one.warm_rate for one in comparison.measurements[side]) for side in (ours, theirs))
    return (
        f"{name:10}{median(ratios['warm']):>7.3f} ({min(ratios['warm']):.3f} to {max(ratios['warm']):.3f})"
        f"{median(ratios['first epoch']):>13.3f}{median(ratios['command']):>10.3f}{median(ratios['memory']):>9.3f}"
        f"{warm:>13,.0f}/s{other_warm:>11,.0f}/s  {comparison.facts['weights']}"
    )


def main() -> None:
    """Installs the revision, measures both sides, and prints one row of ratios per workload."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", help="a commit, tag or branch of this repository")
    parser.add_argument("--rounds", type=int, default=5, help="trainings per side and workload")
    parser.add_argument("--epochs", type=int, default=3, help="of each training; the first one is not warm")
    parser.add_argument("--only", nargs="*", choices=list(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the number of synthetic examples")
    parser.add_argument("--json", type=Path, help="write all measurements to this file")
    shortcut = " ".join(f"--{name} {value}" for name, value in CHECK.items())
    parser.add_argument("--check", action="store_true", help=f"a short run to compare weights, as with {shortcut}")
    options = parser.parse_args()
    if options.check:
        vars(options).update(CHECK)

    comparisons: dict[str, Comparison] = {}
    with tempfile.TemporaryDirectory(prefix="before-after-") as folder:
        log(f"installing {options.revision}")
        try:
            sides = [Side(CHECKOUT, sys.executable, ROOT), install(options.revision, Path(folder))]
            facts = {side.name: side.describe() for side in sides}
        except CommandError as error:
            parser.exit(1, f"{error}\n")
        header = [f"{side.name}: {facts[side.name]['package']}" for side in sides]
        header.append(describe_operations(sides, facts))
        log("\n".join(header))
        for name in options.only:
            try:
                comparisons[name] = compare(name, sides, options)
                save(options, comparisons, sides=facts)  # so that a later failure does not lose the measurements
            except CommandError as error:
                log(f"{name} is skipped: {error}")

    about = machine()
    print("\n".join(header))
    print(f"{about['cpu']}, {about['cores']} cores; medians of {options.rounds} rounds, {options.epochs} epochs each")
    print(f"ratios over 1: the checkout is faster than {options.revision}, or needs less memory, by that factor")
    print(f"{'':10}{'warm epochs (from to)':>24}{'first epoch':>13}{'command':>10}{'memory':>9}", end="")
    print(f"{'checkout':>15}{options.revision[:12]:>13}  weights")
    for name, comparison in comparisons.items():
        print(row(name, comparison))
    if len(comparisons) < len(options.only):
        parser.exit(1, f"skipped: {', '.join(name for name in options.only if name not in comparisons)}\n")


if __name__ == "__main__":
    main()
