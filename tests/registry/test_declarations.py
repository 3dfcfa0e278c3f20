"""Declarations: what is read from source equals what importing gives; a file that cannot be read raises an error."""

import inspect
import subprocess
import sys
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

import tfloop_cli
from tfloop_cli.registry import REGISTRIES, Component, argument_types, optimizers
from tfloop_cli.registry.argument_types import PositiveInt
from tfloop_cli.registry.catalogs import OWNED_BY_TFLOOP, KerasOptimizers, TfdsDatasets
from tfloop_cli.registry.declarations import POSITIONAL, Declaration, Parameter, UnreadableError, read_file, read_object
from tfloop_cli.registry.docstrings import argument_descriptions
from tfloop_cli.registry.registry import import_source

IMPORTS = """
from typing import Annotated, Any, Literal
import typing
import tfloop_cli
from tfloop_cli import registry
from tfloop_cli import PositiveInt as Count, FractionBelowOne
from tfloop_cli import models, datasets as data
"""


def read(tmp_path: Path, text: str, imports: str = IMPORTS) -> list[tuple[str, Declaration]]:
    path = tmp_path / "mine.py"
    path.write_text(imports + text)
    read_file.cache_clear()
    return list(read_file(path, "mine"))


def test_name_types_defaults_and_docstring_are_read(tmp_path: Path) -> None:
    ((kind, found),) = read(
        tmp_path,
        '''
@models.register("my_net")
def build(spec: "Spec", *, sizes: list[Count] = [3, 4], rate: FractionBelowOne = -0.0, must: str, free=None) -> "Model":
    """My net.

    More.

    Args:
        sizes: units of each layer,
            in order.
        must: a required argument.
    """
''',
    )
    assert (kind, found.name, found.qualname, found.summary, found.line) == ("models", "my_net", "build", "My net.", 9)
    assert [(one.name, one.required, one.default, one.description) for one in found.parameters] == [
        ("sizes", False, [3, 4], "units of each layer, in order."),
        ("rate", False, 0.0, ""),
        ("must", True, None, "a required argument."),
        ("free", False, None, ""),
    ]
    assert [one.annotation for one in found.parameters] == [
        list[argument_types.PositiveInt],
        argument_types.FractionBelowOne,
        str,
        Any,
    ]


@pytest.mark.parametrize(
    ("text", "annotation"),
    [
        ("int", int),
        ("bool | None", bool | None),
        ("'float'", float),
        ("list[list[int]]", list[list[int]]),
        ("tuple[int, ...]", tuple[int, ...]),
        ("tuple[int, str]", tuple[int, str]),
        ("dict[str, Count]", dict[str, argument_types.PositiveInt]),
        ("Literal['a', 1, -1]", Literal["a", 1, -1]),
        ("typing.Optional[int]", typing.Optional[int]),  # noqa: UP045 (as a user may write it)
        ("tfloop_cli.FractionBelowOne", argument_types.FractionBelowOne),
        ("Annotated[int, 'meters']", Annotated[int, "meters"]),
        ("Any", Any),
    ],
)
def test_annotation_is_evaluated(text: str, annotation: Any, tmp_path: Path) -> None:
    ((_, found),) = read(tmp_path, f"@models.register('x')\ndef x(*, a: {text}): ...\n")
    assert found.parameters[0].annotation == annotation


@pytest.mark.parametrize(
    ("imports", "registry", "argument_type"),
    [
        ("from tfloop_cli import models, PositiveInt", "models", "PositiveInt"),
        ("from tfloop_cli import models as nets, PositiveInt as Count", "nets", "Count"),
        ("import tfloop_cli", "tfloop_cli.models", "tfloop_cli.PositiveInt"),
        ("import tfloop_cli as tl", "tl.models", "tl.PositiveInt"),
        ("from tfloop_cli.registry import models\nfrom tfloop_cli.registry.argument_types import PositiveInt", "models",
         "PositiveInt"),
        ("from tfloop_cli import registry\nfrom tfloop_cli.registry import argument_types", "registry.models",
         "argument_types.PositiveInt"),
    ],
)  # fmt: skip
def test_all_import_styles_are_read(imports: str, registry: str, argument_type: str, tmp_path: Path) -> None:
    text = f"\n@{registry}.register('x')\ndef x(spec, *, size: list[{argument_type}] = [1]): ...\n"
    ((kind, found),) = read(tmp_path, text, imports)
    assert (kind, found.name) == ("models", "x")
    assert found.parameters[0].annotation == list[argument_types.PositiveInt]


