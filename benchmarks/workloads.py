"""Compares tfloop with a tuned `keras fit` and with PyTorch on six workloads.

    python benchmarks/workloads.py [--only NAME ...] [--rounds 5] [--scale 1.0] [--json FILE] [--png FILE]
    python benchmarks/workloads.py --only resnet --torch /path/to/python

Each workload is a built-in config, which `tfloop train` runs unchanged, but for the model and the optimizer of
`images`; the others use the same data, model, batch size, optimizer and schedule. The workload `images` consists of
JPEG and PNG files, which are generated first, and which tfloop may not hold in memory. PyTorch, which has no decoder,
gets their pixels in memory. The fastest
`steps_per_execution` for `fit`, with or without XLA, is found by a search first, whose time is not counted.

tfloop enables huge pages for itself. Set GLIBC_TUNABLES=glibc.malloc.hugetlb=1 to enable them for all commands.
"""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measurement import (
    HERE,
    CommandError,
    TrainingCommand,
    last_document,
    measure_rounds,
    script,
    tfloop,
    unavailable_reason,
)
from reporting import Comparison, argument_parser, log, matrix_product_gflops, print_tables, save

MEMORY_FORMATS = {"": (), ", channels last": ("--channels-last",)}
SMALL_CNN = [  # for the workload `images`: a model that PyTorch has too, instead of that of images.yaml
    "dataset.size=[32,32]",
    "model={name: conv_net, filters: [32, 64, 128], pool_every: 1, batch_norm: true, dropout: 0.3}",
    "task.label_smoothing=0.0",
    "batch_size=64",
    "optimizer={name: adam, learning_rate: 0.001}",
    "schedule=constant",
    "warmup_steps=0",
    "augment=[flip, {name: affine, degrees: 10, zoom: 0.1, shift: 0.1}]",
]
EMPTY_CACHE = {"TFLOOP_CACHE": "cache"}  # a relative path is in the folder of the process, which is new each time


@dataclass(frozen=True)
class Workload:
    """A built-in config, with a dataset of a suitable size.

    Attributes:
        config: its name.
        examples: number of training examples; None for the dataset's own.
        images: whether PyTorch is measured with both memory formats.
        files: whether the examples are image files.
        untuned: whether `keras fit` is also measured with its defaults.
        earlier: the config's name in revisions that do not have it.
    """

    config: str
    examples: int | None = None
    images: bool = True
    files: bool = False
    untuned: bool = False
    earlier: str | None = None

    def sets(self, scale: float, folder: Path) -> list[str]:
        """Returns the changes to the config, as arguments of `--set`."""
        if self.files:
            return [f"dataset.path={folder / 'images'}", "dataset.in_memory=never", *SMALL_CNN]
        return [f"dataset.train_examples={self.scaled_examples(scale)}"] if self.examples else []

    def scaled_examples(self, scale: float) -> int:
        """Returns the number of training examples."""
        return max(1, round((self.examples or 0) * scale))

    def write_files(self, scale: float, folder: Path) -> None:
        """Writes the image files of the workload, if it has some."""
        if self.files:
            images = ["--images", str(folder / "images"), "--count", str(self.scaled_examples(scale))]
            last_document([sys.executable, str(HERE / "export_workload.py"), *images])


WORKLOADS = {
    "mnist": Workload("mnist.yaml"),
    "tabular": Workload("tabular.yaml", 200_000, images=False, untuned=True),
    "resnet": Workload("resnet.yaml", 4_096),
    "vit": Workload("vit.yaml", 4_096),
    "text": Workload("text_embeddings.yaml", 32_768, images=False, earlier="text.yaml"),
    "images": Workload("images.yaml", 8_000, files=True),
}


