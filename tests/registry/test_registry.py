"""Registries: components are declared without importing them, built on demand, and have unique names."""

import copy
import importlib.metadata
import pickle
import py_compile
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from tfloop_cli import PositiveInt
from tfloop_cli.config.loading import from_mapping, to_mapping
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import Component, Datasets, Registry, datasets, models, optimizers, plugins, registry
from tfloop_cli.registry.declarations import Declaration, Parameter
from tfloop_cli.runs import code_copies

MODEL = '''
from tfloop_cli import PositiveInt, models

@models.register("test_net")
def test_net(spec, *, sizes: list[PositiveInt] = [3], deep: bool = False):
    """A net."""
    sizes.append(spec)
    return sizes, deep
'''


@pytest.fixture(autouse=True)
def restore_registries() -> Iterator[None]:
    """Removes the components that a test has registered."""
    before = {name: (dict(one._added), dict(one._builders)) for name, one in registry.REGISTRIES.items()}
    yield
    for name, (added, builders) in before.items():
        registry.REGISTRIES[name]._added = added
        registry.REGISTRIES[name]._builders = builders


def write_code(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def is_imported(path: Path) -> bool:
    return any(getattr(one, "__file__", None) == str(path) for one in list(sys.modules.values()))


PUBLIC_IMPORT = "from tfloop_cli import PositiveInt, models\n"
DEEP_IMPORT = "from tfloop_cli.registry import models\nfrom tfloop_cli.registry.argument_types import PositiveInt\n"
MODULE_IMPORT = "import tfloop_cli\n"


@pytest.mark.parametrize(
    "text",
    [
        MODEL,
        MODEL.replace(PUBLIC_IMPORT, DEEP_IMPORT),
        MODEL.replace(PUBLIC_IMPORT, MODULE_IMPORT)
        .replace("@models", "@tfloop_cli.models")
        .replace("[Pos", "[tfloop_cli.Pos"),
    ],
    ids=["public", "deep", "module"],
)
def test_code_is_imported_when_component_is_built(text: str, tmp_path: Path) -> None:
    path = write_code(tmp_path, text)
    plugins.load([path])
    assert [one.name for one in models.declaration("test_net").parameters] == ["sizes", "deep"]
    assert "test_net" in models.names()
    config = from_mapping({"dataset": "mnist", "model": "test_net"}, "test")
    assert config.model == Component("test_net", {"sizes": [3], "deep": False})
    assert not is_imported(path)
    assert models.build(config.model, 7) == ([3, 7], False)
    assert is_imported(path)
    deep = Component("test_net", {"deep": True})
    assert models.build(deep, 8) == ([3, 8], True)  # the first call did not change the default
    assert config.model.arguments["sizes"] == [3]
    plugins.load([path])  # loading a file again is no error


def test_code_with_registrations_in_loop_is_imported_immediately(tmp_path: Path) -> None:
    text = """
from tfloop_cli import models
for size in (1, 2):
    def build(spec, *, times: int = 1, size=size):
        return size * times
    models.register(f"loop_{size}")(build)
"""
    path = write_code(tmp_path, text)
    plugins.load([path])
    assert is_imported(path)
    assert {"loop_1", "loop_2"} <= set(models.names())
    assert models.build(Component("loop_2", {"times": 3}), None) == 6


def test_register_works_in_running_program() -> None:
    @models.register("in_test")
    def in_test(spec: Any, *, width: PositiveInt = 2) -> int:
        """A model of this test."""
        return width

    assert models.declaration("in_test").parameters == (Parameter("width", PositiveInt, required=False, default=2),)
    assert models.build(Component("in_test"), None) == 2


def test_duplicate_name_is_rejected_with_both_places(tmp_path: Path) -> None:
    first, second = write_code(tmp_path, MODEL), write_code(tmp_path, MODEL, "other.py")
    with pytest.raises(TfloopError) as caught:
        plugins.load([first, second])
    assert f"{first}:4" in str(caught.value)
    assert f"{second}:4" in str(caught.value)


@pytest.mark.parametrize("name", ["conv_net", "mlp"])
def test_name_of_built_in_component_is_rejected(name: str, tmp_path: Path) -> None:
    with pytest.raises(TfloopError, match=f"`{name}` is registered twice.*engine/models.*mine.py"):
        plugins.load([write_code(tmp_path, MODEL.replace("test_net", name))])
    with pytest.raises(TfloopError, match="registered twice"):
        models.register(name)(lambda spec: None)


def test_duplicate_name_in_one_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(TfloopError, match="registered twice"):
        plugins.load([write_code(tmp_path, MODEL + MODEL)])


def test_argument_called_name_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(TfloopError, match="cannot be called `name`"):
        plugins.load([write_code(tmp_path, MODEL.replace("deep", "name"))])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("mine.py", "x = 1\ndef (:\n", "mine.py:2:.*not valid Python"),
        ("mine.py", "\0", "mine.py.*Python"),
        ("mine.txt", "", "requires a Python file"),
        ("mine.py", "import missing_module\n", "mine.py:1: ModuleNotFoundError.*missing_module"),
    ],
)
def test_invalid_code_file_is_rejected(name: str, text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(TfloopError, match=message):
        plugins.load([write_code(tmp_path, text, name)])


def test_missing_code_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(TfloopError, match="cannot read the code: No such file"):
        plugins.load([tmp_path / "mine.py"])


def install_plugin(folder: Path, module: str, name: str = "mine") -> None:
    """Installs a package with one entry point in a folder of sys.path."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[tfloop.components]\n{name} = {module}\n")


def test_entry_points_are_read_without_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_code(tmp_path, MODEL, "installed_plugin.py")
    install_plugin(tmp_path, "installed_plugin")
    monkeypatch.syspath_prepend(tmp_path)
    plugins.load()
    assert "installed_plugin" not in sys.modules
    assert models.build(Component("test_net"), 1) == ([3, 1], False)
    assert "installed_plugin" in sys.modules


BROKEN_PLUGINS = {
    "syntax": ("def (:\n", "SyntaxError: invalid syntax"),
    "dependency": ("import no_such_package\n", "ModuleNotFoundError: No module named 'no_such_package'"),
    "exit": ("import sys\nsys.exit(3)\n", "SystemExit: 3"),
    "name": (MODEL.replace("test_net", "mlp"), "the model `mlp` is registered twice"),
    "nul": ("\0", "SyntaxError: source code string cannot contain null bytes"),
    "missing.module": (None, "ModuleNotFoundError: No module named 'missing'"),
}


@pytest.mark.parametrize("name", BROKEN_PLUGINS)
def test_broken_plugin_is_an_error_only_where_it_is_used(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, reason = BROKEN_PLUGINS[name]
    if text is not None:
        write_code(tmp_path, text, f"broken_{name}.py")
    install_plugin(tmp_path, name if text is None else f"broken_{name}", "broken")
    write_code(tmp_path, MODEL, "good_plugin.py")
    install_plugin(tmp_path, "good_plugin", "good")
    monkeypatch.syspath_prepend(tmp_path)
    warnings: list[str] = []
    plugins.load(warn=warnings.append)
    (warning,) = warnings
    assert warning.startswith("the installed plug-in `broken` is skipped: ")
    assert reason in warning
    assert models.build(Component("test_net"), 1) == ([3, 1], False)
    with pytest.raises(TfloopError, match="unknown model `of_the_plugin`") as caught:
        models.declaration("of_the_plugin")
    assert reason in str(caught.value)


def test_missing_dependency_of_plugin_is_named_when_its_component_is_built(tmp_path: Path, monkeypatch) -> None:
    write_code(tmp_path, "import no_such_package\n" + MODEL, "needs_more.py")
    install_plugin(tmp_path, "needs_more")
    monkeypatch.syspath_prepend(tmp_path)
    warnings: list[str] = []
    plugins.load(warn=warnings.append)
    assert warnings == []  # its source can be read
    with pytest.raises(TfloopError, match=r"`needs_more`.*No module named 'no_such_package'") as caught:
        models.build(Component("test_net"), 1)
    assert caught.value.code == ExitCode.USER_CODE


def test_plugin_without_source_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_code(tmp_path, MODEL, "compiled_plugin.py")
    py_compile.compile(str(source), cfile=str(tmp_path / "compiled_plugin.pyc"))
    source.unlink()
    install_plugin(tmp_path, "compiled_plugin")
    monkeypatch.syspath_prepend(tmp_path)
    plugins.load()
    assert models.build(Component("test_net"), 1) == ([3, 1], False)


def test_damaged_package_metadata_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        importlib.metadata, "entry_points", Mock(side_effect=UnicodeDecodeError("utf-8", b"", 0, 1, "x"))
    )
    warnings: list[str] = []
    plugins.load(warn=warnings.append)
    assert "UnicodeDecodeError" in warnings[0]


def test_code_copies_are_verified_by_sha256(tmp_path: Path) -> None:
    first, second = write_code(tmp_path, MODEL), tmp_path / "b" / "mine.py"
    second.parent.mkdir()
    second.write_text("x = 1\n")
    copies, modules = code_copies.copy_code([first, second], tmp_path / "code")
    assert (list(copies), modules) == (["mine.py", "folder-2/mine.py"], {})
    assert code_copies.verified_copies(tmp_path / "code", copies) == [tmp_path / "code" / name for name in copies]
    (tmp_path / "code" / "mine.py").write_text("other")
    with pytest.raises(TfloopError, match="not the code that the run was trained with"):
        code_copies.verified_copies(tmp_path / "code", copies)
    with pytest.raises(TfloopError, match="not the code"):
        code_copies.verified_copies(tmp_path / "code", {"../mine.py": copies["mine.py"]})


def test_unknown_name_suggests_nearest() -> None:
    with pytest.raises(TfloopError, match="unknown optimizer `adma`") as caught:
        optimizers.declaration("adma")
    assert "`adam`" in str(caught.value)
    assert "tfloop list optimizers" in str(caught.value)


def test_components_are_equal_by_value_and_read_only() -> None:
    one = Component("x", {"a": [1]})
    assert one == Component("x", {"a": [1]}) != Component("x")
    assert copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(TypeError):
        one.arguments["a"] = 2  # type: ignore[index]


TFDS = '''
from tfloop_cli import datasets

@datasets.register("tfds")
def tfds(*, builder: str, data_dir: str | None = None, limit: int = 1):
    """Reads TFDS."""
    return builder, data_dir, limit
'''


@pytest.fixture
def tfds_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Datasets:
    """A registry with one dataset, a stand-in for `tfds` that does not import TensorFlow Datasets."""
    made = Datasets("dataset", "no_such_folder")
    path = write_code(tmp_path, TFDS, "tfds_reader.py")
    monkeypatch.setitem(registry.REGISTRIES, "datasets", made)
    plugins.load([path])
    monkeypatch.setattr(registry, "datasets", made)
    monkeypatch.setattr(
        made,
        "_builders",
        {"tfds": lambda **given: SimpleNamespace(spec=None, splits={}, fingerprint=repr(sorted(given.items())))},
    )
    return made


@pytest.mark.parametrize("name", ["cifar10", "glue/cola", "mnist:3.0.1", "cats_vs_dogs:4.*.*", "huggingface:anything"])
def test_tfds_name_is_a_dataset(name: str, tfds_registry: Datasets) -> None:
    found = tfds_registry.declaration(name, {})
    assert [one.name for one in found.parameters] == ["data_dir", "limit"]
    given = [("builder", name), ("data_dir", None), ("limit", 2)]
    assert tfds_registry.build(Component(name, {"limit": 2})).fingerprint == repr(given)


@pytest.mark.parametrize("name", ["cifar_10", "../x", "unknown_namespace:x", "mnist:3", "", "a b"])
def test_other_name_is_not_a_dataset(name: str, tfds_registry: Datasets) -> None:
    with pytest.raises(TfloopError):
        tfds_registry.declaration(name, {})


@pytest.mark.parametrize("folder", ["1.0.0", "config/1.0.0"])
def test_prepared_folder_is_a_dataset(
    folder: str, tfds_registry: Datasets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "prepared" / folder).mkdir(parents=True)
    (tmp_path / "data" / "prepared" / folder / "dataset_info.json").write_text("{}")
    with pytest.raises(TfloopError):
        tfds_registry.declaration("prepared", {})
    assert tfds_registry.declaration("prepared", {"data_dir": str(tmp_path / "data")}).bound == {"builder": "prepared"}
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    assert tfds_registry.declaration("prepared", {}).bound == {"builder": "prepared"}


def test_mnist_is_the_built_in_dataset() -> None:
    assert datasets.declaration("mnist", {}).module == "tfloop_cli.engine.datasets.mnist"


def test_registered_name_takes_precedence_over_tfds(tfds_registry: Datasets, tmp_path: Path) -> None:
    plugins.load([write_code(tmp_path, TFDS.replace('"tfds"', '"cifar10"'))])
    assert tfds_registry.declaration("cifar10", {}).bound == {}


def test_config_with_tfds_name_round_trips() -> None:
    config = from_mapping({"dataset": {"name": "cifar10", "data_dir": "x"}, "model": "mlp"}, "test")
    assert to_mapping(config)["dataset"]["name"] == "cifar10"
    assert "builder" not in to_mapping(config)["dataset"]
    assert from_mapping(to_mapping(config), "test") == config


def test_declaration_reads_only_files_that_may_register_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = registry.read_source

    def recording_read_source(file: Path, module: str, by_path: bool = False) -> tuple[tuple[str, Declaration], ...]:
        read.append(file.name)
        return original(file, module, by_path)

    monkeypatch.setattr(registry, "read_source", recording_read_source)
    Registry("model", "models").declaration("conv_net")
    assert read == ["conv_net.py"]
