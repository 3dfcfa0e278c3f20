"""Measures how tfloop and a tuned `keras fit` scale with the dataset and with the model.

    python benchmarks/scaling.py [--rounds 3] [--epochs 3] [--examples 7500] [--json FILE] [--png FILE]

The model is a small CNN (mnist.yaml) on synthetic images of 28x28 pixels: 1, 2, 4 and 8 times the examples, then 8, 16,
32 and 64 filters with twice the examples. The fastest `steps_per_execution` of `fit` is searched again for each model.
"""

from statistics import median

from measurement import TrainingCommand, measure_rounds, script, tfloop
from reporting import OURS, Comparison, argument_parser, log, print_tables, save
from workloads import search_fit_options

CONFIG, BASELINE = "mnist.yaml", "keras fit, tuned"
FACTORS, FILTERS, DEFAULT_FILTERS = (1, 2, 4, 8), (8, 16, 32, 64), 32


def config_changes(examples: int, filters: int) -> list[str]:
    """Returns the changes to the config, as arguments of `--set`."""
    data = f"dataset={{name: synthetic, shape: [28, 28, 1], train_examples: {examples}, test_examples: 1000}}"
    return [data, f"model.filters=[{filters}]"]


def commands(examples: int, filters: int, tuned: list[str]) -> dict[str, TrainingCommand]:
    """Returns the two commands for one size."""
    changes = config_changes(examples, filters)
    flags = [part for one in changes for part in ("--set", one)]
    return {OURS: tfloop(CONFIG, *changes), BASELINE: script("keras_fit.py", CONFIG, *flags, *tuned)}


def main() -> None:
    """Measures each size, prints one table per size, and then one with a row per size."""
    parser = argument_parser(__doc__ or "", rounds=3, epochs=3)
    parser.add_argument("--examples", type=int, default=7_500, help="size of the smallest dataset")
    parser.add_argument("--search", type=float, default=1.0, metavar="SECONDS", help="per trial of the search for fit")
    options = parser.parse_args()

    tuned = {
        filters: search_fit_options(commands(2 * options.examples, filters, [])[BASELINE], options.search)
        for filters in FILTERS
    }
    sizes = [(factor * options.examples, DEFAULT_FILTERS) for factor in FACTORS]
    sizes += [(2 * options.examples, filters) for filters in FILTERS if filters != DEFAULT_FILTERS]
    comparisons: dict[str, Comparison] = {}
    for examples, filters in sizes:
        name = f"{examples:,} examples, {filters} filters"
        log(name)
        measurements = measure_rounds(commands(examples, filters, tuned[filters]), options.rounds, options.epochs, log)
        comparisons[name] = Comparison(measurements, {BASELINE: " ".join(tuned[filters])})
        save(options, comparisons)
    print_tables(options, comparisons)
    print(f"\n{'warm epochs':32}{OURS:>23}{BASELINE:>23}{'ratio':>8}")
    for name, comparison in comparisons.items():
        cells = ""
        for rounds in comparison.measurements.values():
            seconds = median(median(one.epoch_seconds[1:]) for one in rounds)
            cells += f"{seconds:>9.2f} s{median(one.warm_rate for one in rounds):>10,.0f}/s"
        print(f"{name:32}{cells}{median(comparison.ratios(BASELINE)):>8.2f}")


if __name__ == "__main__":
    main()