@pytest.mark.parametrize("name", [name for name in tfloop_cli.ARGUMENT_TYPES if name != "Description"])
def test_public_argument_types_are_read(name: str, tmp_path: Path) -> None:
    imports = f"from tfloop_cli import models, {name}\n"
    ((_, found),) = read(tmp_path, f"@models.register('x')\ndef x(*, a: {name}): ...\n", imports)
    assert found.parameters[0].annotation == getattr(argument_types, name)


def test_description_in_annotation_is_read(tmp_path: Path) -> None:
    imports = "from typing import Annotated\nfrom tfloop_cli import models, Description\n"
    text = "@models.register('x')\ndef x(*, a: Annotated[int, Description('{}')]): ...\n"
    ((_, found),) = read(tmp_path, text.format("a year"), imports)
    assert found.parameters[0].annotation == Annotated[int, argument_types.Description("a year")]
    with pytest.raises(UnreadableError, match="is not supported"):
        read(tmp_path, text.format("x").replace("Description(", "print("), imports)


def net(spec, units=8, *, rate: float = 0.5):
    """A model."""


class Scaled:
    """A task."""

    def __init__(self, spec, scale: float, name="task"):
        pass


def data(examples: PositiveInt = 3):
    """A dataset."""


def schedule(total_steps, /, factor=0.5):
    """A schedule."""


def test_arguments_need_not_be_keyword_only(tmp_path: Path) -> None:
    """The arguments after those that tfloop passes by position, read from source and from the imported objects."""
    expected = {
        "net": [Parameter("units", Any, False, 8), Parameter("rate", float, False, 0.5)],
        "Scaled": [Parameter("scale", float, True)],
        "data": [Parameter("examples", PositiveInt, False, 3)],
        "schedule": [Parameter("factor", Any, False, 0.5)],
    }
    kinds = {"net": "models", "Scaled": "tasks", "data": "datasets", "schedule": "schedules"}
    builders = (net, Scaled, data, schedule)
    text = "".join(f"@{kinds[one.__name__]}.register('{one.__name__}')\n{inspect.getsource(one)}\n" for one in builders)
    imports = f"from tfloop_cli import PositiveInt, {', '.join(kinds.values())}\n"
    assert {one.name: list(one.parameters) for _, one in read(tmp_path, text, imports)} == expected
    for one in builders:
        declared = read_object(one.__name__, one, POSITIONAL.get(kinds[one.__name__], 0), by_path=False)
        assert list(declared.parameters) == expected[one.__name__]


def test_classes_and_several_decorators_are_read(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """
@data.register("one")
@registry.datasets.register("two")
def both(): ...

@registry.tasks.register("three")
class Three:
    def __init__(self, spec, *, loss: str = "x"): ...

    def register(self, models): return models.build(1)
""",
    )
    assert [(kind, one.name) for kind, one in found] == [("datasets", "one"), ("datasets", "two"), ("tasks", "three")]
    assert [one.name for one in found[2][1].parameters] == ["loss"]


