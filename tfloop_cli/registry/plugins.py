"""Components of the user: `--code FILE`, and installed packages with an entry point in the group `tfloop.components`.

Both are read like the built-in ones, without running them. A file is imported when one of its components is built, or
at once if its registrations cannot be read statically (in a loop, for example). Registration is `registry.py`;
parameters become config keys in `declarations.py`.
"""

import importlib.metadata
import importlib.util
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from tfloop_cli.errors import Problem, TfloopError
from tfloop_cli.registry import user_modules
from tfloop_cli.registry.declarations import read_file
from tfloop_cli.registry.importing import import_source
from tfloop_cli.registry.registry import BROKEN_PLUGINS, REGISTRIES, read_source

GROUP = "tfloop.components"


def load(
    code: Sequence[Path] = (),
    warn: Callable[[str], None] = lambda text: None,
    only: Collection[Path] | None = None,
) -> None:
    """Adds the components of installed plug-ins and of the user's files. Called before a config is read.

    A plug-in that cannot be loaded is skipped: it may have nothing to do with the command. The files of an earlier
    command in this process are forgotten.

    Args:
        code: the values of `--code`.
        warn: prints a line for each plug-in that is skipped.
        only: the files that those of `code` may import from their folders; None for all.

    Raises:
        TfloopError: with every file that cannot be read, or a name that the files register twice.
    """
    problems: list[Problem] = []
    for registry in REGISTRIES.values():
        registry.forget_code()
    read_file.cache_clear()
    user_modules.forget()
    modules = [user_modules.add_file(path, only) for path in code]  # first, since one may import another
    for path, module in zip(code, modules, strict=True):
        if problem := _add_code(path, module):
            problems.append(problem)
    if problems:
        raise TfloopError(problems=problems)
    for name, reason in _add_plugins().items():
        warn(f"the installed plug-in `{name}` is skipped: {reason}")


def _add_plugins() -> dict[str, str]:
    """Adds the components of installed plug-ins; returns name -> reason of those that cannot be loaded."""
    BROKEN_PLUGINS.clear()
    try:
        entries = list(importlib.metadata.entry_points(group=GROUP))
    except Exception as error:  # one damaged package prevents reading all of them
        BROKEN_PLUGINS["all"] = f"the installed packages cannot be read: {_text(error)}"
        entries = []
    for entry in entries:
        try:
            _add_entry_point(entry)
        except (Exception, SystemExit) as error:
            BROKEN_PLUGINS[entry.name] = _text(error)
    return BROKEN_PLUGINS


def _text(error: BaseException) -> str:
    return str(error) if isinstance(error, TfloopError) else f"{type(error).__name__}: {error}"


def _add_code(path: Path, module: str) -> Problem | None:
    label = str(path)
    if path.suffix != ".py":
        return Problem("`--code` requires a Python file (.py)", label)
    try:
        _add({module: path, **user_modules.modules_beside(module)}, module, by_path=True)
    except OSError as error:
        return Problem(f"cannot read the code: {error.strerror}", label)
    except SyntaxError as error:
        return Problem(f"not valid Python: {error.msg}", error.filename or label, error.lineno, error.offset)
    except ValueError:  # a NUL in the text
        return Problem("not a Python file", label)
    return None


def _add_entry_point(entry: importlib.metadata.EntryPoint) -> None:
    spec = importlib.util.find_spec(entry.module)  # imports the packages that contain the module, not the module
    if spec is None or spec.origin is None:
        raise TfloopError(f"there is no module `{entry.module}`")
    _add({entry.module: Path(spec.origin)}, entry.module, by_path=False)


def _add(files: Mapping[str, Path], module: str, by_path: bool) -> None:
    """Adds the components of modules (name -> file), of which `module` imports the others."""
    with_source = {name: path for name, path in files.items() if path.suffix == ".py"}  # a .pyc or .so has none
    declared = [one for name, path in with_source.items() for one in read_source(path, name, by_path)]
    for registry, declaration in declared:
        REGISTRIES[registry].add(declaration)
    if not declared:
        # The file may import other files that register components; only importing it shows.
        import_source(module, by_path)
