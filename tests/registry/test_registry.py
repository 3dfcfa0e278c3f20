"""Registries: declared without importing, built when asked, never two of one name."""

import copy
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tfloop_cli.config.loading import from_mapping, to_mapping
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import Component, Datasets, Registry, datasets, models, optimizers, plugins, registry
from tfloop_cli.registry.argument_types import PositiveInt
from tfloop_cli.registry.declarations import Declaration, Parameter
from tfloop_cli.runs import code_copies

NET = '''
from tfloop_cli.registry.argument_types import PositiveInt
from tfloop_cli.registry import models

@models.register("test_net")
def test_net(spec, *, sizes: list[PositiveInt] = [3], deep: bool = False):
    """A net."""
    sizes.append(spec)
    return sizes, deep
'''


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Takes what a test registered out again."""
    before = {name: (dict(one._added), dict(one._builders)) for name, one in registry.REGISTRIES.items()}
    yield
    for name, (added, builders) in before.items():
        registry.REGISTRIES[name]._added = added
        registry.REGISTRIES[name]._builders = builders


def write(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def imported(path: Path) -> bool:
    return any(getattr(one, "__file__", None) == str(path) for one in list(sys.modules.values()))


def test_code_is_declared_without_running_and_runs_when_built(tmp_path: Path) -> None:
    path = write(tmp_path, NET)
    plugins.load([path])
    assert [one.name for one in models.declaration("test_net").parameters] == ["sizes", "deep"]
    assert "test_net" in models.names()
    config = from_mapping({"dataset": "mnist", "model": "test_net"}, "test")
    assert config.model == Component("test_net", {"sizes": [3], "deep": False})
    assert not imported(path)
    assert models.build(config.model, 7) == ([3, 7], False)
    assert imported(path)
    assert models.build(config.model, 8, deep=True) == ([3, 8], True)  # the list of the first call is not this one's
    assert config.model.arguments["sizes"] == [3]
    plugins.load([path])  # once more is no second registration


def test_registrations_in_a_loop_are_imported_at_once(tmp_path: Path) -> None:
    text = """
from tfloop_cli.registry import models
for size in (1, 2):
    def build(spec, *, times: int = 1, size=size):
        return size * times
    models.register(f"loop_{size}")(build)
