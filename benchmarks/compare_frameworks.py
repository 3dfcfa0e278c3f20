"""Compares tfloop with other frameworks on a small CNN (mnist.yaml); prints medians and ratios.

    python benchmarks/compare_frameworks.py [--rounds 5] [--epochs 4] [--only NAME ...] [--json FILE] [--png FILE]
    python benchmarks/compare_frameworks.py --torch /path/to/python --jax /path/to/python

Each training is a process: tfloop as its users run it, with progress bar, recorder and checkpoints, and the scripts in
this folder. All train on the same 60,000 images from the same initial weights. PyTorch (with Lightning) and JAX may be
installed in other environments, whose Python the options name; a framework that is not installed is reported as
skipped. Ratios are computed round by round, because the speed of the machine varies; the table has their medians.
"""

import sys
import tempfile
from pathlib import Path

from measurement import script, tfloop
from reporting import argument_parser, print_tables
from workloads import MEMORY_FORMATS, WORKLOADS, PreparedWorkload, add_commands, compare, prepare

BFLOAT16 = "precision=bfloat16"


def add_frameworks(prepared: PreparedWorkload, folder: Path, torch: str | None, jax: str | None) -> None:
    """Adds the commands of all frameworks that are installed."""
    prepared.commands["tfloop"] = tfloop(prepared.config, *prepared.sets)
    prepared.commands["tfloop, bfloat16"] = tfloop(prepared.config, *prepared.sets, BFLOAT16)
    prepared.commands["eager loop, tutorial"] = script("gradient_tape_loop.py", *prepared.arguments, "--eager")
    prepared.commands["tf.function loop"] = script("gradient_tape_loop.py", *prepared.arguments)
    prepared.commands["keras fit, tutorial"] = prepared.keras("--tutorial", tuned=False)
    add_commands(WORKLOADS["mnist"], prepared, folder, torch)
    prepared.commands["keras fit, tuned, bfloat16"] = prepared.keras("--set", BFLOAT16)
    for suffix, flags in MEMORY_FORMATS.items():
        name, options = f"pytorch, bfloat16{suffix}", ("--bfloat16", *flags)
        prepared.add(name, torch, "torch_loop.py", *options, requires=("torch", "numpy"))
    for suffix, flags in MEMORY_FORMATS.items():
        requires = ("torch", "lightning", "numpy")
        prepared.add(f"lightning{suffix}", torch, "lightning_fit.py", *flags, requires=requires)
    prepared.add("jax, lax.scan", jax, "jax_scan.py", requires=("jax", "optax", "numpy"))


def main() -> None:
    """Measures all frameworks and prints a table."""
    parser = argument_parser(__doc__ or "")
    parser.add_argument("--only", nargs="*", help="names of rows in the table; tfloop is always measured")
    parser.add_argument("--torch", default=sys.executable, help="path of a Python with torch")
    parser.add_argument("--jax", default=sys.executable, help="path of a Python with jax and optax")
    parser.add_argument("--search", type=float, default=1.0, metavar="SECONDS", help="per trial of the search for fit")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(WORKLOADS["mnist"], Path(folder), search=options.search)
        add_frameworks(prepared, Path(folder), options.torch, options.jax)
        if options.only is not None:
            if unknown := set(options.only) - set(prepared.commands):
                parser.error(f"unknown: {', '.join(sorted(unknown))}; available: {', '.join(prepared.commands)}")
            selected = {"tfloop", *options.only}
            prepared.commands = {name: one for name, one in prepared.commands.items() if name in selected}
        comparisons = {"mnist": compare(prepared, options.rounds, options.epochs)}
    print_tables(options, comparisons)


if __name__ == "__main__":
    main()
