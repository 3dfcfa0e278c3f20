"""Folders of images: classes, decoding, the disk cache, and errors of files and folders."""

import errno
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.data import ArraySource, Data, Dataset, build_data
from tfloop_cli.engine.data.build_context import BuildContext, use_context
from tfloop_cli.engine.data.choosing import SplitRules
from tfloop_cli.engine.data.images import decoding
from tfloop_cli.engine.data.images.encoders import ImageEncoders
from tfloop_cli.engine.data.images.sources import CachedSource, DecodingSource
from tfloop_cli.engine.data.invalid_examples import collect_invalid_examples
from tfloop_cli.engine.datasets import images as images_module
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import Component, datasets

RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFLOOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TFLOOP_CACHE_GIB", raising=False)
    return tmp_path / "cache"


def write_image(path: Path, shape: tuple[int, int, int] = (6, 5, 3)) -> np.ndarray:
    pixels = RANDOM.integers(0, 256, shape, np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    encode = tf.io.encode_png if path.suffix.lower() == ".png" else tf.io.encode_jpeg
    path.write_bytes(encode(pixels).numpy())
    return pixels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with five training and two test images of two classes, one of which has no test image."""
    for name in ("train/cat/b.png", "train/cat/a.PNG", "train/dog/a.jpg", "train/dog/b.jpeg", "train/dog/c.png",
                 "test/dog/a.png", "test/dog/b.png"):  # fmt: skip
        write_image(tmp_path / "data" / name)
    return tmp_path / "data"


def build(folder: Path, **arguments: object) -> Dataset:
    return datasets.build(Component("images", {"path": str(folder), **arguments}))


def all_examples(dataset: Dataset, split: str) -> tuple[tf.Tensor, tf.Tensor]:
    source = dataset.splits[split]
    return source.gather(tf.range(len(source), dtype=tf.int64))


def pixels(dataset: Dataset, split: str = "train") -> np.ndarray:
    return all_examples(dataset, split)[0].numpy()


def labels(dataset: Dataset, split: str = "train") -> list[int]:
    return all_examples(dataset, split)[1].numpy().tolist()


SOURCES = {"never": CachedSource, "auto": ArraySource, "always": ArraySource}


@pytest.mark.parametrize("in_memory", SOURCES)
def test_classes_are_subfolders_and_pixels_equal_the_files(folder: Path, in_memory: str) -> None:
    expected = write_image(folder / "train/cat/a.PNG")
    dataset = build(folder, in_memory=in_memory)
    assert isinstance(dataset.splits["train"], SOURCES[in_memory])
    spec = dataset.spec
    assert (spec.input_shape, spec.input_dtype, spec.class_names) == ((6, 5, 3), "uint8", ("cat", "dog"))
    np.testing.assert_array_equal(pixels(dataset)[0], expected)
    assert labels(dataset) == [0, 0, 1, 1, 1]
    assert labels(dataset, "test") == [1, 1]


def test_splits_are_the_existing_folders(folder: Path) -> None:
    (folder / "test").rename(folder / "validation")
    assert set(build(folder).splits) == {"train", "validation"}


def test_second_run_decodes_no_image(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build(folder, in_memory="never")

    def refuse(self: object, paths: list[str]) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(images_module.Decoder, "blocks", refuse)
    second = build(folder, in_memory="never")
    np.testing.assert_array_equal(pixels(first), pixels(second))
    assert first.fingerprint == second.fingerprint


def test_pixels_of_cached_source_are_memory_mapped(folder: Path) -> None:
    source = build(folder, in_memory="never").splits["train"]
    array = source._rows.array
    assert not array.flags.owndata
    assert not array.flags.writeable


@pytest.mark.parametrize("change", ["time", "size", "more", "resize", "channels"])
def test_changed_files_or_arguments_are_decoded_again(folder: Path, cache: Path, change: str) -> None:
    build(folder)
    before = set(cache.iterdir())
    file, arguments = folder / "train/cat/b.png", {}
    if change == "time":
        os.utime(file, (1, 1))
    elif change == "size":
        file.write_bytes(file.read_bytes() + b"\0")
    elif change == "more":
        write_image(folder / "train/cat/c.png")
    else:
        arguments = {"size": [5, 5]} if change == "resize" else {"channels": 1}
    build(folder, **arguments)
    assert set(cache.iterdir()) > before


def test_fingerprint_does_not_depend_on_path_or_modification_time(folder: Path, tmp_path: Path) -> None:
    first = build(folder).fingerprint
    folder.rename(tmp_path / "moved")
    os.utime(tmp_path / "moved/train/cat/b.png", (1, 1))
    assert build(tmp_path / "moved").fingerprint == first
    write_image(tmp_path / "moved/train/cat/z.png")
    assert build(tmp_path / "moved").fingerprint != first


def test_upgraded_library_is_the_same_data_decoded_again(folder: Path, cache: Path, monkeypatch) -> None:
    first, before = build(folder).fingerprint, set(cache.iterdir())
    for owner, name in ((decoding.tf, "__version__"), (decoding, "pillow_version")):
        monkeypatch.setattr(owner, name, "9.9" if name == "__version__" else lambda: "9.9")
        assert build(folder).fingerprint == first
        assert set(cache.iterdir()) > before
        before = set(cache.iterdir())


def test_large_sets_are_read_from_the_cache_unless_told_otherwise(folder: Path, monkeypatch) -> None:
    expected = pixels(build(folder))
    monkeypatch.setattr(images_module, "MAX_COPIED_BYTES", 10)
    dataset = build(folder)
    assert isinstance(dataset.splits["train"], CachedSource)
    np.testing.assert_array_equal(pixels(dataset), expected)
    assert isinstance(build(folder, in_memory="always").splits["train"], ArraySource)


def test_images_are_resized_and_converted_to_grayscale(folder: Path) -> None:
    write_image(folder / "train/cat/z.png", (12, 3, 1))
    dataset = build(folder, size=[4, 3], channels=1)
    assert dataset.spec.input_shape == (4, 3, 1)
    assert pixels(dataset).shape == (6, 4, 3, 1)


def test_pixels_without_the_cache_equal_cached_ones(folder: Path, cache: Path, monkeypatch, capsys) -> None:
    write_image(folder / "train/cat/z.png", (9, 9, 3))
    expected = pixels(build(folder, size=[4, 3]))
    cache.rename(cache.parent / "elsewhere")
    monkeypatch.setenv("TFLOOP_CACHE_GIB", "0")
    for in_memory, source in (("never", DecodingSource), ("always", ArraySource)):
        dataset = build(folder, size=[4, 3], in_memory=in_memory)
        assert isinstance(dataset.splits["train"], source)
        np.testing.assert_array_equal(pixels(dataset), expected)
        assert labels(dataset) == [0, 0, 0, 1, 1, 1]
    assert "cannot be cached" in capsys.readouterr().err


@pytest.mark.parametrize("cache_gib", ["20", "0"])
def test_batches_have_known_shapes_and_scaled_pixels(
    folder: Path, configure, monkeypatch: pytest.MonkeyPatch, cache_gib: str
) -> None:
    monkeypatch.setenv("TFLOOP_CACHE_GIB", cache_gib)
    data = Data(build(folder, in_memory="never"), configure(batch_size=3, augment=["flip"]))
    inputs, _ = data.batches(0, 4).element_spec
    assert inputs.shape.as_list() == [None, 6, 5, 3]
    assert [len(targets) for _, targets in data.batches(0, 4)] == [3, 2, 3, 2]
    assert all(images.numpy().min() >= 0 and images.numpy().max() <= 1 for images, _ in data.evaluation("test"))


def test_training_from_memory_and_from_disk_is_bitwise_equal(folder: Path, trainer, assert_bitwise_equal) -> None:
    runs = [trainer(build(folder, in_memory=in_memory), batch_size=2) for in_memory in ("always", "never")]
    for run in runs:
        run.fit()
    assert_bitwise_equal(runs[0].everything(), runs[1].everything())


def test_images_of_several_sizes_are_resized_to_the_medians(folder: Path) -> None:
    write_image(folder / "train/dog/c.png", (90, 20, 3))
    write_image(folder / "test/dog/b.png", (3, 200, 3))
    dataset = build(folder)
    assert dataset.spec.input_shape == (6, 5, 3)
    assert pixels(dataset).shape == (5, 6, 5, 3)
    assert pixels(dataset, "test").shape == (2, 6, 5, 3)
    assert dataset.encoders.notes == (
        "size: 6x5, the medians of 5 training images from 6x5 to 90x20 (key `size`); other images: pad (key `fit`)",
    )
    assert dataset.encoders.to_json()["shape"] == (6, 5, 3)


def test_white_icons_are_not_lost_on_a_white_background(tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b")):
        icon = np.full((4, 4, 4), 255, np.uint8)
        icon[number:3, 1:, 3] = 0
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(tf.io.encode_png(icon).numpy())
    dataset = build(tmp_path)
    note = "background: black, since the visible parts of transparent images are white (key `background`)"
    assert note in dataset.encoders.notes
    first, second = dataset.splits["train"].gather(tf.constant([0, 1]))[0].numpy()
    assert not first[0, 1:].any()
    assert second[0].all()
    assert build(tmp_path, background="white").encoders.background == "white"


def test_white_level_of_16_bit_images_is_decided_or_given(tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        deep = np.full((1, 2, 1), 2000 + 2000 * number, np.uint16)
        (tmp_path / name / "1.png").write_bytes(tf.io.encode_png(deep).numpy())
    decided, given = build(tmp_path, channels=1), build(tmp_path, channels=1, white_level=2000)
    assert "16-bit images: 4,095 becomes 255 (key `white_level`)" in decided.encoders.notes
    assert not any("16-bit" in note for note in given.encoders.notes)
    values = [
        one.splits["train"].gather(tf.constant([0, 1]))[0][:, 0, 0, 0].numpy().tolist() for one in (decided, given)
    ]
    assert values == [[125, 249], [255, 255]]
    assert given.fingerprint != decided.fingerprint
    document = json.loads(json.dumps(given.encoders.to_json()))
    with use_context(BuildContext(encoders=document)):  # as `evaluate` decodes
        assert build(tmp_path, channels=1).encoders.max16 == 2000


def test_encoders_of_a_run_replace_those_of_the_data(folder: Path) -> None:
    trained = build(folder)
    expected = pixels(trained, "test")
    shutil.rmtree(folder / "train")
    write_image(folder / "test/dog/c.png", (50, 20, 3))
    document = json.loads(json.dumps(trained.encoders.to_json()))
    with use_context(BuildContext(encoders=document, split="test")):
        other = build(folder)
    assert (set(other.splits), other.spec) == ({"test"}, trained.spec)
    np.testing.assert_array_equal(pixels(other, "test")[:2], expected)
    assert labels(other, "test") == [1, 1, 1]
    assert ImageEncoders.from_json(document) == trained.encoders  # its notes included
    for damage in ({"shape": [3]}, {"fit": "fill"}, {"background": 7}, {"max16": "65535"}, {"class_names": []}):
        with pytest.raises(TfloopError, match="the encoders of the run cannot be used") as caught:
            ImageEncoders.from_json(document | damage)
        assert caught.value.code == ExitCode.CHECKPOINT


def test_size_is_fitted_without_the_held_out_images(folder: Path, configure) -> None:
    (folder / "labels.csv").write_text("file,label,patient\n" + "".join(
        f"train/{number}.png,{'ab'[number % 2]},p{number // 2}\n" for number in range(8)
    ))  # fmt: skip
    held_out: list[int] = []
    for _ in range(2):
        for number in range(8):
            write_image(folder / f"train/{number}.png", (90, 60, 3) if number in held_out else (6, 4 + number % 2, 3))
        with use_context(BuildContext(rules=SplitRules(test=3, group="patient"))):
            dataset = build(folder, labels=str(folder / "labels.csv"))
        assert dataset.columns["patient"]["train"].tolist() == [f"p{number // 2}" for number in range(8)]
        assert dataset.spec.input_shape == (6, 4, 3)  # the medians of 4 and 5, rounded to even
        data = Data(dataset, configure(test=3, group="patient"))
        held_out = data.split("test")[1].tolist()
    assert len(held_out) in (2, 4)


def test_other_images_are_decoded_as_those_of_the_run(folder: Path, tmp_path: Path) -> None:
    trained = build(folder)
    document = json.loads(json.dumps(trained.encoders.to_json()))
    (folder / "labels.csv").write_text("file,label\ntest/dog/a.png,dog\n")
    for other in (folder / "test", folder / "labels.csv"):
        with use_context(BuildContext(encoders=document, data=other)):
            dataset = build(tmp_path / "gone")
        assert list(dataset.splits) == ["data"]
        np.testing.assert_array_equal(pixels(dataset, "data")[0], pixels(trained, "test")[0])
        assert set(labels(dataset, "data")) == {1}
    no_classes = pytest.raises(TfloopError, match="test/dog: it has no folders of classes")
    with use_context(BuildContext(encoders=document, data=folder / "test/dog")), no_classes:
        build(folder)


@pytest.mark.parametrize("cache_gib", ["20", "0"])
def test_duplicates_are_told(folder: Path, monkeypatch: pytest.MonkeyPatch, cache_gib: str) -> None:
    monkeypatch.setenv("TFLOOP_CACHE_GIB", cache_gib)
    shutil.copy(folder / "train/cat/b.png", folder / "test/dog/z.png")
    shutil.copy(folder / "train/cat/b.png", folder / "train/cat/y.png")
    shutil.copy(folder / "train/dog/c.png", folder / "train/cat/z.png")
    expected = (
        "duplicates: 2 images are more than once in train, with the same pixels, such as train/cat/b.png and "
        "train/cat/y.png",
        "duplicates: 1 image is in test and in train too, with the same pixels, such as train/cat/b.png and "
        "test/dog/z.png",
    )
    for _ in range(2):
        assert build(folder).encoders.notes[1:] == expected


def test_progress_of_decoding_is_reported(folder: Path, configure) -> None:
    reports: list[tuple[str, int, int]] = []
    config = configure(dataset={"name": "images", "path": str(folder)})
    data = build_data(config, progress=lambda text, done, total: reports.append((text.split()[0], done, total)))
    assert reports[:3] == [("decoding", 0, 5), ("decoding", 5, 5), ("decoding", 5, 5)]
    assert data.encoders.notes[0].startswith("size: 6x5, the size of the images")
    build_data(config, progress=lambda *_: pytest.fail("decoded again"))


# Errors


def test_damaged_image_error_contains_its_path(folder: Path, cache: Path) -> None:
    damaged = folder / "train/dog/c.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    with pytest.raises(TfloopError) as caught:
        build(folder)
    assert caught.value.code == ExitCode.DATA
    assert str(caught.value).startswith(f"{damaged}: this image cannot be used: ")
    assert not list(cache.iterdir())


def test_damaged_image_costs_no_second_pass(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of the decoding names the file."""
    (folder / "train/dog/c.png").write_bytes(b"no image")
    decode, paths = decoding.Decoder._decode, []
    monkeypatch.setattr(decoding.Decoder, "_decode", lambda self, path: (paths.append(path), decode(self, path))[1])
    with pytest.raises(TfloopError, match=r"c\.png: this image cannot be used"):
        build(folder)
    assert len(paths) == len(set(paths)) == 5
    paths.clear()
    monkeypatch.setenv("TFLOOP_CACHE_GIB", "0")
    dataset = build(folder, in_memory="never")
    with pytest.raises(tf.errors.OpError):
        tf.function(dataset.splits["train"].gather)(tf.constant([4, 1], tf.int64))
    assert str(folder / "train/dog/c.png") in str(dataset.splits["train"].failure)
    assert len(paths) <= 2  # the other one may not be decoded any more


def test_damaged_first_image_error_contains_its_path(folder: Path) -> None:
    (folder / "train/cat/a.PNG").write_bytes(b"no image")
    with pytest.raises(TfloopError, match=r"a\.PNG: this image cannot be used: Unknown image file format"):
        build(folder)


def test_hint_of_a_folder_of_damaged_images_is_not_to_skip_them_if_they_are_skipped(folder: Path) -> None:
    for name in ("cat/a.PNG", "cat/b.png", "dog/a.jpg", "dog/b.jpeg", "dog/c.png"):
        (folder / "train" / name).write_bytes(b"no image")
    message = "split `train`: all of its 5 examples are invalid"
    with collect_invalid_examples(skip=True), pytest.raises(TfloopError, match=message) as caught:
        build(folder)
    assert "on_bad_example" not in str(caught.value)


def test_image_removed_during_training_error_contains_its_path(folder: Path, configure, monkeypatch) -> None:
    monkeypatch.setenv("TFLOOP_CACHE_GIB", "0")
    data = Data(build(folder, in_memory="never"), configure())
    (folder / "train/dog/c.png").unlink()
    with pytest.raises(TfloopError, match=r"c\.png: this image cannot be used"), data.explain_errors():
        list(data.batches(0, 1))


@pytest.mark.parametrize(
    ("name", "hint"),
    [("Cat", "did you mean `cat`?"), ("catt", "did you mean `cat`?"), ("x", "the classes are `cat`, `dog`;")],
)
def test_unknown_class_names_the_close_one(folder: Path, name: str, hint: str) -> None:
    shutil.copytree(folder / "test/dog", folder / "test" / name)
    with pytest.raises(
        TfloopError, match=f"its class `{name}` does not occur in the training split\n  {re.escape(hint)}"
    ):
        build(folder)


def test_image_of_an_unknown_class_is_skipped_and_counted(folder: Path) -> None:
    shutil.copytree(folder / "test/dog", folder / "test/bird")
    with collect_invalid_examples(skip=True) as found:
        dataset = build(folder)
    assert (len(dataset.splits["test"]), dataset.spec.class_names) == (2, ("cat", "dog"))
    assert found.counts == {"test": 2}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "test/bird/a.png",
            "bird/a.png: this image cannot be used: its class `bird` does not occur in the training split",
        ),
        ("train/cat/a.webp", "a.webp: this image cannot be used: Unknown image file format"),
        ("train/cat/deep/a.png", "deep/a.png: this image cannot be used: Unknown image file format"),
        ("train/cat/a.cr2", "a.cr2: .cr2 files cannot be read"),
    ],
)
def test_unexpected_file_or_folder_error_contains_its_path(folder: Path, name: str, message: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"x")
    with pytest.raises(TfloopError) as caught:
        build(folder)
    assert caught.value.code == ExitCode.DATA
    assert message in str(caught.value)


