"""Components by name: models, datasets, tasks, optimizers, schedules, augmentations.

    @models.register("conv_net")
    def conv_net(spec: DataSpec, *, filters: list[PositiveInt] = [32]) -> keras.Model:
        '''Convolutions, then one dense layer.'''

What is registered, and with which arguments, is read from the source (see `declarations`); the module is imported when
its component is built, and not before.
"""

import copy
import difflib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Protocol, TypeVar

from tfloop_cli.declarations import Declaration, UnreadableError, read_file, read_object
from tfloop_cli.errors import Problem, TfloopError
from tfloop_cli.libraries import KerasOptimizers, TfdsDatasets

Builder = TypeVar("Builder", bound=Callable[..., Any])
_PACKAGE = Path(__file__).parent


@dataclass(frozen=True)
class Component:
    """A name and its arguments, as a config holds them.

    Attributes:
        name: as the config says it.
        arguments: read-only; out of a resolved config every argument is there, defaults too.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "arguments", MappingProxyType(copy.deepcopy(dict(self.arguments))))

    def __reduce__(self) -> tuple[type["Component"], tuple[str, dict[str, Any]]]:
        return Component, (self.name, dict(self.arguments))  # a mapping proxy can be neither pickled nor copied


class Library(Protocol):
    """Components that another package brings along."""

    def names(self) -> list[str]:
        """All of them, sorted."""
        ...

    def find(self, name: str, given: Mapping[str, Any]) -> Declaration | None:
        """The one of that name; `given` are a config's arguments for it."""
        ...


class Registry:
    """Every component of one kind.

    Args:
        kind: what one of them is called ("model").
        plural: what `tfloop list` and the instance below are called.
        place: the file or folder of our own ones, relative to the package.
        library: others that are known by name.
    """

    def __init__(self, kind: str, plural: str, place: str, library: Library | None = None) -> None:
        self.kind = kind
        self.plural = plural
        self._place = _PACKAGE / place
        self._library = library
        self._added: dict[str, Declaration] = {}
        self._builders: dict[str, Callable[..., Any]] = {}

    def register(self, name: str) -> Callable[[Builder], Builder]:
        """Makes a function or class a component; its keyword-only parameters become config keys."""

        def keep(builder: Builder) -> Builder:
            known = self._find(name)
            file = getattr(sys.modules.get(builder.__module__), "__file__", None)
            if known is None or not _same_place(known, file, builder.__qualname__):
                self.add(read_object(name, builder, by_path=known.by_path if known else False))
            self._builders[name] = builder
            return builder

        return keep

    def add(self, declaration: Declaration) -> None:
        """Takes in a component of a `--code` file or a plugin; a name that is taken already is an error."""
        known = self._find(declaration.name)
        if known is not None and (known.file, known.line) != (declaration.file, declaration.line):
            raise TfloopError(_twice(self.kind, known, declaration), hint="give one of them another name")
        if any(one.name == "name" for one in declaration.parameters):
            raise TfloopError(f"{declaration.place}: no argument of a component can be called `name`")
        self._added[declaration.name] = declaration

    def names(self) -> list[str]:
        """All that can be listed, sorted (the datasets of TFDS are too many: `suggestions` has them)."""
        library = self._library.names() if self._library else []
        return sorted({*(one.name for one in self._shipped(None)), *self._added, *library})

    def suggestions(self) -> list[str]:
        """Every name to choose the nearest from."""
        return self.names()

    def declarations(self) -> list[Declaration]:
        """All of `names`, read from source."""
        return [self.declaration(name) for name in self.names()]

    def declaration(self, name: str, given: Mapping[str, Any] | None = None) -> Declaration:
        """What is known of a component.

        Args:
            name: as a config says it.
            given: the config's arguments; TFDS looks into their `data_dir`.

        Raises:
            TfloopError: there is none of that name; names the nearest.
        """
        found = self._find(name, given)
        if found is None:
            raise TfloopError(f"unknown {self.kind} `{name}`", hint=self._hint(name))
        return found

    def build(self, component: Component, *args: Any, **kwargs: Any) -> Any:
        """Imports the module that declares the component and calls its builder.

        `args` and `kwargs` are what the program gives (a data spec, the number of steps); a keyword given here wins
        over the component's own argument, as a schedule does over a plain learning rate.
        """
        declaration = self.declaration(component.name, component.arguments)
        arguments = {
            **declaration.defaults(),
            **copy.deepcopy(dict(component.arguments)),
            **declaration.bound,
            **kwargs,
        }
        return self._builder(declaration)(*args, **arguments)

    def _builder(self, declaration: Declaration) -> Callable[..., Any]:
        if declaration.name not in self._builders:
            module = import_source(declaration.module, Path(declaration.file), declaration.by_path)
            if declaration.name not in self._builders:  # a class of a library, which registers nothing
                self._builders[declaration.name] = getattr(module, declaration.qualname)
        return self._builders[declaration.name]

    def _find(self, name: str, given: Mapping[str, Any] | None = None) -> Declaration | None:
        if name in self._added:
            return self._added[name]
        own = [one for one in self._shipped(name) if one.name == name]
        if len(own) > 1:
            raise TfloopError(_twice(self.kind, own[0], own[1]))
        if own:
            return own[0]
        # An import above may have added what its source did not tell.
        return self._added.get(name) or (self._library.find(name, given or {}) if self._library else None)

    def _shipped(self, name: str | None) -> list[Declaration]:
        """Our own components, in those files only that may declare `name` (None: in all)."""
        files = sorted(self._place.glob("*.py")) if self._place.is_dir() else [self._place]
        wanted = f'register("{name or ""}'.encode()
        found: list[Declaration] = []
        for file in files:
            if file.is_file() and wanted in file.read_bytes():
                module = ".".join(file.relative_to(_PACKAGE.parent).with_suffix("").parts)
                found += [one for registry, one in read_source(file, module) if registry == self.plural]
        return found

    def _hint(self, name: str) -> str:
        nearest = difflib.get_close_matches(name, self.suggestions(), n=3)
        guess = f"did you mean {' or '.join(f'`{one}`' for one in nearest)}? " if nearest else ""
        return f"{guess}`tfloop list {self.plural}` shows all; one of your own needs `--code FILE`"


