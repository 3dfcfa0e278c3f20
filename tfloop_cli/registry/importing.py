"""Imports the modules of components: built-in ones, those of installed plug-ins, and `--code` files."""

import importlib
from types import ModuleType

from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.user_code import user_error


def import_source(module: str, by_path: bool) -> ModuleType:
    """Imports a module by its name; that of a `--code` file, or of a module beside it, is generated.

    Raises:
        TfloopError: a `--code` file raised an exception; the message has its line (exit code 7). Or the module of an
            installed plug-in cannot be imported (exit code 7).
    """
    if not by_path:
        return _import_installed(module)
    try:
        return importlib.import_module(module)
    except Exception as error:
        if isinstance(error, TfloopError) or (shown := user_error(error)) is None:
            raise
        raise shown from error


def _import_installed(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:
        if isinstance(error, TfloopError) or module.startswith(("tfloop_cli.", "keras.")):
            raise
        message = f"the module `{module}` of a plug-in cannot be imported: {type(error).__name__}: {error}"
        raise TfloopError(message, code=ExitCode.USER_CODE) from error
