"""Measures the seconds of commands that should respond immediately: `--help`, a wrong config, a list.

python benchmarks/startup.py [--runs 11]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WRONG_CONFIG = "dataset: mnist\nmodel: {name: conv_nett, filters: 32}\nepochs: ten\n"


def main() -> None:
    """Runs each command several times and prints the median and the range."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=11)
    options = parser.parse_args()

    tfloop = str(Path(sys.executable).parent / "tfloop")
    with tempfile.TemporaryDirectory() as folder:
        wrong = Path(folder) / "wrong.yaml"
        wrong.write_text(WRONG_CONFIG)
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "tfloop --help": [tfloop, "--help"],
            "tfloop train --help": [tfloop, "train", "--help"],
            "tfloop train, wrong config": [tfloop, "train", "--config", str(wrong)],
            "tfloop list models": [tfloop, "list", "models"],
        }
        for name, command in commands.items():
            seconds = []
            for _ in range(options.runs + 1):
                started = time.perf_counter()
                subprocess.run(command, capture_output=True, check=False)
                seconds.append(time.perf_counter() - started)
            warm = seconds[1:]  # the first run fills the disk cache
            print(f"{name:28} median {statistics.median(warm):.3f} s, from {min(warm):.3f} to {max(warm):.3f}")


if __name__ == "__main__":
    main()
