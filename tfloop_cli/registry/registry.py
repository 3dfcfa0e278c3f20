"""Components by name: models, datasets, tasks, optimizers, schedules, augmentations, trackers.

    @models.register("conv_net")
    def conv_net(spec: DataSpec, *, filters: list[PositiveInt] = [32]) -> keras.Model:
        '''Convolutions, then one dense layer.'''

The built-in components of a registry are the files in `engine/<name of the registry>/`. Their names and arguments are
read from the source (see `declarations`); a module is imported when one of its components is built.
"""

import copy
import difflib
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypeVar, get_args

from tfloop_cli.errors import TfloopError
from tfloop_cli.registry.argument_types import with_paths
from tfloop_cli.registry.catalogs import KerasOptimizers, TfdsDatasets
from tfloop_cli.registry.declarations import POSITIONAL, Declaration, UnreadableError, read_file, read_object
from tfloop_cli.registry.importing import import_source
from tfloop_cli.registry.results import require_usable, wrong_signature
from tfloop_cli.registry.user_modules import PREFIX

Builder = TypeVar("Builder", bound=Callable[..., Any])
BROKEN_PLUGINS: dict[str, str] = {}  # name -> why it could not be loaded; set by `plugins.load`
_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Component:
    """A name and its arguments, as a config has them.

    Attributes:
        name: as in the config.
        arguments: read-only; in a resolved config they are complete, defaults included.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "arguments", MappingProxyType(copy.deepcopy(dict(self.arguments))))

    def __reduce__(self) -> tuple[type["Component"], tuple[str, dict[str, Any]]]:
        return Component, (self.name, dict(self.arguments))  # a mapping proxy can be neither pickled nor copied


class Catalog(Protocol):
    """The components that another package provides."""

    def names(self) -> list[str]:
        """All names, sorted."""
        ...

    def find(self, name: str, given: Mapping[str, Any]) -> Declaration | None:
        """The component of that name; `given` are its arguments in a config."""
        ...


class Registry:
    """All components of one kind.

    Args:
        kind: the singular ("model").
        plural: the name of the registry, of its folder in `engine/`, and of its list in `tfloop list`.
        catalog: components of another package.
    """

    def __init__(self, kind: str, plural: str, catalog: Catalog | None = None) -> None:
        self.kind = kind
        self.plural = plural
        self._folder = _PACKAGE / "engine" / plural
        self._catalog = catalog
        self._added: dict[str, Declaration] = {}
        self._builders: dict[str, Callable[..., Any]] = {}

    def register(self, name: str) -> Callable[[Builder], Builder]:
        """Makes a function or class, the builder, a component. Its other parameters than these become config keys.

        | registry | positional arguments of the builder | it returns |
        | --- | --- | --- |
        | models | DataSpec | a Keras model, or several by name |
        | tasks | DataSpec | Task |
        | datasets | none | Dataset |
        | optimizers | none | a Keras optimizer |
        | schedules | total_steps | Multiplier |
        | augmentations | none | a function (inputs, seed) -> inputs |
        | trackers | none | Tracker |

        Raises:
            TfloopError: the name is taken, or an argument is called `name`.
        """

        def add_builder(builder: Builder) -> Builder:
            known = self._find(name)
            file = getattr(sys.modules.get(builder.__module__), "__file__", None)
            if known is None or not _is_same_builder(known, file, builder.__qualname__):
                self.add(
                    read_object(name, builder, POSITIONAL.get(self.plural, 0), builder.__module__.startswith(PREFIX))
                )
            self._builders[name] = builder
            return builder

        return add_builder

    def add(self, declaration: Declaration) -> None:
        """Adds a component of a `--code` file or a plug-in.

        Raises:
            TfloopError: the name is taken, or an argument is called `name`.
        """
        known = self._find(declaration.name)
        if known is not None and (known.file, known.line) != (declaration.file, declaration.line):
            raise TfloopError(_registered_twice(self.kind, known, declaration), hint="rename one of them")
        if any(one.name == "name" for one in declaration.parameters):
            raise TfloopError(f"{declaration.place}: an argument of a component cannot be called `name`")
        self._added[declaration.name] = declaration

    def forget_code(self) -> None:
        """Removes the components of `--code` files."""
        for name in [name for name, one in self._added.items() if one.by_path]:
            del self._added[name]
            self._builders.pop(name, None)

    def names(self) -> list[str]:
        """Returns the names to list, sorted. The datasets of TFDS are too many; `suggestions` includes them."""
        cataloged = self._catalog.names() if self._catalog else []
        return sorted({*(one.name for one in self._built_in(None)), *self._added, *cataloged})

    def suggestions(self) -> list[str]:
        """Returns all names, to suggest the nearest one to a misspelled name."""
        return self.names()

    def declarations(self) -> list[Declaration]:
        """Returns the declarations of `names`, read from source."""
        return [self.declaration(name) for name in self.names()]

    def declaration(self, name: str, given: Mapping[str, Any] | None = None) -> Declaration:
        """Returns the declaration of a component.

        Args:
            name: as in a config.
            given: its arguments in the config; for a TFDS name, prepared datasets are searched in its `data_dir`.

        Raises:
            TfloopError: there is no such component; the message suggests the nearest names.
        """
        found = self._find(name, given)
        if found is None:
            raise TfloopError(f"unknown {self.kind} `{name}`", hint=self._hint(name))
        return found

    def build(self, component: Component, *args: Any) -> Any:
        """Imports the module of a component and calls its builder.

        Args:
            component: name and arguments from a config.
            args: the positional arguments of the builder, see `register`.

        Returns:
            What the builder returns, see `register`.

        Raises:
            TfloopError: unknown name, the import of a `--code` file fails, or the builder returns something unusable;
                exceptions of the builder pass through.
        """
        declaration = self.declaration(component.name, component.arguments)
        arguments = {**declaration.defaults(), **copy.deepcopy(dict(component.arguments))}
        types = {one.name: one.annotation for one in declaration.parameters}
        arguments = {key: with_paths(value, types.get(key, Any)) for key, value in arguments.items()}
        arguments |= declaration.bound
        builder = self._builder(declaration)
        try:
            result = builder(*args, **arguments)
        except TypeError as error:
            if error.__traceback__ and error.__traceback__.tb_next is None:  # raised by the call itself
                raise wrong_signature(self.kind, declaration, error) from error
            raise
        require_usable(self.kind, component.name, result)
        return result

    def _builder(self, declaration: Declaration) -> Callable[..., Any]:
        if declaration.name not in self._builders:
            module = import_source(declaration.module, declaration.by_path)
            if declaration.name not in self._builders:  # a class of another package, which does not register itself
                self._builders[declaration.name] = getattr(module, declaration.qualname)
        return self._builders[declaration.name]

    def _find(self, name: str, given: Mapping[str, Any] | None = None) -> Declaration | None:
        if name in self._added:
            return self._added[name]
        built_in = [one for one in self._built_in(name) if one.name == name]
        if len(built_in) > 1:
            raise TfloopError(_registered_twice(self.kind, built_in[0], built_in[1]))
        if built_in:
            return built_in[0]
        # `_built_in` may have imported a file that cannot be read statically.
        return self._added.get(name) or (self._catalog.find(name, given or {}) if self._catalog else None)

    def _built_in(self, name: str | None) -> list[Declaration]:
        """Returns the built-in components in those files that may register `name` (None: in all files)."""
        registration = re.compile(rf"""register\(\s*['"]{re.escape(name or "")}""".encode())
        found: list[Declaration] = []
        for file in sorted(self._folder.glob("*.py")):
            if registration.search(file.read_bytes()):
                module = ".".join(file.relative_to(_PACKAGE.parent).with_suffix("").parts)
                found += [one for registry, one in read_source(file, module) if registry == self.plural]
        return found

    def _hint(self, name: str) -> str:
        nearest = difflib.get_close_matches(name, self.suggestions(), n=3)
        guess = f"did you mean {' or '.join(f'`{one}`' for one in nearest)}? " if nearest else ""
        broken = "".join(f"; the plug-in `{one}` could not be loaded: {why}" for one, why in BROKEN_PLUGINS.items())
        return f"{guess}`tfloop list {self.plural}` lists all; your own need `--code FILE`{broken}"


class Datasets(Registry):
    """Built-in datasets, and every name of a dataset that TensorFlow Datasets has or that is prepared in `data_dir`.

    The arguments of a TFDS name are those of the dataset `tfds`, except `builder`, which is the name itself.
    """

    _tfds = TfdsDatasets()

    def suggestions(self) -> list[str]:
        """Returns the built-in names and those of TFDS."""
        return sorted({*self.names(), *self._tfds.names()})

    def _find(self, name: str, given: Mapping[str, Any] | None = None) -> Declaration | None:
        own = super()._find(name, given)
        # `given` is None when a name is registered; a registered name takes precedence over TFDS.
        if own is not None or given is None:
            return own
        reader = super()._find("tfds")
        data_dir = given.get("data_dir")
        if reader is None or not self._tfds.exists(name, data_dir if isinstance(data_dir, str) else None):
            return None
        parameters = tuple(one for one in reader.parameters if one.name != "builder")
        return replace(reader, parameters=parameters, bound={"builder": name})


def read_source(file: Path, module: str, by_path: bool = False) -> tuple[tuple[str, Declaration], ...]:
    """Returns the registrations of a file as (registry, declaration).

    It imports a file that cannot be read statically and returns (): the import registers.

    Raises:
        OSError, SyntaxError, ValueError: the file cannot be read, or is not Python.
        TfloopError: see `import_source`.
    """
    try:
        return read_file(file, module, by_path)
    except UnreadableError:
        import_source(module, by_path)
        return ()


def _registered_twice(kind: str, one: Declaration, other: Declaration) -> str:
    return f"the {kind} `{one.name}` is registered twice: in {one.place} and in {other.place}"


def _is_same_builder(known: Declaration, file: str | None, qualname: str) -> bool:
    return file is not None and Path(known.file).resolve() == Path(file).resolve() and known.qualname == qualname


class Augmentations(Registry):
    """Built-in augmentations; a hint names those of Keras, which are arguments of the augmentation `keras`."""

    def _hint(self, name: str) -> str:
        layers = {one.lower(): one for one in get_args(self.declaration("keras").parameters[0].annotation)}
        if layer := layers.get(name.lower().replace("_", "")):
            return f"`{{name: keras, layer: {layer}}}` is this layer of Keras"
        return super()._hint(name)


models = Registry("model", "models")
datasets = Datasets("dataset", "datasets")
tasks = Registry("task", "tasks")
optimizers = Registry("optimizer", "optimizers", KerasOptimizers())
schedules = Registry("schedule", "schedules")
augmentations = Augmentations("augmentation", "augmentations")
trackers = Registry("tracker", "trackers")

REGISTRIES: Mapping[str, Registry] = {
    one.plural: one for one in (datasets, models, tasks, optimizers, schedules, augmentations, trackers)
}