@dataclass
class PreparedWorkload:
    """A workload whose files are written, and the commands that train it.

    Attributes:
        config, sets: the config and its changes, for all commands.
        arrays: the file that `export_workload.py` wrote.
        facts: see `Comparison`.
        tuned: options of `keras_fit.py` that the search found.
        commands: by name.
        skipped: names of commands that cannot run, and why.
    """

    config: str
    sets: list[str]
    arrays: Path
    facts: dict[str, Any] = field(default_factory=dict)
    tuned: list[str] = field(default_factory=list)
    commands: dict[str, TrainingCommand] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def arguments(self) -> list[str]:
        """The config and its changes, as arguments of a script in this folder."""
        return [self.config, *(part for one in self.sets for part in ("--set", one))]

    def keras(self, *options: str, tuned: bool = True) -> TrainingCommand:
        """Returns the command of `keras_fit.py`."""
        return script("keras_fit.py", *self.arguments, *options, *(self.tuned if tuned else ()))

    def add(self, name: str, python: str | None, file: str, *options: str, requires: Sequence[str]) -> None:
        """Adds a script with its own Python environment, if that has the required modules."""
        if reason := unavailable_reason(python, *requires):
            self.skipped[name] = reason
        else:
            self.commands[name] = script(file, str(self.arrays), *options, python=str(python))

    def add_torch(self, python: str | None, memory_formats: Mapping[str, Sequence[str]]) -> None:
        """Adds PyTorch with and without compilation, in each of the memory formats."""
        for variant, flags in {"pytorch": (), "pytorch, compiled": ("--compiled",)}.items():
            for suffix, more in memory_formats.items():
                name = f"{variant}{suffix}"
                self.add(name, python, "torch_loop.py", *flags, *more, requires=("torch", "numpy"))


def prepare(workload: Workload, folder: Path, scale: float = 1.0, search: float = 1.0) -> PreparedWorkload:
    """Writes the files that the commands need, and searches the fastest options of `fit`."""
    prepared = PreparedWorkload(workload.config, workload.sets(scale, folder), folder / "arrays.npz")
    workload.write_files(scale, folder)
    export = [sys.executable, str(HERE / "export_workload.py"), *prepared.arguments, "--arrays", str(prepared.arrays)]
    cost = last_document(export)
    prepared.tuned = search_fit_options(prepared.keras(tuned=False), search)
    prepared.facts = {key: cost[key] for key in ("parameters", "multiply_adds")}
    prepared.facts["keras fit, tuned"] = " ".join(prepared.tuned)
    return prepared


def search_fit_options(command: TrainingCommand, seconds: float) -> list[str]:
    """Returns the fastest options of a command of `keras_fit.py`; each is tried for some seconds."""
    choice = last_document([*command.command, "--search", str(seconds)])
    jit_compile = ["--jit-compile"] if choice["jit_compile"] else []
    return ["--steps-per-execution", str(choice["steps_per_execution"]), *jit_compile]


def add_commands(workload: Workload, prepared: PreparedWorkload, folder: Path, torch: str | None) -> None:
    """Adds the commands that every workload has."""
    if workload.files:
        prepared.commands["tfloop"] = tfloop(prepared.config, *prepared.sets, environment=EMPTY_CACHE)
        filled_cache = {"TFLOOP_CACHE": str(folder / "cache")}
        cached = tfloop(prepared.config, *prepared.sets, environment=filled_cache)
        cached.run(epochs=1)
        prepared.commands["tfloop, images in cache"] = cached
    else:
        prepared.commands["tfloop"] = tfloop(prepared.config, *prepared.sets)
    prepared.commands["keras fit, tuned"] = prepared.keras()
    if workload.untuned:
        prepared.commands["keras fit, untuned"] = prepared.keras(tuned=False)
    prepared.add_torch(torch, MEMORY_FORMATS if workload.images else {"": ()})


def compare(prepared: PreparedWorkload, rounds: int, epochs: int) -> Comparison:
    """Measures all commands, and the machine's matrix product before and after them."""
    gflops = matrix_product_gflops()
    measurements = measure_rounds(prepared.commands, rounds, epochs, log)
    failed = {name: "the command failed" for name in prepared.commands if name not in measurements}
    facts = prepared.facts | {"gflops": max(gflops, matrix_product_gflops())}
    return Comparison(measurements, facts, prepared.skipped | failed)


def main() -> None:
    """Measures the workloads and prints one table per workload."""
    parser = argument_parser(__doc__ or "")
    parser.add_argument("--only", nargs="*", choices=list(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the number of synthetic examples")
    parser.add_argument("--search", type=float, default=1.0, metavar="SECONDS", help="per trial of the search for fit")
    parser.add_argument("--torch", default=sys.executable, help="path of a Python with torch")
    options = parser.parse_args()

    comparisons: dict[str, Comparison] = {}
    for name in options.only:
        log(f"{name}: preparing")
        with tempfile.TemporaryDirectory() as folder:
            try:
                prepared = prepare(WORKLOADS[name], Path(folder), options.scale, options.search)
                add_commands(WORKLOADS[name], prepared, Path(folder), options.torch)
                comparisons[name] = compare(prepared, options.rounds, options.epochs)
                save(options, comparisons)  # so that a later failure does not lose the measurements
            except CommandError as error:
                log(f"{name} is skipped: {error}")
    print_tables(options, comparisons)


if __name__ == "__main__":
    main()
