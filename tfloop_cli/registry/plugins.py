"""Components of the user: `--code FILE`, and installed packages with an entry point in the group `tfloop.components`.

Both are read like the built-in ones, without running them. A file is imported when one of its components is built, or
at once if its registrations cannot be read statically (in a loop, for example). Registration is `registry.py`;
parameters become config keys in `declarations.py`.
"""

import importlib.metadata
import importlib.util
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from tfloop_cli.errors import Problem, TfloopError
from tfloop_cli.registry import user_modules
from tfloop_cli.registry.declarations import read_file
from tfloop_cli.registry.registry import REGISTRIES, import_source, read_source

GROUP = "tfloop.components"


def load(code: Sequence[Path] = (), only: Collection[Path] | None = None) -> None:
    """Adds the components of installed plug-ins and of the user's files. Called before a config is read.

    The files of an earlier command in this process are forgotten.

    Args:
        code: the values of `--code`.
        only: the files that they may import from their folders; None for all.

    Raises:
        TfloopError: with every file that cannot be read, or a name that is registered twice.
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
    for entry in importlib.metadata.entry_points(group=GROUP):
        _add_entry_point(entry)


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
    try:
        spec = importlib.util.find_spec(entry.module)  # imports the packages that contain the module, not the module
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise TfloopError(f"the installed plug-in `{entry.name}` refers to the module `{entry.module}`: not found")
    _add({entry.module: Path(spec.origin)}, entry.module, by_path=False)


def _add(files: Mapping[str, Path], module: str, by_path: bool) -> None:
    """Adds the components of modules (name -> file), of which `module` imports the others."""
    declared = [one for name, path in files.items() for one in read_source(path, name, by_path)]
    for registry, declaration in declared:
        REGISTRIES[registry].add(declaration)
    if not declared:
        # The file may import other files that register components; only importing it shows.
        import_source(module, by_path)
