"""What is printed about a resumed run when its checkpoint is restored."""

from tfloop_cli.config.schema import Config
from tfloop_cli.runs.checkpoints import Checkpoint
from tfloop_cli.runs.resume import resume_warnings
from tfloop_cli.runs.start import TrainOptions
from tfloop_cli.terminal.console import Console


def announce_resume(
    options: TrainOptions, config: Config, checkpoint: Checkpoint, finished: bool, steps_per_epoch: int,
    fingerprint: str, console: Console,
) -> Config:  # fmt: skip
    """Prints what happens to a resumed run, and what may make its result differ from an uninterrupted run.

    Args:
        options: the run, and the user's code.
        config: of this command.
        checkpoint: the restored one.
        finished: whether nothing is left to train.
        steps_per_epoch: training batches in one epoch.
        fingerprint: the data's fingerprint.
        console: prints.

    Returns:
        The config; `epochs` is at least the number of epochs that are completed.
    """
    step, epochs = checkpoint.manifest["step"], checkpoint.manifest["epoch"]
    if step > config.epochs * steps_per_epoch:
        console.warn(
            f"{options.resume} has trained {step:,} steps, more than the {config.epochs * steps_per_epoch:,} of "
            f"`epochs: {config.epochs}`; it is finished, and its result is that of all its steps"
        )
    elif finished and epochs < config.epochs:
        console.info(f"{options.resume} is finished: early stopping has ended it after {epochs} epochs")
    elif finished:
        console.info(f"{options.resume} is finished; `--epochs N` trains more epochs")
    else:
        console.info(f"resuming {options.resume} from {checkpoint.path.name}")
    for line in resume_warnings(checkpoint.manifest, options.code, fingerprint):
        console.warn(line)
    return config.model_copy(update={"epochs": max(epochs, config.epochs)})
