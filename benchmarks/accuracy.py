"""Test accuracy of the tutorial's net over seeds, tfloop beside `keras fit`; both train on all 60,000 images.

python benchmarks/accuracy.py [--seeds 5] [--epochs 5]
"""

import argparse
import statistics

from measurement import script, tfloop


def main() -> None:
    """Trains both with each seed, and prints the scores and their means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()

    contenders = {"tfloop": tfloop("mnist.yaml"), "keras fit": script("keras_fit.py", "mnist.yaml")}
    scores: dict[str, list[float]] = {name: [] for name in contenders}
    for seed in range(options.seeds):
        for name, contender in contenders.items():
            scores[name].append(contender.run(options.epochs, seed).metrics["accuracy"])
        print(f"seed {seed}: tfloop {scores['tfloop'][-1]:.4f}, keras fit {scores['keras fit'][-1]:.4f}", flush=True)
    for name, values in scores.items():
        print(f"{name:10} mean {statistics.mean(values):.4f}, from {min(values):.4f} to {max(values):.4f}")


if __name__ == "__main__":
    main()
