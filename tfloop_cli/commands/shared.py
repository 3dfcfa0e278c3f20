"""What several commands share: hints for unknown options, completion, error handling, loading.

As in `cli.py`, imports are inside of functions if only some commands need them.
"""

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.lean_import import lean_import
from tfloop_cli.terminal.console import Console

if TYPE_CHECKING:
    from tfloop_cli.config.data_paths import Layers
    from tfloop_cli.config.loading import Resolved
    from tfloop_cli.config.schema import Config
    from tfloop_cli.runs.start import TrainOptions

SETTINGS: dict[str, Any] = {  # of each group of commands
    "no_args_is_help": True,
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,  # rich would double the time of --help
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
EXAMPLES = "\n\nExamples:\n"  # in a docstring


class Command(TyperCommand):
    """A command that answers an unknown option with the `--set` that does it, or with the nearest option.

    The lines of `Examples:` at the end of its docstring stay lines in `--help`.
    """

    def __init__(self, *args: Any, help: str | None = None, **others: Any) -> None:
        super().__init__(*args, help=help and help.replace(EXAMPLES, f"\n\n\b{EXAMPLES[1:]}"), **others)

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


def complete(kind: str) -> Callable[[typer.Context, str], list[str]]:
    """Returns a function that completes a value; the candidates are in `commands/completion.py`."""

    def candidates(ctx: typer.Context, incomplete: str) -> list[str]:
        from tfloop_cli.commands import completion

        if kind == "components":
            return completion.components(incomplete, ctx.params.get("kind"))
        found: list[str] = getattr(completion, kind)(incomplete)
        return found

    return candidates


@contextmanager
def error_handling(console: Console) -> Iterator[None]:
    """A context that turns every exception into its message and its exit code.

    An exception in user code is shown with the user's frames, then with those of the libraries that they called. With
    `verbose`, the whole traceback follows. `sys.exit()` in user code is such an exception too.
    """
    try:
        yield
    except typer.Exit:
        raise
    except (Exception, SystemExit) as error:
        from tfloop_cli.files import disk_error
        from tfloop_cli.memory import out_of_memory
        from tfloop_cli.user_code import bug, user_error, user_traceback

        if isinstance(error, SystemExit) and error.code == ExitCode.CLOSED_PIPE:
            raise
        shown = out_of_memory(error) or user_error(error)
        if shown is None and isinstance(error, OSError) and error.filename:
            shown = disk_error(error)
        elif shown is None and isinstance(error, FileNotFoundError):  # of `os.getcwd`, the only one without a name
            shown = TfloopError("the current folder has been removed", hint="change to another folder")
        shown = shown or bug(error)
        console.error(shown)
        if not isinstance(error, TfloopError) and shown.code in (ExitCode.USER_CODE, ExitCode.BUG):
            if trace := user_traceback(error):
                console.info(f"\nwith the libraries that user code called:\n{trace}")
            if console.verbose:
                console.info("\nthe whole traceback:\n" + "".join(traceback.format_exception(error)).rstrip())
        raise typer.Exit(shown.code) from None
    except KeyboardInterrupt:  # before training, or in a command that has nothing to save
        console.info("stopped")
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def with_data(
    arguments: list[str], configs: list[str], dataset: str | None, target: str | None, sets: list[str]
) -> "Layers":
    """Returns what arguments, each a config or data, and the options on data mean; see `data_arguments.layers`."""
    from tfloop_cli.config.data_paths import Layers, is_data

    if dataset or target or any(map(is_data, arguments)):
        from tfloop_cli.commands import data_arguments  # it loads pyarrow

        return data_arguments.layers(arguments, configs, dataset, target, sets)
    return Layers([*arguments, *configs], sets)


def resolve(
    console: Console, configs: list[str], sets: list[str], unsets: list[str], code: list[Path],
    flags: Mapping[str, str | None], only: list[Path] | None = None,
) -> "Resolved":  # fmt: skip
    """Returns the validated config of files and options; prints which built-in config is used.

    A flag is a shortcut for `--set`; None if it was not given. `only` are the files that `code` may import, see
    `plugins.load`.
    """
    from tfloop_cli.config import loading, precedence
    from tfloop_cli.registry import plugins

    if not configs and not sets:
        names = ", ".join(precedence.shipped_names())
        raise TfloopError("no config is given", hint=f"use `--config FILE`, or a built-in one: {names}")
    with console.quiet_stderr():  # code that cannot be read statically is imported, and may load TensorFlow
        plugins.load(code, console.warn, only)
    given = {key: value for key, value in flags.items() if value is not None}
    resolved = loading.load(configs, sets=sets, unsets=unsets, flags=given, stdin=sys.stdin)
    for note in resolved.notes:
        console.info(note)
    return resolved


@contextmanager
def loading_tensorflow(console: Console, offline: bool, verbose: bool) -> Iterator[None]:
    """A context to import TensorFlow in: sets its environment variables, and silences it."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0" if verbose else "3"
    if offline:
        os.environ["TFLOOP_OFFLINE"] = "1"
    with console.status("loading TensorFlow"), console.quiet_stderr(), lean_import():
        yield


def start_training(
    console: Console, config: "Config", options: "TrainOptions", offline: bool, verbose: bool, report: bool = False
) -> None:
    """Loads TensorFlow, trains, with `report` writes the report of the run, and exits with the code of the run."""
    from tfloop_cli.tracking.children import require_packages, start_early

    require_packages(config.tracking)
    start_early(config.tracking, options.code)
    with loading_tensorflow(console, offline, verbose):
        from tfloop_cli.commands import train as command

        if report:
            from tfloop_cli.commands.report_at_end import ReportAtEnd

            options = replace(options, consumers=(*options.consumers, ReportAtEnd(console, bool(options.code))))
    raise typer.Exit(command.train(config, options, console))
