"""Imports `--code` files, and the modules beside them, without changing `sys.path`.

Each folder with such a file becomes a package with a generated name, `tfloop_code_1f2e3d4c`, and its files are the
modules of that. In these modules, `import helper` means the `helper.py` beside the `--code` file, as in a script. The
imports of all other modules are not affected, and two runs in one process do not share modules.
"""

import ast
import builtins
import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

PREFIX = "tfloop_code_"
_FOLDERS: dict[str, "_Folder"] = {}  # by the name of the package


class _Folder:
    """A folder with `--code` files.

    Args:
        path: without symbolic links.
        package: the generated name of the package.
        only: the files that may be imported; None for all.

    Attributes:
        entries: name of a module in the package -> a `--code` file, as it was typed.
    """

    def __init__(self, path: Path, package: str, only: Collection[Path] | None) -> None:
        self.path, self.package = path, package
        self.entries: dict[str, Path] = {}
        self._only = None if only is None else {one.resolve() for one in only}
        self._provides: dict[str, bool] = {}
        self.builtins = {**vars(builtins), "__import__": self._import}

    def locate(self, name: str) -> Path | None:
        """Returns the file of a module, or the folder of a package without `__init__.py`; None if there is none.

        Args:
            name: of the module, dotted, without that of the package.
        """
        if name in self.entries:
            return self.entries[name]
        folder = self.path.joinpath(*name.split("."))
        for file in (folder / "__init__.py", folder.parent / f"{folder.name}.py"):
            if file.is_file() and (self._only is None or file.resolve() in self._only):
                return file
        found = folder.rglob("*.py") if folder.is_dir() and self._only is None else self._only or ()
        return folder if any(file.is_relative_to(folder) for file in found) else None

    def provides(self, name: str) -> bool:
        """Whether `import name` in these modules means a module beside them. An installed package comes first only

        - if it is tfloop itself,
        - if the module is the `--code` file, such as a `keras.py` that imports Keras,
        - if the module is a folder without `__init__.py`, as everywhere in Python.
        """
        if name not in self._provides:
            file = None if name == "tfloop_cli" else self.locate(name)
            comes_last = name in self.entries or (file is not None and file.is_dir())
            self._provides[name] = file is not None and not (comes_last and self._is_installed(name))
        return self._provides[name]

    def _is_installed(self, name: str) -> bool:
        """Whether there is a module or a package with `__init__.py` of that name elsewhere."""
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            return False
        # The current folder, which may be this one, is in `sys.path` with `python -m`.
        if spec is None or spec.origin is None:
            return False
        return not spec.has_location or not Path(spec.origin).resolve().is_relative_to(self.path)

    def _import(
        self,
        name: str,
        globals_: Mapping[str, object] | None = None,
        locals_: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Replaces `__import__` in the modules of this folder."""
        top = name.partition(".")[0]
        if level or not self.provides(top):
            return builtins.__import__(name, globals_, locals_, fromlist or (), level)
        module = builtins.__import__(f"{self.package}.{name}", globals_, locals_, fromlist or (), 0)
        return module if fromlist else sys.modules[f"{self.package}.{top}"]


class _Loader(SourceFileLoader):
    """Loads a module from its source: a file in `__pycache__` may be of other source."""

    def get_code(self, fullname: str) -> Any:
        return self.source_to_code(self.get_data(self.path), self.path)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = _FOLDERS[module.__name__.partition(".")[0]].builtins
        super().exec_module(module)


class _Finder:
    """Finds the packages of `_FOLDERS` and their modules."""

    @staticmethod
    def find_spec(fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        folder = _FOLDERS.get(package)
        if folder is None:
            return None
        file = folder.locate(name) if name else folder.path
        if file is None:  # not left to other finders: they would find files that may not be imported
            raise ModuleNotFoundError(f"No module named {name!r}", name=fullname)
        if file.is_dir():
            spec: ModuleSpec | None = ModuleSpec(fullname, None, is_package=True)
            locations = [str(file)]
        else:
            locations = [str(file.parent)] if file.name == "__init__.py" and name not in folder.entries else []
            loader = _Loader(fullname, str(file.absolute()))
            spec = importlib.util.spec_from_file_location(fullname, file, loader=loader)
        if spec is not None and locations:
            spec.submodule_search_locations = locations
        return spec


def add_file(path: Path, only: Collection[Path] | None = None) -> str:
    """Returns the name under which a `--code` file can be imported.

    Args:
        path: the file.
        only: the files that may be imported from its folder; None for all.
    """
    if not any(finder is _Finder for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder)
    parent = path.resolve().parent
    package = PREFIX + hashlib.sha256(str(parent).encode()).hexdigest()[:8]
    folder = _FOLDERS.setdefault(package, _Folder(parent, package, only))
    name = re.sub(r"\W", "_", path.stem)
    while folder.entries.get(name, path) != path:  # `my-net.py` and `my_net.py`
        name += "_"
    folder.entries[name] = path
    return f"{package}.{name}"


def forget() -> None:
    """Forgets all `--code` files and their modules, so that the next command of this process reads them again."""
    for name in [name for name in sys.modules if name.startswith(PREFIX)]:
        del sys.modules[name]
    _FOLDERS.clear()


def modules_beside(module: str) -> dict[str, Path]:
    """Returns the modules beside a `--code` file that it imports, directly or not: name of a module -> its file.

    Args:
        module: the name of the file, see `add_file`. Its import statements are read, also those in functions; modules
            that were imported in another way are found after that.
    """
    package, _, entry = module.partition(".")
    folder = _FOLDERS[package]
    found: dict[str, Path] = {}
    names = [entry, *(name.removeprefix(f"{package}.") for name in sys.modules if name.startswith(f"{package}."))]
    while names:
        name = names.pop()
        file = folder.locate(name)
        if name in found or file is None:
            continue
        found[name] = file
        if file.is_file():
            names += _imports(file, name, folder)
    files = {name: file for name, file in found.items() if name not in folder.entries and file.is_file()}
    return {f"{package}.{name}": file for name, file in sorted(files.items())}


def _imports(file: Path, name: str, folder: _Folder) -> Iterator[str]:
    """Yields the modules of the folder that a file may import, without the name of the package."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):  # importing it raises a better error
        return
    parents = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = parents[: len(parents) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            wanted = [base, *(f"{base}.{alias.name}".lstrip(".") for alias in node.names)]
        else:
            continue
        relative = isinstance(node, ast.ImportFrom) and node.level > 0
        for one in filter(None, wanted):
            parts = one.split(".")
            if relative or folder.provides(parts[0]):
                yield from (".".join(parts[: length + 1]) for length in range(len(parts)))
