"""Folders of images, decoded once."""

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import psutil

from tfloop_cli.engine.data.build_context import build_context
from tfloop_cli.engine.data.choosing import Candidates, training_rows
from tfloop_cli.engine.data.columns import columns_of
from tfloop_cli.engine.data.images.classes import classes_of
from tfloop_cli.engine.data.images.decoding import Decoder
from tfloop_cli.engine.data.images.encoders import ImageEncoders
from tfloop_cli.engine.data.images.layout import Columns, Layout, find_images
from tfloop_cli.engine.data.images.listing import Files, Listing, Paths
from tfloop_cli.engine.data.images.problems import invalid_image
from tfloop_cli.engine.data.images.sizes import survey
from tfloop_cli.engine.data.images.sources import duplicates, open_split
from tfloop_cli.engine.data.invalid_examples import require_valid_examples, skip_example
from tfloop_cli.engine.data.problems import refuse
from tfloop_cli.engine.data.spec import Dataset, DataSpec
from tfloop_cli.errors import short_path
from tfloop_cli.registry import datasets
from tfloop_cli.registry.argument_types import OnResume, PositiveInt, PositiveUint16

MAX_LISTED = 20  # classes in a message
MAX_COPIED_BYTES = 64 * 2**20  # of pixels that are in the cache, for `in_memory: auto`


@datasets.register("images")
def images(
    *,
    path: Annotated[Path, OnResume.CHANGES_REST],
    labels: Annotated[Path | None, OnResume.CHANGES_REST] = None,
    file_column: str | None = None,
    target: str | None = None,
    split_column: str = "split",
    label_pattern: str | None = None,
    size: Literal["auto"] | tuple[PositiveInt, PositiveInt] = "auto",
    fit: Literal["crop", "pad", "stretch"] = "pad",
    channels: Literal[1, 3] = 3,
    background: Literal["auto", "white", "black", "gray"] = "auto",
    white_level: Literal["auto"] | PositiveUint16 = "auto",
    in_memory: Annotated[Literal["auto", "always", "never"], OnResume.FREE] = "auto",
) -> Dataset:
    """A folder of images: `train/CLASS/...` with `test/CLASS/...` and `validation/CLASS/...`, or only `CLASS/...`.

    The formats are PNG, JPEG, WebP, BMP and GIF, and with the package Pillow also TIFF, AVIF, HEIC, PNM and ICO; the
    content of a file counts, not its name. Files that are no images are ignored and counted. Images are turned upright
    by their EXIF orientation. Images are decoded once and cached on disk (`tfloop cache`), so that the next run starts
    at once. A file counts as unchanged if its name, size and modification time are.

    Args:
        path: the folder. Its classes are the subfolders of `train`, or its own subfolders if there is no `train`. Or a
            .parquet file with a column of images, or a folder of them as Hugging Face has it (`train-*.parquet`).
        labels: a table (.csv, .tsv, .jsonl, .parquet, ...) with the path and the class of each image; null: the folders
            are classes; without any, a table in the folder.
        file_column: the column of `labels` with paths, relative to the folder or to the table, with or without suffix;
            null: `file`, or the first one whose values are images.
        target: the column of `labels` with classes; null: `label`, `target`, `class` or `category`, or the only other.
        split_column: the column of `labels` with `train`, `validation` or `test`, if there is one.
        label_pattern: a regular expression that finds the class in the path of an image, as its group `label`, such as
            `(?P<label>[a-z]+)_[0-9]+`; null: the folders are classes; without any, and without a table, the letters
            before or after a number, as in `cat.12.jpg`.
        size: height and width to which all images are resized; auto: the size of the images if all have the same, else
            the medians of heights and widths of up to 1,000 training images; at most 128 pixels, or in long images
            as many pixels as a square of 128.
        fit: how images of another aspect ratio are resized: `pad` adds borders, `crop` cuts the sides off, `stretch`
            changes the aspect ratio.
        channels: 3 for color, 1 for grayscale; images are converted.
        background: the color behind transparent pixels and of borders; auto: white, but black if nearly all visible
            pixels of images with transparent ones are white.
        white_level: the value of 16-bit images that becomes 255; larger ones become 255 too. auto: the smallest of 255,
            511, ... 65535 that no pixel of up to 50 training images exceeds.
        in_memory: whether to keep all examples in memory instead of reading them from the cache, which is about as
            fast; auto: if they need at most 64 MiB, or if they cannot be cached and need at most a quarter of the free
            memory.
    """
    layout = _at_training(_layout(path, labels, (file_column, target, split_column), label_pattern))
    if document := build_context().encoders:
        encoders = ImageEncoders.from_json(document)
        splits = {split: _files(split, layout, encoders.class_names) for split in layout.splits}
    else:
        given = "white" if background == "auto" else background
        unfitted = ImageEncoders((0, 0, channels), fit, given, 65535, classes_of(layout))
        splits = {split: _files(split, layout, unfitted.class_names) for split in layout.splits}
        paths = _training_paths(splits, layout)
        encoders = _fitted(unfitted, size, background == "auto", white_level, paths)
    encoders = replace(encoders, notes=tuple(dict.fromkeys([*encoders.notes, *layout.notes])))
    return _dataset(encoders, splits, short_path(build_context().data or path), in_memory)


def _layout(path: Path, labels: Path | None, columns: Columns, pattern: str | None) -> Layout:
    """Returns the images of the dataset, or of other data: a table of paths and labels, or a folder."""
    other = build_context().data
    if other is None:
        return find_images(path, labels, columns, pattern)
    if not other.is_dir() and (labels or other.suffix != ".parquet"):
        return find_images(other.parent, other, columns, None)
    table = other / labels.name if labels and (other / labels.name).exists() else None
    return find_images(other, table, columns, None if table else pattern)


