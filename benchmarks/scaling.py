"""How tfloop and a tuned `keras fit` grow with the data and with the model.

    python benchmarks/scaling.py [--rounds 3] [--epochs 3] [--examples 7500] [--json FILE] [--png FILE]

The tutorial's net on made-up images of 28x28 pixels: 1, 2, 4 and 8 times the data, then 8, 16, 32 and 64 filters on
twice the data. How many steps a call of `fit` takes is searched for each model anew.
"""

import sys
from statistics import median

from measurement import Contender, ask, in_turn, script, tfloop
from reporting import OURS, Contest, arguments, finish, save

CONFIG, THEIRS = "mnist.yaml", "keras fit, tuned"
TIMES, FILTERS, USUAL = (1, 2, 4, 8), (8, 16, 32, 64), 32


def sets(examples: int, filters: int) -> list[str]:
    """The config's changes."""
    data = f"dataset={{name: synthetic, shape: [28, 28, 1], train_examples: {examples}, test_examples: 1000}}"
    return [data, f"model.filters=[{filters}]"]


def pair(examples: int, filters: int, tuned: list[str]) -> dict[str, Contender]:
    """Both contenders on one size."""
    changes = sets(examples, filters)
    flags = [part for one in changes for part in ("--set", one)]
    return {OURS: tfloop(CONFIG, *changes), THEIRS: script("keras_fit.py", CONFIG, *flags, *tuned)}


def tune(examples: int, filters: int, seconds: float) -> list[str]:
    """How `fit` is best run on a model."""
    choice = ask([*pair(examples, filters, [])[THEIRS].command, "--search", str(seconds)])
    return ["--steps-per-execution", str(choice["steps_per_execution"]), *(["--jit"] if choice["jit"] else [])]


def main() -> None:
    """Measures each size and prints a table of it, then one of all."""
    parser = arguments(__doc__ or "", rounds=3, epochs=3)
    parser.add_argument("--examples", type=int, default=7_500, help="once the data")
    parser.add_argument("--search", type=float, default=1.0, metavar="SECONDS", help="for each trial of keras fit")
    options = parser.parse_args()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    tuned = {filters: tune(2 * options.examples, filters, options.search) for filters in FILTERS}
    sizes = [(times * options.examples, USUAL) for times in TIMES]
    sizes += [(2 * options.examples, filters) for filters in FILTERS if filters != USUAL]
    contests: dict[str, Contest] = {}
    for examples, filters in sizes:
        name = f"{examples:,} examples, {filters} filters"
        say(name)
        rows = in_turn(pair(examples, filters, tuned[filters]), options.rounds, options.epochs, say)
        contests[name] = Contest(rows, {THEIRS: " ".join(tuned[filters])})
        save(options, contests)
    finish(options, contests)
    print(f"\n{'warm epochs':32}{OURS:>23}{THEIRS:>23}{'ratio':>8}")
    for name, contest in contests.items():
        cells = ""
        for rows in contest.rows.values():
            seconds, rate = median(median(row.epochs[1:]) for row in rows), median(row.warm for row in rows)
            cells += f"{seconds:>9.2f} s{rate:>10,.0f}/s"
        print(f"{name:32}{cells}{median(contest.ratios(THEIRS)):>8.2f}")


if __name__ == "__main__":
    main()
