"""Imports the modules of components: built-in ones, those of installed plug-ins, and `--code` files."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.user_code import user_error


def import_source(module: str, file: Path, by_path: bool) -> ModuleType:
    """Imports a module by its name, or a `--code` file by its path.

    Raises:
        TfloopError: a `--code` file raised an exception; the message has its line (exit code 7). Or the module of an
            installed plug-in cannot be imported (exit code 7).
    """
    if not by_path:
        return _import_installed(module)
    if module in sys.modules:
        return sys.modules[module]
    spec = importlib.util.spec_from_file_location(module, file)
    if spec is None or spec.loader is None:
        raise TfloopError(f"`{file}` cannot be imported")
    imported = sys.modules[module] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(imported)
    except Exception as error:
        del sys.modules[module]
        if isinstance(error, TfloopError) or (shown := user_error(error)) is None:
            raise
        raise shown from error
    return imported


def _import_installed(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:
        if isinstance(error, TfloopError) or module.startswith(("tfloop_cli.", "keras.")):
            raise
        message = f"the module `{module}` of a plug-in cannot be imported: {type(error).__name__}: {error}"
        raise TfloopError(message, code=ExitCode.USER_CODE) from error
