"""What is printed about a resumed run when its checkpoint is restored."""

from collections.abc import Sequence

from tfloop_cli.config.on_resume import Difference
from tfloop_cli.config.schema import Config
from tfloop_cli.registry.argument_types import OnResume
from tfloop_cli.runs.checkpoints import Checkpoint
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.runs.resume import short
from tfloop_cli.terminal.console import Console

_EFFECTS = {
    OnResume.FREE: "completed steps are not affected",
    OnResume.CHANGES_REST: "it holds for the rest of the run",
}


def announce_resume(
    run: RunFolder,
    config: Config,
    checkpoint: Checkpoint,
    changes: Sequence[Difference],
    consequences: Sequence[str],
    finished: bool,
    console: Console,
) -> None:
    """Prints what is changed, and whether the run is trained further, in one line.

    Args:
        run: the run.
        config: of this command.
        checkpoint: the restored one.
        changes: what differs from the config of the run.
        consequences: what they change in the restored state, one line each.
        finished: whether nothing is left to train; then the run is evaluated again.
        console: prints.
    """
    for one in changes:
        console.note(f"{_described(one)}: {_EFFECTS[one.policy]}")
    for line in consequences:
        console.warn(line)
    if finished:
        _announce_finished(run, config, checkpoint, console)
    else:
        console.info(f"resuming {run} from {checkpoint.path.name}")


def announce_result(
    run: RunFolder, config: Config, checkpoint: Checkpoint, changes: Sequence[Difference], console: Console
) -> None:
    """Prints that a run is finished, before its result, and that changed keys have no effect; see `announce_resume`."""
    for one in changes:
        if one.key.startswith("dataset."):
            console.note(f"{_described(one)}: evaluations of the run use it")
        elif one.key not in ("epochs", "max_steps"):  # the line below is about these
            console.note(f"{_described(one)}: it has no effect, since nothing is left to train")
    _announce_finished(run, config, checkpoint, console)


def _announce_finished(run: RunFolder, config: Config, checkpoint: Checkpoint, console: Console) -> None:
    step, epochs = checkpoint.manifest["step"], checkpoint.manifest["epoch"]
    if checkpoint.is_beyond(config.epochs):
        console.warn(
            f"{run} has trained {step:,} steps, more than `epochs: {config.epochs}` asks for; it is finished, and its "
            "result is that of all its steps"
        )
    elif epochs < config.epochs:
        console.info(f"{run} is finished already: early stopping has ended it after {epochs} epochs")
    else:
        more = "`--epochs N` and `--set max_steps=N` train" if config.max_steps else "`--epochs N` trains"
        console.info(f"{run} is finished already; {more} more epochs")


def _described(one: Difference) -> str:
    return f"`{one.key}` changes from {short(one.before)} to {short(one.now)}"
