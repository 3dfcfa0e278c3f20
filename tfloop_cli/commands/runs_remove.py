"""`tfloop runs rm`: removes run folders, after asking."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tfloop_cli.errors import TfloopError
from tfloop_cli.runs import folder
from tfloop_cli.runs.checkpoints import is_checkpoint
from tfloop_cli.runs.columns import folder_bytes
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.runs.records import find_record
from tfloop_cli.runs.removal import remove_leftovers, remove_run, require_removable
from tfloop_cli.terminal.cells import printable
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.tables import byte_size


def remove(names: Sequence[str], runs_dir: Path, yes: bool, console: Console) -> None:
    """Removes runs and prints what was freed. Nothing is removed if one of them must not be.

    Raises:
        TfloopError: see `require_removable`; stdin is no terminal; or the answer is no (exit code 2).
    """
    found = {run.path.resolve(): run for run in (_find(name, runs_dir) for name in names)}
    runs = list(found.values())
    require_removable(runs, [runs_dir])
    sizes = [folder_bytes(str(run)) for run in runs]
    lines = [f"{printable(str(run))}  {byte_size(count)}" for run, count in zip(runs, sizes, strict=True)]
    if not yes:
        _ask(lines, sum(sizes), console)
    removed = []
    for run, count, line in zip(runs, sizes, lines, strict=True):
        remove_run(run)
        removed.append({"run": str(run), "bytes": count})
        console.result(f"removed {line}")
    remove_leftovers({path.parent for path in found})
    if console.json:
        console.document({"event": "removed", "runs": removed, "bytes": sum(sizes)})
    elif len(runs) > 1:
        console.result(f"{len(runs)} runs, {byte_size(sum(sizes))} freed")


def _find(name: str, runs_dir: Path) -> RunFolder:
    for path in (Path(name), runs_dir / name):
        if is_checkpoint(path):
            raise TfloopError(f"{path} is a checkpoint", hint=f"its run is {folder.run_of(path)}")
    return find_record(name, runs_dir).run


def _ask(lines: Sequence[str], total: int, console: Console) -> None:
    """Asks on the terminal; raises TfloopError (exit code 2) if there is none, or if the answer is not yes."""
    if not is_terminal() or console.json:
        raise TfloopError(
            "`tfloop runs rm` asks before it removes anything", hint="pass `--yes` to remove without asking"
        )
    for line in lines:
        console.info(line)
    what = "this run" if len(lines) == 1 else f"these {len(lines)} runs"
    console.stderr.write(f"Remove {what} ({byte_size(total)})? [y/N] ")
    console.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise TfloopError("nothing was removed")


def is_terminal() -> bool:
    """Whether stdin is a terminal, so that a question can be answered."""
    return sys.stdin.isatty()
