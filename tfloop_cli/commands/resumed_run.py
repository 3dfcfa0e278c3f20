"""What is printed about a resumed run when its checkpoint is restored."""

from tfloop_cli.config.schema import Config
from tfloop_cli.runs.checkpoints import Checkpoint
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.terminal.console import Console


def announce_resume(run: RunFolder, config: Config, checkpoint: Checkpoint, finished: bool, console: Console) -> Config:
    """Prints whether the run is trained further, in one line.

    Args:
        run: the run.
        config: of this command.
        checkpoint: the restored one.
        finished: whether nothing is left to train.
        console: prints the line, as a warning if `epochs` is less than what is trained.

    Returns:
        The config; `epochs` is at least the number of epochs that are completed.
    """
    step, epochs = checkpoint.manifest["step"], checkpoint.manifest["epoch"]
    if checkpoint.is_beyond(config.epochs):
        console.warn(
            f"{run} has trained {step:,} steps, more than `epochs: {config.epochs}` asks for; it is finished, and its "
            "result is that of all its steps"
        )
    elif finished and epochs < config.epochs:
        console.info(f"{run} is finished: early stopping has ended it after {epochs} epochs")
    elif finished:
        console.info(f"{run} is finished; `--epochs N` trains more epochs")
    else:
        console.info(f"resuming {run} from {checkpoint.path.name}")
    return config.model_copy(update={"epochs": max(epochs, config.epochs)})
