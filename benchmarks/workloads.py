"""tfloop beside `keras fit` as an expert tunes it, and beside PyTorch, on six workloads.

    python benchmarks/workloads.py [--only NAME ...] [--rounds 5] [--scale 1.0] [--json FILE] [--png FILE]
    python benchmarks/workloads.py --only resnet --torch /path/to/python

Each is a shipped config: `tfloop train` takes it as it is, the others get the same data, model, batch size, optimizer
and schedule. `images` are JPEG and PNG files that are made here, and tfloop may not hold them in memory; PyTorch, which
has no decoder, is given their pixels in memory. How many steps a call of `fit` takes, and whether XLA compiles them, is
searched beforehand; that time is not counted.
`GLIBC_TUNABLES=glibc.malloc.hugetlb=1` before the command gives everyone the pages that tfloop takes for itself.
"""

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measurement import HERE, Contender, FailedError, ask, in_turn, installed, script, tfloop
from reporting import Contest, arguments, finish, save, sgemm

LAYOUTS = {"": (), ", channels last": ("--channels-last",)}


@dataclass(frozen=True)
class Workload:
    """A shipped config, cut to a size that can be measured.

    Attributes:
        config: its name.
        examples: to train on; None where the data is what it is.
        images: whether PyTorch has two layouts to choose from.
        files: whether the examples are picture files.
        untuned: whether `keras fit` runs as it comes too.
    """

    config: str
    examples: int | None = None
    images: bool = True
    files: bool = False
    untuned: bool = False

    def sets(self, scale: float, folder: Path) -> list[str]:
        """What the config is told besides what it says."""
        if self.files:
            return [f"dataset.path={folder / 'pictures'}", "dataset.in_memory=never"]
        return [f"dataset.train_examples={self.sized(scale)}"] if self.examples else []

    def sized(self, scale: float) -> int:
        """Examples to train on."""
        return max(1, round((self.examples or 0) * scale))


WORKLOADS = {
    "mnist": Workload("mnist.yaml"),
    "tabular": Workload("tabular.yaml", 200_000, images=False, untuned=True),
    "resnet": Workload("resnet.yaml", 4_096),
    "vit": Workload("vit.yaml", 4_096),
    "text": Workload("text.yaml", 32_768, images=False),
    "images": Workload("images.yaml", 8_000, files=True),
}


@dataclass
class Ready:
    """A workload whose files are written.

    Attributes:
        config, sets: what everyone is told.
        arrays: what `export_workload.py` wrote.
        facts: see `Contest`.
        tuned: options of `keras_fit.py` that the search chose.
        found, skipped: contenders, and why others are not among them.
    """

    config: str
    sets: list[str]
    arrays: Path
    facts: dict[str, Any] = field(default_factory=dict)
    tuned: list[str] = field(default_factory=list)
    found: dict[str, Contender] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def told(self) -> list[str]:
        """The config and its changes, for a script beside this one."""
        return [self.config, *(part for one in self.sets for part in ("--set", one))]

    def keras(self, *options: str, tuned: bool = True) -> Contender:
        """`keras_fit.py` on it."""
        return script("keras_fit.py", *self.told, *options, *(self.tuned if tuned else ()))

    def add(self, name: str, python: str | None, file: str, *options: str, needs: tuple[str, ...]) -> None:
        """A contender that has an environment of its own, if it is there."""
        if why := installed(python, *needs):
            self.skipped[name] = why
        else:
            self.found[name] = script(file, str(self.arrays), *options, python=str(python))

    def add_torch(self, python: str | None, layouts: Mapping[str, tuple[str, ...]]) -> None:
        """PyTorch as it comes and compiled, each in these layouts."""
        for how, flags in {"pytorch": (), "pytorch, compiled": ("--compiled",)}.items():
            for layout, more in layouts.items():
                self.add(f"{how}{layout}", python, "torch_loop.py", *flags, *more, needs=("torch", "numpy"))


def prepare(workload: Workload, folder: Path, scale: float = 1.0, search: float = 1.0) -> Ready:
    """Writes what the contenders need, and finds out how `fit` is best run."""
    ready = Ready(workload.config, workload.sets(scale, folder), folder / "arrays.npz")
    export = [sys.executable, str(HERE / "export_workload.py")]
    if workload.files:
        ask([*export, "--pictures", str(folder / "pictures"), "--count", str(workload.sized(scale))])
    cost = ask([*export, *ready.told, "--arrays", str(ready.arrays)])
    choice = ask([*ready.keras(tuned=False).command, "--search", str(search)])
    ready.tuned = ["--steps-per-execution", str(choice["steps_per_execution"]), *(["--jit"] if choice["jit"] else [])]
    parts = {key: cost[key] for key in ("parameters", "multiply_adds")}
    ready.facts = parts | {"keras fit, tuned": " ".join(ready.tuned)}
    return ready


def contenders(workload: Workload, ready: Ready, folder: Path, torch: str | None) -> None:
    """Those of every workload."""
    if workload.files:
        # A path that is not absolute lies in the folder of the process, which is new each time.
        ready.found["tfloop"] = tfloop(ready.config, *ready.sets, environment={"TFLOOP_CACHE": "cache"})
        kept = tfloop(ready.config, *ready.sets, environment={"TFLOOP_CACHE": str(folder / "cache")})
        kept.run(epochs=1)
        ready.found["tfloop, decoded before"] = kept
    else:
        ready.found["tfloop"] = tfloop(ready.config, *ready.sets)
    ready.found["keras fit, tuned"] = ready.keras()
    if workload.untuned:
        ready.found["keras fit"] = ready.keras(tuned=False)
    ready.add_torch(torch, LAYOUTS if workload.images else {"": ()})


def contest(ready: Ready, rounds: int, epochs: int) -> Contest:
    """Measures all in turn; the machine's matrix product before and after."""
    before = sgemm()
    rows = in_turn(ready.found, rounds, epochs, lambda text: print(text, file=sys.stderr, flush=True))
    missing = {name: "it failed" for name in ready.found if name not in rows}
    return Contest(rows, ready.facts | {"gflops": max(before, sgemm())}, ready.skipped | missing)


def main() -> None:
    """Measures each workload and prints a table of it."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", nargs="*", choices=list(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--scale", type=float, default=1.0, help="a factor on the numbers of made-up examples")
    parser.add_argument("--search", type=float, default=1.0, metavar="SECONDS", help="for each trial of keras fit")
    parser.add_argument("--torch", default=sys.executable, help="a Python that has torch")
    options = parser.parse_args()

    contests: dict[str, Contest] = {}
    for name in options.only:
        print(f"{name}: loading_tensorflow", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            try:
                ready = prepare(WORKLOADS[name], Path(folder), options.scale, options.search)
                contenders(WORKLOADS[name], ready, Path(folder), options.torch)
                contests[name] = contest(ready, options.rounds, options.epochs)
                save(options, contests)  # an hour's work must not hang on the last one
            except FailedError as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
    finish(options, contests)


if __name__ == "__main__":
    main()
