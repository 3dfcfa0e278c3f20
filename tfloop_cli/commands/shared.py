"""What several commands share: options with completion, hints for unknown options, error handling, loading.

As in `cli.py`, imports are inside of functions if only some commands need them.
"""

import gc
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.terminal.console import CLOSED_PIPE, Console

if TYPE_CHECKING:
    from tfloop_cli.config.loading import Resolved


class Command(TyperCommand):
    """A command that answers an unknown option with the `--set` that does it, or with the nearest option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        json = "--json" in args
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            option = getattr(error, "option_name", None)  # of NoSuchOption, which Typer does not export
            if option and hasattr(error, "possibilities"):
                from tfloop_cli.config.suggestions import option_hint

                known = [name for parameter in self.params for name in parameter.opts if name.startswith("--")]
                if hint := option_hint(option, known):
                    error.message, error.possibilities = f"No such option: {option}; {hint}", None  # type: ignore[attr-defined]
            if json and hasattr(error, "format_message"):  # not the end of `--help`
                Console(json=True).error_document(TfloopError(error.format_message()))
            raise


def complete(kind: str) -> Callable[[str], list[str]]:
    """Returns a function that completes a value; the candidates are in `commands/completion.py`."""

    def candidates(incomplete: str) -> list[str]:
        from tfloop_cli.commands import completion

        found: list[str] = getattr(completion, kind)(incomplete)
        return found

    return candidates


def shortcut(assignment: str, text: str = "", kind: str = "") -> Any:
    """Returns the option for a shortcut of `--set`.

    Args:
        assignment: what it sets, with a placeholder for the value: "epochs=N".
        text: added to its help.
        kind: the kind of candidates for completion, if any.
    """
    help_ = f"Shortcut for --set {assignment}{':' if text else '.'}{text}"
    return typer.Option(
        metavar=assignment.partition("=")[2], help=help_, autocompletion=complete(kind) if kind else None
    )


ConfigArguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CONFIG",
        help="Config files or built-in configs; the same as --config.",
        autocompletion=complete("configs"),
        show_default=False,
    ),
]
Configs = Annotated[
    list[str],
    typer.Option(
        "--config", "-c", metavar="FILE", autocompletion=complete("configs"),
        help="A YAML file, - for stdin, or a built-in config; can be repeated, later ones take precedence.",
    ),
]  # fmt: skip
Sets = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="KEY=VALUE", autocompletion=complete("assignments"),
        help="Change one key: --set optimizer.learning_rate=3e-4.",
    ),
]  # fmt: skip
Unsets = Annotated[
    list[str],
    typer.Option(
        "--unset", metavar="KEY", autocompletion=complete("keys"), help="Remove a key: --unset model.dropout."
    ),
]
Code = Annotated[
    list[Path],
    typer.Option("--code", metavar="FILE", help="A Python file that registers your own models, datasets, tasks, ..."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON documents, one per line, to stdout and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only warnings, errors and results.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show TensorFlow's own messages too.")]
Offline = Annotated[bool, typer.Option("--offline", help="Do not use the network; use only prepared datasets.")]
FailUnder = Annotated[
    list[str], typer.Option(metavar="METRIC=X", help="Exit with 3 if the metric is under X: accuracy=0.97.")
]
FailOver = Annotated[list[str], typer.Option(metavar="METRIC=X", help="Exit with 3 if the metric is over X: loss=0.2.")]


@contextmanager
def error_handling(console: Console) -> Iterator[None]:
    """A context that turns every exception into its message and its exit code.

    An exception in user code is shown with the user's frames first, then with the whole traceback.
    """
    try:
        yield
    except typer.Exit:
        raise
    except (Exception, SystemExit) as error:
        from tfloop_cli.files import disk_error
        from tfloop_cli.memory import out_of_memory
        from tfloop_cli.user_code import bug, user_error

        if isinstance(error, SystemExit) and error.code == CLOSED_PIPE:
            raise
        shown = out_of_memory(error) or user_error(error)
        if shown is None and isinstance(error, OSError) and error.filename:
            shown = disk_error(error)
        shown = shown or bug(error)
        console.error(shown)
        if shown.code == ExitCode.USER_CODE and not isinstance(error, TfloopError):
            console.info("\nthe whole traceback:\n" + "".join(traceback.format_exception(error)).rstrip())
        raise typer.Exit(shown.code) from None
    except KeyboardInterrupt:  # before training, or in a command that has nothing to save
        console.info("stopped")
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def resolve(
    console: Console, configs: list[str], sets: list[str], unsets: list[str], code: list[Path], flags: dict[str, str]
) -> "Resolved":
    """Returns the validated config of files and options; prints which built-in config is used."""
    from tfloop_cli.config import loading, precedence
    from tfloop_cli.registry import plugins

    if not configs and not sets:
        names = ", ".join(precedence.shipped_names())
        raise TfloopError("no config is given", hint=f"use `--config FILE`, or a built-in one: {names}")
    with console.quiet_stderr():  # code that cannot be read statically is imported, and may load TensorFlow
        plugins.load(code, console.warn)
    resolved = loading.load(configs, sets=sets, unsets=unsets, flags=flags, stdin=sys.stdin)
    for note in resolved.notes:
        console.info(note)
    return resolved


@contextmanager
def loading_tensorflow(console: Console, offline: bool, verbose: bool) -> Iterator[None]:
    """A context to import TensorFlow in: sets its environment variables, and silences it.

    The import creates half a million objects that stay. Garbage collection is disabled during the import, because it
    would traverse all of them several times, and once more, for a quarter of a second, during training.
    """
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0" if verbose else "3"
    if offline:
        os.environ["TFLOOP_OFFLINE"] = "1"
    gc.disable()
    try:
        with console.status("loading TensorFlow"), console.quiet_stderr():
            yield
    finally:
        gc.freeze()
        gc.enable()
