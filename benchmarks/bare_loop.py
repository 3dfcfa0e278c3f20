"""tfloop's loop with nobody who listens: no screen, no recorder, no checkpoint. Prints JSON documents.

python benchmarks/bare_loop.py mnist.yaml --epochs 3 [--set KEY=VALUE ...]
"""

import argparse
import os

import plain

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tfloop_cli.configfile import load
from tfloop_cli.engine import runtime
from tfloop_cli.engine.data import build_data
from tfloop_cli.engine.evaluation import Evaluator
from tfloop_cli.engine.judge import Judge
from tfloop_cli.engine.loop import fit
from tfloop_cli.engine.state import TrainState
from tfloop_cli.events import EpochDone
from tfloop_cli.registry import models, tasks


def main() -> None:
    """What `tfloop train` does, without the consumers of its events."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    changes = ["validation=0", *options.set, f"epochs={options.epochs}", f"seed={options.seed}"]
    config = runtime.setup(load([options.config], sets=changes).config)
    data = build_data(config)
    task = tasks.build(config.task, data.spec)
    steps = config.epochs * data.steps_per_epoch
    state = TrainState.create(models.build(config.model, data.spec), task, data.spec, config, steps)
    for event in fit(state, data, task, Judge(task, config), config):
        if isinstance(event, EpochDone):
            rate = event.examples_per_second
            plain.tell("epoch", train_seconds=event.train_seconds, validation_seconds=0.0, examples_per_second=rate)
    test = Evaluator(state, data, task).run("test", stop=lambda: False)
    plain.tell("evaluation", split="test", metrics=dict(test.metrics))


if __name__ == "__main__":
    main()
