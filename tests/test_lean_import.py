"""Modules that TensorFlow imports without using them are imported at their first use."""

import subprocess
import sys
from pathlib import Path

import pytest

from tfloop_cli import lean_import

SAVE_MODEL = """\
import sys
from tfloop_cli.lean_import import lean_import
with lean_import():
    import keras
    import tensorflow as tf
assert not {"h5py", "requests", "h5py._hl", "requests.adapters"} & sys.modules.keys()
from tensorflow.python.keras.saving import hdf5_format
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
for name in ("model.keras", "model.h5"):
    model.save(name)
    loaded = keras.models.load_model(name)
    assert all((one == other).all() for one, other in zip(model.get_weights(), loaded.get_weights(), strict=True))
import h5py
assert hdf5_format.h5py.File is h5py.File
"""


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    name = "deferred_package_of_a_test"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("from . import part\nVALUE = 7\n")
    (tmp_path / name / "part.py").write_text("class Thing:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(lean_import, "DEFERRED", (name, "a_package_that_is_not_installed"))
    yield name
    for module in [one for one in sys.modules if one.split(".")[0] == name]:
        del sys.modules[module]


def test_module_is_imported_at_its_first_use(package: str) -> None:
    with lean_import.lean_import():
        early = __import__(package)
        with pytest.raises(ImportError):
            __import__("a_package_that_is_not_installed")
    assert package not in sys.modules
    assert early.VALUE == 7
    assert sys.modules[package].VALUE == 7
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        early.missing  # noqa: B018


def test_later_imports_are_the_usual_ones(package: str) -> None:
    with lean_import.lean_import():
        early = __import__(package)
    part = __import__(f"{package}.part", fromlist=["Thing"])
    assert early.part is part
    assert early.part.Thing is sys.modules[package].part.Thing


def test_use_during_the_import_imports_it(package: str) -> None:
    with lean_import.lean_import():
        assert __import__(package).VALUE == 7
        loaded = sys.modules[package]
    assert sys.modules[package] is loaded
    assert not isinstance(loaded, lean_import.DeferredModule)


def test_keras_saves_models(tmp_path: Path) -> None:
    found = subprocess.run([sys.executable, "-c", SAVE_MODEL], cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