def test_names_need_not_be_utf_8(folder: Path) -> None:
    expected = pixels(build(folder))
    dogs = (folder / "train/dog").rename(folder / "train" / os.fsdecode(b"d\xff"))
    (dogs / "c.png").rename(dogs / os.fsdecode(b"\xfe.png"))
    shutil.rmtree(folder / "test")
    for in_memory in ("always", "never"):
        dataset = build(folder, in_memory=in_memory)
        assert dataset.spec.class_names == ("cat", os.fsdecode(b"d\xff"))
        np.testing.assert_array_equal(pixels(dataset), expected)


@pytest.mark.parametrize("target", ["missing.png", "link.png"], ids=["dangling", "loop"])
def test_link_to_nothing_is_an_invalid_example(folder: Path, target: str) -> None:
    (folder / "train/cat/link.png").symlink_to(target)
    with pytest.raises(
        TfloopError, match=r"cat/link\.png: this image cannot be used: .* a link to a missing one"
    ) as caught:
        build(folder)
    assert caught.value.code == ExitCode.DATA
    with collect_invalid_examples(skip=True) as found:
        assert len(build(folder).splits["train"]) == 5
    assert found.counts == {"train": 1}


@pytest.mark.parametrize("name", ["test", "train/cat", "train"])
def test_unreadable_folder_is_an_error_of_the_data(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def deny(path: Path) -> Any:
        if Path(path) == folder / name:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", deny)
    with pytest.raises(TfloopError, match=f"{name}: this folder cannot be read: Permission denied") as caught:
        build(folder)
    assert caught.value.code == ExitCode.DATA


def test_folder_that_links_to_itself_is_an_error_of_the_data(folder: Path) -> None:
    (folder / "validation").symlink_to("validation")
    with pytest.raises(TfloopError, match="validation: this folder cannot be read: Too many levels") as caught:
        build(folder)
    assert caught.value.code == ExitCode.DATA


def test_hidden_files_are_ignored(folder: Path) -> None:
    (folder / "train/cat/.DS_Store").write_bytes(b"x")
    (folder / "train/.hidden").mkdir()
    assert len(build(folder).splits["train"]) == 5


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ((), "empty: this folder does not exist"),
        (("train",), "train: it has no folders with images"),
        (("train/cat",), "train: it has no folders with images"),
    ],
)
def test_folder_without_training_images_is_an_error(tmp_path: Path, folders: tuple[str, ...], message: str) -> None:
    for name in folders:
        (tmp_path / "empty" / name).mkdir(parents=True)
    with pytest.raises(TfloopError, match=message) as caught:
        build(tmp_path / "empty")
    assert caught.value.code == ExitCode.DATA
