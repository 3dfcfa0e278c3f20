"""What is read from source is what importing would say; what cannot be read is imported instead."""

import inspect
import subprocess
import sys
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from tfloop_cli.registry import REGISTRIES, argument_types, declarations, optimizers
from tfloop_cli.registry.catalogs import OWNED_BY_TFLOOP, KerasOptimizers, TfdsDatasets
from tfloop_cli.registry.declarations import Declaration, UnreadableError, read_file
from tfloop_cli.registry.registry import import_source

HEAD = """
from typing import Annotated, Any, Literal
import typing
from tfloop_cli import registry
from tfloop_cli.registry import argument_types
from tfloop_cli.registry.argument_types import PositiveInt as Count, FractionBelowOne
from tfloop_cli.registry import models, datasets as data
"""


def read(tmp_path: Path, text: str) -> list[tuple[str, Declaration]]:
    path = tmp_path / "mine.py"
    path.write_text(HEAD + text)
    read_file.cache_clear()
    return list(read_file(path, "mine"))


def test_reads_names_types_defaults_and_docstring(tmp_path: Path) -> None:
    ((kind, found),) = read(
        tmp_path,
        '''
@models.register("my_net")
def build(spec: "Spec", *, sizes: list[Count] = [3, 4], rate: FractionBelowOne = -0.0, must: str, free=None) -> "Model":
    """My net.

    More.
    """
''',
    )
    assert (kind, found.name, found.qualname, found.summary, found.line) == ("models", "my_net", "build", "My net.", 8)
    assert [(one.name, one.required, one.default) for one in found.parameters] == [
        ("sizes", False, [3, 4]),
        ("rate", False, 0.0),
        ("must", True, None),
        ("free", False, None),
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
        ("argument_types.FractionBelowOne", argument_types.FractionBelowOne),
        ("Annotated[int, 'metres']", Annotated[int, "metres"]),
        ("Any", Any),
    ],
)
def test_vocabulary(text: str, annotation: Any, tmp_path: Path) -> None:
    ((_, found),) = read(tmp_path, f"@models.register('x')\ndef x(*, a: {text}): ...\n")
    assert found.parameters[0].annotation == annotation


def test_classes_methods_aliases_and_several_names(tmp_path: Path) -> None:
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
    ],
)
def test_what_only_running_can_tell_is_unreadable(text: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableError):
        read(tmp_path, text)


def test_annotations_are_never_run(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError):
        read(tmp_path, "@models.register('x')\ndef x(*, a: typing.sys.exit(3)): ...\n")


def test_defaults_are_not_shared(tmp_path: Path) -> None:
    ((_, found),) = read(tmp_path, "@models.register('x')\ndef x(*, a: list[int] = [1]): ...\n")
    found.defaults()["a"].append(2)
    assert found.defaults() == {"a": [1]}


SHIPPED = [(kind, name) for kind, registry in REGISTRIES.items() for name in registry.names() if kind != "optimizers"]


@pytest.mark.parametrize(("kind", "name"), SHIPPED)
def test_every_shipped_component_is_read_as_it_would_be_imported(kind: str, name: str) -> None:
    found = REGISTRIES[kind].declaration(name)
    builder = getattr(import_source(found.module, Path(found.file), by_path=False), found.qualname)
    signature = inspect.signature(builder, eval_str=True)
    keys = [one for one in signature.parameters.values() if one.kind is one.KEYWORD_ONLY]
    assert [one.name for one in found.parameters] == [one.name for one in keys]
    assert [one.annotation for one in found.parameters] == [one.annotation for one in keys]
    assert [one.required for one in found.parameters] == [one.default is one.empty for one in keys]
    assert [one.default for one in found.parameters if not one.required] == [
        one.default for one in keys if one.default is not one.empty
    ]
    assert found.doc == inspect.getdoc(builder)
    assert found.summary


def test_every_registration_of_ours_is_static() -> None:
    package = Path(declarations.__file__).parent
    for path in (package / "engine").rglob("*.py"):
        read_file(path, "any")  # raises where it must be imported


def test_every_keras_optimizer_is_read_as_inspect_says() -> None:
    import keras

    library = KerasOptimizers()
    assert len(library.names()) == 14
    classes = {
        cls.__module__.rpartition(".")[2]: cls
        for cls in vars(keras.optimizers).values()
        if isinstance(cls, type) and issubclass(cls, keras.Optimizer) and "__init__" in vars(cls)
    }
    for wrapper in ("optimizer", "loss_scale_optimizer", "multi_optimizer"):
        classes.pop(wrapper, None)
    assert sorted(classes) == library.names()
    for name, cls in classes.items():
        found = optimizers.declaration(name)
        expected = {
            one.name: one.default
            for one in inspect.signature(cls).parameters.values()
            if one.kind is one.POSITIONAL_OR_KEYWORD and one.name not in OWNED_BY_TFLOOP
        }
        assert {one.name: one.default for one in found.parameters} == expected, name
        assert type(optimizers.build(_component(name), learning_rate=0.5)) is cls


def _component(name: str) -> Any:
    from tfloop_cli.registry import Component

    return Component(name)


def test_the_list_of_tfds_is_what_tfds_says() -> None:
    said = subprocess.run(
        [sys.executable, "-c", "import tensorflow_datasets as t; print('\\n'.join(t.list_builders()))"],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert TfdsDatasets().names() == [line for line in said.stdout.splitlines() if line.isidentifier()]
    assert len(TfdsDatasets().names()) > 400
