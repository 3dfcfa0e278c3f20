"""Components from outside: `--code FILE`, and installed packages with an entry point of the group `tfloop.components`.

Both are read like our own, without running them; a file runs when one of its components is built, or at once if its
registrations cannot be read (made in a loop, say).
"""

import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tfloop_cli.errors import Problem, TfloopError
from tfloop_cli.registry import REGISTRIES, import_source, read_source
from tfloop_cli.rundir import disk_faults, write_atomic

GROUP = "tfloop.components"


def load(code: Sequence[Path] = ()) -> None:
    """Makes the components of installed plugins and of the user's files known. Call it before a config is read.

    Args:
        code: the values of `--code`.

    Raises:
        TfloopError: with every file that cannot be read, or a name that is registered twice.
    """
    problems: list[Problem] = []
    for path in code:
        if problem := _add_code(path):
            problems.append(problem)
    if problems:
        raise TfloopError(problems=problems)
    for entry in importlib.metadata.entry_points(group=GROUP):
        _add_entry_point(entry)


def copy_code(code: Iterable[Path], folder: Path) -> dict[str, str]:
    """Keeps the user's files with a run.

    Args:
        code: the values of `--code`.
        folder: the run's folder for them; made if there is anything to keep.

    Returns:
        file name in `folder` -> its sha256, in the order of `code`.
    """
    copies: dict[str, str] = {}
    for path in code:
        name = path.name if path.name not in copies else f"{path.stem}-{len(copies) + 1}.py"
        content = path.read_bytes()
        with disk_faults(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(folder / name, content)
        copies[name] = hashlib.sha256(content).hexdigest()
    return copies


def kept_code(folder: Path, copies: Mapping[str, str]) -> list[Path]:
    """The files that `copy_code` kept, for `load`, once the user has said `--trust-code`.

    Raises:
        TfloopError: a file is not what the run used.
    """
    paths = []
    for name, sha256 in copies.items():
        path = folder / Path(name).name  # a manifest must not reach out of its folder
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            raise TfloopError(
                f"`{path}` is not the code that the run was made with", hint="give a file of your own by `--code FILE`"
            )
        paths.append(path)
    return paths


def _add_code(path: Path) -> Problem | None:
    label = str(path)
    if path.suffix != ".py":
        return Problem("`--code` takes a Python file (.py)", label)
    module = f"tfloop_code_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    try:
        _add(path, module, by_path=True)
    except OSError as error:
        return Problem(f"cannot read the code: {error.strerror}", label)
    except SyntaxError as error:
        return Problem(f"not valid Python: {error.msg}", label, error.lineno, error.offset)
    except ValueError:  # a NUL among the text
        return Problem("not a Python file", label)
    return None


def _add_entry_point(entry: importlib.metadata.EntryPoint) -> None:
    try:
        spec = importlib.util.find_spec(entry.module)  # imports the packages around the module, not itself
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise TfloopError(f"the installed plugin `{entry.name}` names the module `{entry.module}`, which is not there")
    _add(Path(spec.origin), entry.module, by_path=False)


def _add(path: Path, module: str, by_path: bool) -> None:
    declared = read_source(path, module, by_path)
    for registry, declaration in declared:
        if registry in REGISTRIES:
            REGISTRIES[registry].add(declaration)
    if not declared:
        # It may import others that register; running it is the only way to know.
        import_source(module, path, by_path)