def _at_training(layout: Layout) -> Layout:
    """Returns a layout without images that were added after the training of the run; see `ReadFiles`."""
    context, splits = build_context(), dict[str, Listing]()
    for split, listed in context.trained(layout.splits).items():
        splits[split] = listed.subset(context.files.choose(split, listed.names, listed.sizes.tolist()))
    return replace(layout, splits=splits)


def _training_paths(splits: Mapping[str, Files], layout: Layout) -> Paths:
    """Returns the paths of the training images that are not held out."""
    train = splits["train"]
    columns = {name: np.array(values, object) for name, values in train.columns.items()}
    candidates = Candidates(len(train), list(splits), train.labels, columns, layout.columns)
    return Paths(train.images, np.flatnonzero(training_rows(candidates, build_context().rules)))


def _fitted(
    encoders: ImageEncoders,
    size: Literal["auto"] | tuple[int, int],
    any_background: bool,
    white_level: Literal["auto"] | int,
    paths: Paths,
) -> ImageEncoders:
    """Returns the encoders with size and range of the pixels of these images, and the background that suits them.

    Raises:
        TfloopError: the size of no image can be read (exit code 4).
    """
    max16 = None if white_level == "auto" else white_level
    found, channels, notes = survey(paths, max16), encoders.shape[2], list[str]()
    if size == "auto" and found.size is None:
        failure = Decoder((1, 1, channels)).failure(paths) or invalid_image(paths[0], "its size cannot be read")
        skip_example("train", failure, len(paths), paths)
        require_valid_examples("train", 0)
    height, width = found.size if size == "auto" else size
    if size == "auto":
        how = f"other images: {encoders.fit} (key `fit`)"
        notes.append(f"size: {height}x{width}, {found.about} (key `size`); {how}")
    if found.has16 and max16 is None:
        notes.append(f"16-bit images: {found.max16:,} becomes 255 (key `white_level`)")
    background = found.background if any_background else encoders.background
    if background != encoders.background:
        notes.append("background: black, since the visible parts of transparent images are white (key `background`)")
    shape = (height, width, channels)
    return replace(encoders, shape=shape, background=background, max16=found.max16, notes=tuple(notes))


def _dataset(encoders: ImageEncoders, splits: dict[str, Files], shown: str, in_memory: str) -> Dataset:
    decoder = Decoder(encoders.shape, encoders.fit, encoders.background, encoders.max16)
    needed = sum(map(len, splits.values())) * int(np.prod(encoders.shape))
    few, fits = needed <= MAX_COPIED_BYTES, needed <= psutil.virtual_memory().available // 4
    kept = {"always": (True, True), "auto": (few, fits), "never": (False, False)}[in_memory]
    opened = {
        name: open_split(name, f"{name} images of {shown}", files, decoder, kept) for name, files in splits.items()
    }
    repeated = duplicates(opened)
    return Dataset(
        spec=DataSpec(encoders.shape, "uint8", (), encoders.class_names),
        splits={name: one.source for name, one in opened.items()},
        fingerprint=_fingerprint({name: one.files for name, one in opened.items()}, encoders, decoder),
        encoders=replace(encoders, notes=tuple(dict.fromkeys([*encoders.notes, *repeated]))),
        columns=columns_of({name: one.files.columns for name, one in opened.items()}),
        names={name: one.files.images.names for name, one in opened.items()},
    )


def _fingerprint(splits: Mapping[str, Files], encoders: ImageEncoders, decoder: Decoder) -> str:
    # Without modification times: a copy of the folder on another machine is the same data. And without the versions of
    # libraries, whose pixels may differ by rounding: a run can be resumed after an upgrade.
    identity = [
        (name, files.images.names, files.images.sizes.tolist(), files.labels.tolist()) for name, files in splits.items()
    ]
    return hashlib.sha256(repr((identity, encoders.class_names, decoder.settings)).encode()).hexdigest()


def _unknown_class_hint(label: str, classes: tuple[str, ...]) -> str:
    """Returns what to do about a class that is not one of the training split."""
    same = [one for one in classes if one.casefold() == label.casefold()]
    if close := (same or difflib.get_close_matches(label, classes, n=1))[:1]:
        return f"did you mean `{close[0]}`? Then rename it; else `--set on_bad_example=skip` leaves such images out"
    more = f" and {len(classes) - MAX_LISTED:,} more" if len(classes) > MAX_LISTED else ""
    listed = ", ".join(f"`{one}`" for one in classes[:MAX_LISTED])
    return f"the classes are {listed}{more}; `--set on_bad_example=skip` leaves such images out"


def _files(split: str, layout: Layout, classes: tuple[str, ...]) -> Files:
    """Returns the images of a split with their labels.

    Raises:
        TfloopError: there is no image, or a class is not one of the training split, and such images are not skipped
            (exit code 4).
    """
    if not layout.splits[split]:
        refuse(str(layout.folders[split]), None, "it has no folders with images", hint="; ".join(layout.notes))
    numbers = {name: number for number, name in enumerate(classes)}
    images, known = layout.splits[split], list[int]()
    for number, one in enumerate(images):
        if one.label in numbers:
            known.append(number)
            continue
        problem = f"its class `{one.label}` does not occur in the training split"
        skip_example(split, invalid_image(one.path, problem, _unknown_class_hint(one.label, classes)))
    require_valid_examples(split, len(known))
    listed = images if len(known) == len(images) else images.subset(known)
    return Files(
        listed,
        np.array([numbers[one.label] for one in listed], np.int32),
        {
            name: [one.cells.get(name, "") for one in listed]
            for name in build_context().rules.columns
            if name in layout.columns
        },
    )
