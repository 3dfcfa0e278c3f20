"""How long the warm-up of the learning rate is with `warmup_steps: auto`."""

from tfloop_cli.config.schema import Config

LONGEST, FRACTION = 100, 5  # steps, and the part of the run: a fifth


def warmup_steps_of(config: Config, total_steps: int) -> int:
    """Returns the steps of the warm-up; with "auto" a fifth of the run, rounded down, but at most 100.

    Few images have few steps per epoch: a fixed number could outlast the run.
    """
    return min(LONGEST, total_steps // FRACTION) if config.warmup_steps == "auto" else config.warmup_steps