class Datasets(Registry):
    """Our own datasets, and any name that TensorFlow Datasets knows or that is prepared in `data_dir`.

    The arguments of such a name are those of our dataset `tfds`, whose `builder` the name itself gives.
    """

    _tfds = TfdsDatasets()

    def suggestions(self) -> list[str]:
        """Ours, and TFDS's hundreds."""
        return sorted({*self.names(), *self._tfds.names()})

    def _find(self, name: str, given: Mapping[str, Any] | None = None) -> Declaration | None:
        own = super()._find(name, given)
        # Without arguments somebody asks who holds a name, to register it: TFDS gives way.
        if own is not None or given is None:
            return own
        reader = super()._find("tfds")
        data_dir = given.get("data_dir")
        if reader is None or not self._tfds.exists(name, data_dir if isinstance(data_dir, str) else None):
            return None
        parameters = tuple(one for one in reader.parameters if one.name != "builder")
        return replace(reader, parameters=parameters, bound={"builder": name})


def read_source(file: Path, module: str, by_path: bool = False) -> tuple[tuple[str, Declaration], ...]:
    """The registrations of a file, (registry, declaration) each; one that cannot be read is imported instead."""
    try:
        return read_file(file, module, by_path)
    except UnreadableError:
        import_source(module, file, by_path)
        return ()


def import_source(module: str, file: Path, by_path: bool) -> ModuleType:
    """Imports a module by its name, or a `--code` file by its path.

    Raises:
        TfloopError: a `--code` file raised; says where.
    """
    if not by_path:
        return importlib.import_module(module)
    if module in sys.modules:
        return sys.modules[module]
    spec = importlib.util.spec_from_file_location(module, file)
    if spec is None or spec.loader is None:
        raise TfloopError(f"`{file}` cannot be imported")
    made = sys.modules[module] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(made)
    except Exception as error:
        del sys.modules[module]
        if isinstance(error, TfloopError):
            raise
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        problem = Problem(f"{type(error).__name__}: {error}", str(file), lines[-1] if lines else None)
        raise TfloopError(problems=[problem]) from error
    return made


def _twice(kind: str, one: Declaration, other: Declaration) -> str:
    return f"the {kind} `{one.name}` is registered twice: in {one.place} and in {other.place}"


def _same_place(known: Declaration, file: str | None, qualname: str) -> bool:
    return file is not None and Path(known.file).resolve() == Path(file).resolve() and known.qualname == qualname


models = Registry("model", "models", "engine/models")
datasets = Datasets("dataset", "datasets", "engine/data")
tasks = Registry("task", "tasks", "engine/tasks")
optimizers = Registry("optimizer", "optimizers", "engine/optimizers.py", KerasOptimizers())
schedules = Registry("schedule", "schedules", "engine/optimizers.py")
augmentations = Registry("augmentation", "augmentations", "engine/data")

REGISTRIES: Mapping[str, Registry] = {
    one.plural: one for one in (datasets, models, tasks, optimizers, schedules, augmentations)
}
