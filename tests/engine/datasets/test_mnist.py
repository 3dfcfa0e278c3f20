"""The shipped MNIST: it equals the published dataset, and a damaged or missing file is an error."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from tfloop_cli.engine.datasets import mnist as mnist_module
from tfloop_cli.errors import ExitCode, TfloopError

TEST_LABELS = "t10k-labels-idx1-ubyte"


def test_mnist_has_the_published_counts_types_and_images() -> None:
    dataset = mnist_module.mnist()
    assert {name: len(source) for name, source in dataset.splits.items()} == {"train": 60_000, "test": 10_000}
    assert dataset.spec.input_shape == (28, 28, 1)
    assert dataset.spec.input_dtype == "uint8"
    assert dataset.spec.class_names == tuple("0123456789")
    labels = dataset.splits["train"].targets.numpy()
    # the counts on LeCun's page
    assert np.bincount(labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert labels[:5].tolist() == [5, 0, 4, 1, 9]
    images = dataset.splits["test"].inputs.numpy()
    assert images.max() == 255
    assert images[:, 0, :, 0].mean() < 1 < images[:, 14, :, 0].mean()  # digits are upright and centered


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that replaces the one in the package."""
    monkeypatch.setattr(mnist_module, "files", lambda package: tmp_path)
    (tmp_path / "assets" / "mnist").mkdir(parents=True)
    return tmp_path / "assets" / "mnist"


def change_one_label(content: bytes) -> bytes:
    return gzip.compress(gzip.decompress(content)[:-1] + b"\x00")


def truncate(content: bytes) -> bytes:
    return content[:-20]


def overwrite_beginning(content: bytes) -> bytes:
    return b"\x00" * 16 + content[16:]


def overwrite_middle(content: bytes) -> bytes:
    return content[:2000] + bytes(200) + content[2200:]


def shipped_bytes(name: str) -> bytes:
    return (Path(mnist_module.__file__).parents[2] / "assets" / "mnist" / f"{name}.gz").read_bytes()


@pytest.mark.parametrize("damage", [change_one_label, truncate, overwrite_beginning, overwrite_middle])
def test_damaged_file_error_contains_its_path(folder: Path, damage) -> None:
    file = folder / f"{TEST_LABELS}.gz"
    file.write_bytes(damage(shipped_bytes(TEST_LABELS)))
    with pytest.raises(TfloopError) as caught:
        mnist_module._labels(TEST_LABELS)
    assert caught.value.code == ExitCode.DATA
    assert str(file) in str(caught.value)


def test_intact_file_is_read(folder: Path) -> None:
    (folder / f"{TEST_LABELS}.gz").write_bytes(shipped_bytes(TEST_LABELS))
    assert len(mnist_module._labels(TEST_LABELS)) == 10_000


def test_missing_file_error_contains_its_name(folder: Path) -> None:
    with pytest.raises(TfloopError) as caught:
        mnist_module._labels(TEST_LABELS)
    assert caught.value.code == ExitCode.DATA
    assert f"{TEST_LABELS}.gz" in str(caught.value)