@pytest.mark.parametrize(
    "text",
    [
        "for name in ('a', 'b'):\n    models.register(name)(lambda: 1)\n",
        "NAME = 'x'\n@models.register(NAME)\ndef x(): ...\n",
        "if True:\n    @models.register('x')\n    def x(): ...\n",
        "@models.register('x')\n@print\ndef x(): ...\n",
        "@models.register('x')\ndef x(*, a: Path): ...\n",
        "@models.register('x')\ndef x(*, a: int(3)): ...\n",
        "@models.register('x')\ndef x(*, a: int = 3 * 4): ...\n",
        "@models.register('x')\nclass X(Y): ...\n",
        "add = models.register\n",
        "more = models\nmore.register('x')(print)\n",
        "from tfloop_cli.registry import *\nmodels.register('x')(print)\n",
        "from tfloop_cli import *\nmodels.register('x')(print)\n",
        "tfloop_cli.models.register('x')(print)\n",
        "@models.register('x')\ndef x(*, a: tfloop_cli.DataSpec): ...\n",
    ],
)
def test_dynamic_registration_is_unreadable(text: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableError):
        read(tmp_path, text)


def test_annotations_are_never_executed(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError):
        read(tmp_path, "@models.register('x')\ndef x(*, a: typing.sys.exit(3)): ...\n")


def test_defaults_are_copies(tmp_path: Path) -> None:
    ((_, found),) = read(tmp_path, "@models.register('x')\ndef x(*, a: list[int] = [1]): ...\n")
    found.defaults()["a"].append(2)
    assert found.defaults() == {"a": [1]}


BUILT_IN = [(kind, name) for kind, registry in REGISTRIES.items() for name in registry.names() if kind != "optimizers"]


@pytest.mark.parametrize(("kind", "name"), BUILT_IN)
def test_declaration_of_built_in_component_equals_import(kind: str, name: str) -> None:
    found = REGISTRIES[kind].declaration(name)
    builder = getattr(import_source(found.module, by_path=False), found.qualname)
    signature = inspect.signature(builder, eval_str=True)
    keys = [one for one in signature.parameters.values() if one.kind is one.KEYWORD_ONLY]
    assert [one.name for one in found.parameters] == [one.name for one in keys]
    assert [one.annotation for one in found.parameters] == [one.annotation for one in keys]
    assert [one.required for one in found.parameters] == [one.default is one.empty for one in keys]
    assert [one.default for one in found.parameters if not one.required] == [
        one.default for one in keys if one.default is not one.empty
    ]
    assert found.doc == inspect.getdoc(builder)
    assert {one.name: one.description for one in found.parameters if one.description}.items() <= (
        argument_descriptions(inspect.getdoc(builder)).items()
    )
    assert found.summary


def test_built_in_registrations_are_static() -> None:
    files = Path(tfloop_cli.__file__).parent.glob("engine/**/*.py")
    found = [one for path in files for one in read_file(path, "any")]  # raises for a file that must be imported
    assert {kind for kind, _ in found} == set(REGISTRIES) - {"optimizers"}
    assert len(found) >= len(BUILT_IN)


def test_declarations_of_keras_optimizers_equal_inspect(machine: None) -> None:
    import keras

    catalog = KerasOptimizers()
    assert len(catalog.names()) == 14
    classes = {
        cls.__module__.rpartition(".")[2]: cls
        for cls in vars(keras.optimizers).values()
        if isinstance(cls, type) and issubclass(cls, keras.Optimizer) and "__init__" in vars(cls)
    }
    for wrapper in ("optimizer", "loss_scale_optimizer", "multi_optimizer"):
        classes.pop(wrapper, None)
    assert sorted(classes) == catalog.names()
    for name, cls in classes.items():
        found = optimizers.declaration(name)
        expected = {
            one.name: one.default
            for one in inspect.signature(cls).parameters.values()
            if one.kind is one.POSITIONAL_OR_KEYWORD and one.name not in OWNED_BY_TFLOOP
        }
        assert {one.name: one.default for one in found.parameters} == expected, name
        assert found.summary, name
        assert next(one for one in found.parameters if one.name == "learning_rate").description, name
        assert type(optimizers.build(Component(name, {"learning_rate": 0.5}))) is cls


def test_names_of_tfds_datasets_equal_list_builders() -> None:
    completed = subprocess.run(
        [sys.executable, "-c", "import tensorflow_datasets as t; print('\\n'.join(t.list_builders()))"],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert TfdsDatasets().names() == [line for line in completed.stdout.splitlines() if line.isidentifier()]
    assert len(TfdsDatasets().names()) > 400
