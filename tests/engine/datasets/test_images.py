"""Folders of pictures: classes, decoding, the cache in between, and what is wrong with a file."""

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.data import ArraySource, Data, Dataset
from tfloop_cli.engine.datasets import images as module
from tfloop_cli.engine.datasets.images import CachedSource, DecodingSource
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import Component, datasets

RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFLOOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TFLOOP_CACHE_GIB", raising=False)
    return tmp_path / "cache"


def write(path: Path, shape: tuple[int, int, int] = (6, 5, 3)) -> np.ndarray:
    pixels = RANDOM.integers(0, 256, shape, np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    encode = tf.io.encode_png if path.suffix.lower() == ".png" else tf.io.encode_jpeg
    path.write_bytes(encode(pixels).numpy())
    return pixels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five to train on and two to test, of two classes; one has no test image."""
    for name in ("train/cat/b.png", "train/cat/a.PNG", "train/dog/a.jpg", "train/dog/b.jpeg", "train/dog/c.png",
                 "test/dog/a.png", "test/dog/b.png"):  # fmt: skip
        write(tmp_path / "data" / name)
    return tmp_path / "data"


def opened(folder: Path, **arguments: object) -> Dataset:
    return datasets.build(Component("images", {"path": str(folder), **arguments}))


def pixels(dataset: Dataset, split: str = "train") -> np.ndarray:
    source = dataset.splits[split]
    return source.gather(tf.range(len(source), dtype=tf.int64))[0].numpy()


def labels(dataset: Dataset, split: str = "train") -> list[int]:
    source = dataset.splits[split]
    return source.gather(tf.range(len(source), dtype=tf.int64))[1].numpy().tolist()


KINDS = {"never": CachedSource, "auto": ArraySource, "always": ArraySource}


@pytest.mark.parametrize("in_memory", KINDS)
def test_classes_are_folders_and_pixels_are_the_files(folder: Path, in_memory: str) -> None:
    expected = write(folder / "train/cat/a.PNG")
    made = opened(folder, in_memory=in_memory)
    assert isinstance(made.splits["train"], KINDS[in_memory])
    assert (made.spec.input_shape, made.spec.input_dtype, made.spec.class_names) == ((6, 5, 3), "uint8", ("cat", "dog"))
    np.testing.assert_array_equal(pixels(made)[0], expected)
    assert labels(made) == [0, 0, 1, 1, 1]
    assert labels(made, "test") == [1, 1]


def test_a_folder_without_a_test_split_and_one_with_a_validation_split(folder: Path) -> None:
    (folder / "test").rename(folder / "validation")
    assert set(opened(folder).splits) == {"train", "validation"}


def test_the_second_run_decodes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(folder, in_memory="never")

    def refuse(self: object, paths: list[str]) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(module.Decoder, "blocks", refuse)
    second = opened(folder, in_memory="never")
    np.testing.assert_array_equal(pixels(first), pixels(second))
    assert first.fingerprint == second.fingerprint


def test_pixels_stay_on_disk(folder: Path) -> None:
    source = opened(folder, in_memory="never").splits["train"]
    array = source._rows.array
    assert not array.flags.owndata
    assert not array.flags.writeable


@pytest.mark.parametrize("change", ["time", "size", "more", "resize", "channels"])
def test_what_makes_it_decode_anew(folder: Path, cache: Path, change: str) -> None:
    opened(folder)
    before = set(cache.iterdir())
    file, arguments = folder / "train/cat/b.png", {}
    if change == "time":
        os.utime(file, (1, 1))
    elif change == "size":
        file.write_bytes(file.read_bytes() + b"\0")
    elif change == "more":
        write(folder / "train/cat/c.png")
    else:
        arguments = {"size": [6, 5]} if change == "resize" else {"channels": 1}
    opened(folder, **arguments)
    assert set(cache.iterdir()) > before


def test_a_copy_elsewhere_is_the_same_data(folder: Path, tmp_path: Path) -> None:
    first = opened(folder).fingerprint
    folder.rename(tmp_path / "moved")
    os.utime(tmp_path / "moved/train/cat/b.png", (1, 1))
    assert opened(tmp_path / "moved").fingerprint == first
    write(tmp_path / "moved/train/cat/z.png")
    assert opened(tmp_path / "moved").fingerprint != first


def test_images_are_brought_to_one_size_and_to_grey(folder: Path) -> None:
    write(folder / "train/cat/z.png", (12, 3, 1))
    made = opened(folder, size=[4, 3], channels=1)
    assert made.spec.input_shape == (4, 3, 1)
    assert pixels(made).shape == (6, 4, 3, 1)


def test_without_the_cache_the_pixels_are_the_same(folder: Path, cache: Path, monkeypatch, capsys) -> None:
    write(folder / "train/cat/z.png", (9, 9, 3))
    expected = pixels(opened(folder, size=[4, 3]))
    cache.rename(cache.parent / "elsewhere")
    monkeypatch.setenv("TFLOOP_CACHE_GIB", "0")
    for in_memory, kind in (("never", DecodingSource), ("always", ArraySource)):
        made = opened(folder, size=[4, 3], in_memory=in_memory)
        assert isinstance(made.splits["train"], kind)
        np.testing.assert_array_equal(pixels(made), expected)
        assert labels(made) == [0, 0, 0, 1, 1, 1]
    assert "cannot be kept in the cache" in capsys.readouterr().err


@pytest.mark.parametrize("bound", ["20", "0"])
def test_batches(folder: Path, configure, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    monkeypatch.setenv("TFLOOP_CACHE_GIB", bound)
    data = Data(opened(folder, in_memory="never"), configure(batch_size=3, augment=["flip"]))
    inputs, _ = data.batches(0, 4).element_spec
    assert inputs.shape.as_list() == [None, 6, 5, 3]
    assert [len(targets) for _, targets in data.batches(0, 4)] == [3, 2, 3, 2]
    assert all(images.numpy().min() >= 0 and images.numpy().max() <= 1 for images, _ in data.evaluation("test"))


def test_a_run_on_a_folder_is_the_same_from_memory_and_from_disk(folder: Path, trainer) -> None:
    runs = [trainer(opened(folder, in_memory=in_memory), batch_size=2) for in_memory in ("always", "never")]
    for run in runs:
        run.fit()
    for one, other in zip(runs[0].weights(), runs[1].weights(), strict=True):
        np.testing.assert_array_equal(one, other)


# What is wrong


def test_a_damaged_image_is_named(folder: Path, cache: Path) -> None:
    bad = folder / "train/dog/c.png"
    bad.write_bytes(bad.read_bytes()[:60])
    with pytest.raises(TfloopError) as caught:
        opened(folder)
    assert caught.value.code == ExitCode.DATA
    assert str(caught.value).startswith(f"{bad}: this image cannot be used: ")
    assert not list(cache.iterdir())


def test_the_first_image_may_be_the_damaged_one(folder: Path) -> None:
    (folder / "train/cat/a.PNG").write_bytes(b"no image")
    with pytest.raises(TfloopError, match=r"a\.PNG: this image cannot be used: Unknown image file format"):
        opened(folder)


def test_an_image_of_another_size_is_named(folder: Path) -> None:
    write(folder / "train/dog/c.png", (6, 6, 3))
    with pytest.raises(TfloopError, match=r"c\.png: this image cannot be used(.|\n)*dataset\.size") as caught:
        opened(folder)
    assert caught.value.code == ExitCode.DATA


def test_an_image_that_goes_bad_while_training_is_named(folder: Path, configure, monkeypatch) -> None:
    monkeypatch.setenv("TFLOOP_CACHE_GIB", "0")
    data = Data(opened(folder, in_memory="never"), configure())
    (folder / "train/dog/c.png").unlink()
    with pytest.raises(TfloopError, match=r"c\.png: this image cannot be used"), data.explain_errors():
        list(data.batches(0, 1))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("test/bird/a.png", "test/bird: this is not one of the classes"),
        ("train/notes.txt", "train/notes.txt: this is not one of the classes"),
        ("train/cat/a.webp", "a.webp: this is no .png, .jpg, .jpeg file"),
        ("train/cat/deep/a.png", "cat/deep: this is no .png, .jpg, .jpeg file"),
    ],
)
def test_what_does_not_belong_there_is_named(folder: Path, name: str, said: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"x")
    with pytest.raises(TfloopError) as caught:
        opened(folder)
    assert caught.value.code == ExitCode.DATA
    assert said in str(caught.value)


def test_hidden_files_do_not_matter(folder: Path) -> None:
    (folder / "train/cat/.DS_Store").write_bytes(b"x")
    (folder / "train/.hidden").mkdir()
    assert len(opened(folder).splits["train"]) == 5


@pytest.mark.parametrize(
    ("make", "said"),
    [
        ((), "train: there is no such folder"),
        (("train",), "train: there is no folder in it"),
        (("train/cat",), "train: there is no image in it"),
    ],
)
def test_nothing_to_train_on(tmp_path: Path, make: tuple[str, ...], said: str) -> None:
    for name in make:
        (tmp_path / "none" / name).mkdir(parents=True)
    with pytest.raises(TfloopError, match=said) as caught:
        opened(tmp_path / "none")
    assert caught.value.code == ExitCode.DATA
