"""tfloop beside its peers on the tutorial's net, in turn on this machine; prints medians and ratios.

    python benchmarks/compare_frameworks.py [--rounds 5] [--epochs 4] [--only NAME ...] [--json FILE] [--png FILE]
    python benchmarks/compare_frameworks.py --torch /path/to/python --jax /path/to/python

Every contender is a process of its own: tfloop as its users run it, with display, recorder and checkpoints, and the
scripts beside this one; all train on the same 60,000 images from the same first weights. PyTorch (with Lightning, where
it has that) and JAX may have environments of their own, whose Python the options name; what is not installed is left
out, with a word. A ratio is taken round by round, since the machine's speed drifts, and its median printed.
"""

import sys
import tempfile
from pathlib import Path

from measurement import script, tfloop
from reporting import arguments, finish
from workloads import LAYOUTS, WORKLOADS, Ready, contenders, contest, prepare

BFLOAT16 = "precision=bfloat16"


def everyone(ready: Ready, folder: Path, torch: str | None, jax: str | None) -> None:
    """All that can run here, by name."""
    ready.found["tfloop"] = tfloop(ready.config, *ready.sets)
    ready.found["tfloop, bfloat16"] = tfloop(ready.config, *ready.sets, BFLOAT16)
    ready.found["eager loop, tutorial"] = script("gradient_tape_loop.py", *ready.told, "--eager")
    ready.found["tf.function loop"] = script("gradient_tape_loop.py", *ready.told)
    ready.found["keras fit, tutorial"] = ready.keras("--tutorial", tuned=False)
    contenders(WORKLOADS["mnist"], ready, folder, torch)
    ready.found["keras fit, tuned, bfloat16"] = ready.keras("--set", BFLOAT16)
    for layout, flags in LAYOUTS.items():
        ready.add(f"pytorch, bfloat16{layout}", torch, "torch_loop.py", "--bfloat16", *flags, needs=("torch", "numpy"))
    for layout, flags in LAYOUTS.items():
        needs = ("torch", "lightning", "numpy")
        ready.add(f"lightning{layout}", torch, "lightning_fit.py", *flags, needs=needs)
    ready.add("jax, lax.scan", jax, "jax_scan.py", needs=("jax", "optax", "numpy"))


def main() -> None:
    """Measures all in turn and prints the table."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", nargs="*", help="names of contenders; tfloop always runs")
    parser.add_argument("--torch", default=sys.executable, help="a Python that has torch")
    parser.add_argument("--jax", default=sys.executable, help="a Python that has jax and optax")
    parser.add_argument("--search", type=float, default=1.0, metavar="SECONDS", help="for each trial of keras fit")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        ready = prepare(WORKLOADS["mnist"], Path(folder), search=options.search)
        everyone(ready, Path(folder), options.torch, options.jax)
        if options.only is not None:
            if unknown := set(options.only) - set(ready.found):
                parser.error(f"{', '.join(sorted(unknown))}: not among {', '.join(ready.found)}")
            ready.found = {name: one for name, one in ready.found.items() if name in ("tfloop", *options.only)}
        contests = {"mnist": contest(ready, options.rounds, options.epochs)}
    finish(options, contests)


if __name__ == "__main__":
    main()