"""
    path = write(tmp_path, text)
    plugins.load([path])
    assert imported(path)
    assert {"loop_1", "loop_2"} <= set(models.names())
    assert models.build(Component("loop_2", {"times": 3}), None) == 6


def test_a_decorator_works_in_a_running_program() -> None:
    @models.register("here")
    def here(spec: Any, *, width: PositiveInt = 2) -> int:
        """Made here."""
        return width

    assert models.declaration("here").parameters == (Parameter("width", PositiveInt, required=False, default=2),)
    assert models.build(Component("here"), None) == 2


def test_two_of_one_name_are_refused_with_both_places(tmp_path: Path) -> None:
    first, second = write(tmp_path, NET), write(tmp_path, NET, "other.py")
    with pytest.raises(TfloopError) as caught:
        plugins.load([first, second])
    assert f"{first}:5" in str(caught.value)
    assert f"{second}:5" in str(caught.value)


@pytest.mark.parametrize("name", ["conv_net", "mlp"])
def test_a_shipped_name_cannot_be_taken(name: str, tmp_path: Path) -> None:
    with pytest.raises(TfloopError, match=f"`{name}` is registered twice.*engine/models.*mine.py"):
        plugins.load([write(tmp_path, NET.replace("test_net", name))])
    with pytest.raises(TfloopError, match="registered twice"):
        models.register(name)(lambda spec: None)


def test_twice_in_one_file(tmp_path: Path) -> None:
    with pytest.raises(TfloopError, match="registered twice"):
        plugins.load([write(tmp_path, NET + NET)])


def test_an_argument_cannot_be_called_name(tmp_path: Path) -> None:
    with pytest.raises(TfloopError, match="can be called `name`"):
        plugins.load([write(tmp_path, NET.replace("deep", "name"))])


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("mine.py", "x = 1\ndef (:\n", "mine.py:2:.*not valid Python"),
        ("mine.py", "\0", "mine.py.*Python"),
        ("mine.txt", "", "takes a Python file"),
        ("mine.py", "import not_there_at_all\n", "mine.py:1: ModuleNotFoundError.*not_there_at_all"),
    ],
)
def test_code_that_cannot_be_used(name: str, text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(TfloopError, match=words):
        plugins.load([write(tmp_path, text, name)])


def test_code_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TfloopError, match="cannot read the code: No such file"):
        plugins.load([tmp_path / "mine.py"])


def test_entry_points_are_read_and_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, NET, "installed_plugin.py")
    info = tmp_path / "plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tfloop.components]\nmine = installed_plugin\n")
    monkeypatch.syspath_prepend(tmp_path)
    plugins.load()
    assert "installed_plugin" not in sys.modules
    assert models.build(Component("test_net"), 1) == ([3, 1], False)
    assert "installed_plugin" in sys.modules
    (info / "entry_points.txt").write_text("[tfloop.components]\nmine = not.there\n")
    with pytest.raises(TfloopError, match=r"plugin `mine`.*`not\.there`"):
        plugins.load()


def test_code_is_kept_with_its_sha256(tmp_path: Path) -> None:
    one, two = write(tmp_path, NET), tmp_path / "b" / "mine.py"
    two.parent.mkdir()
    two.write_text("x = 1\n")
    copies = code_copies.copy_code([one, two], tmp_path / "code")
    assert list(copies) == ["mine.py", "mine-2.py"]
    assert code_copies.verified_copies(tmp_path / "code", copies) == [tmp_path / "code" / name for name in copies]
    (tmp_path / "code" / "mine.py").write_text("other")
    with pytest.raises(TfloopError, match="not the code that the run was made with"):
        code_copies.verified_copies(tmp_path / "code", copies)
    with pytest.raises(TfloopError, match="not the code"):
        code_copies.verified_copies(tmp_path / "code", {"../mine.py": copies["mine.py"]})


def test_an_unknown_name_lists_the_nearest() -> None:
    with pytest.raises(TfloopError, match="unknown optimizer `adma`") as caught:
        optimizers.declaration("adma")
    assert "`adam`" in str(caught.value)
    assert "tfloop list optimizers" in str(caught.value)


def test_components_are_values() -> None:
    one = Component("x", {"a": [1]})
    assert one == Component("x", {"a": [1]}) != Component("x")
    assert copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(TypeError):
        one.arguments["a"] = 2  # type: ignore[index]


TFDS = '''
from tfloop_cli.registry import datasets

@datasets.register("tfds")
def tfds(*, builder: str, data_dir: str | None = None, ask: int = 1):
    """Reads TFDS."""
    return builder, data_dir, ask
'''


@pytest.fixture
def own_tfds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Datasets:
    """A registry with a dataset `tfds` of its own, whatever the engine has."""
    made = Datasets("dataset", "datasets", "engine/nowhere")
    path = write(tmp_path, TFDS, "tfds_reader.py")
    monkeypatch.setitem(registry.REGISTRIES, "datasets", made)
    plugins.load([path])
    monkeypatch.setattr(registry, "datasets", made)
    monkeypatch.setattr(made, "_builders", {"tfds": lambda **given: given})
    return made


@pytest.mark.parametrize("name", ["cifar10", "glue/cola", "mnist:3.0.1", "cats_vs_dogs:4.*.*", "huggingface:anything"])
def test_any_name_of_tfds_is_a_dataset(name: str, own_tfds: Datasets) -> None:
    found = own_tfds.declaration(name, {})
    assert [one.name for one in found.parameters] == ["data_dir", "ask"]
    assert own_tfds.build(Component(name, {"ask": 2})) == {"builder": name, "data_dir": None, "ask": 2}


@pytest.mark.parametrize("name", ["cifar_10", "../x", "nobody:x", "mnist:3", "", "a b"])
def test_other_names_are_not(name: str, own_tfds: Datasets) -> None:
    with pytest.raises(TfloopError):
        own_tfds.declaration(name, {})


@pytest.mark.parametrize("below", ["1.0.0", "config/1.0.0"])
def test_a_prepared_folder_is_enough(
    below: str, own_tfds: Datasets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "my_own" / below).mkdir(parents=True)
    (tmp_path / "data" / "my_own" / below / "dataset_info.json").write_text("{}")
    with pytest.raises(TfloopError):
        own_tfds.declaration("my_own", {})
    assert own_tfds.declaration("my_own", {"data_dir": str(tmp_path / "data")}).bound == {"builder": "my_own"}
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    assert own_tfds.declaration("my_own", {}).bound == {"builder": "my_own"}


def test_mnist_is_ours() -> None:
    assert datasets.declaration("mnist", {}).module == "tfloop_cli.engine.datasets.mnist"


def test_a_tfds_name_may_be_registered(own_tfds: Datasets, tmp_path: Path) -> None:
    plugins.load([write(tmp_path, TFDS.replace('"tfds"', '"cifar10"'))])
    assert own_tfds.declaration("cifar10", {}).bound == {}


def test_tfds_round_trip() -> None:
    if "tfds" not in datasets.names():
        pytest.skip("engine/data/tfds.py is not written yet")
    config = from_mapping({"dataset": {"name": "cifar10", "data_dir": "x"}, "model": "mlp"}, "test")
    assert to_mapping(config)["dataset"]["name"] == "cifar10"
    assert "builder" not in to_mapping(config)["dataset"]
    assert from_mapping(to_mapping(config), "test") == config


def test_only_the_named_files_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = registry.read_source

    def watch(file: Path, module: str, by_path: bool = False) -> tuple[tuple[str, Declaration], ...]:
        read.append(file.name)
        return original(file, module, by_path)

    monkeypatch.setattr(registry, "read_source", watch)
    Registry("model", "models", "engine/models").declaration("conv_net")
    assert read == ["conv_net.py"]
