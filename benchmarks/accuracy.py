"""Compares the test accuracy of tfloop and `keras fit` over several seeds, for a small CNN on 60,000 MNIST images.

python benchmarks/accuracy.py [--seeds 5] [--epochs 5]
"""

import argparse
import statistics

from measurement import script, tfloop


def main() -> None:
    """Trains both with each seed, and prints each accuracy and the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()

    commands = {"tfloop": tfloop("mnist.yaml"), "keras fit": script("keras_fit.py", "mnist.yaml")}
    accuracies: dict[str, list[float]] = {name: [] for name in commands}
    for seed in range(options.seeds):
        for name, command in commands.items():
            accuracies[name].append(command.run(options.epochs, seed).metrics["accuracy"])
        last = ", ".join(f"{name} {values[-1]:.4f}" for name, values in accuracies.items())
        print(f"seed {seed}: {last}", flush=True)
    for name, values in accuracies.items():
        print(f"{name:10} mean {statistics.mean(values):.4f}, from {min(values):.4f} to {max(values):.4f}")


if __name__ == "__main__":
    main()
