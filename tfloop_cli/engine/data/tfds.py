"""Any dataset that TensorFlow Datasets knows, or that it has prepared in a folder."""

import contextlib
import fcntl
import functools
import hashlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core import constants, naming, read_only_builder, registered
from tensorflow_datasets.core.download import downloader

from tfloop_cli.engine.data.bad import skipping
from tfloop_cli.engine.data.spec import Dataset, from_arrays
from tfloop_cli.engine.data.tfds_files import ARRAY_RECORD, Split, one_line
from tfloop_cli.engine.data.tfds_records import Example, RecordSource, load, numbers_of_good
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.fields import PositiveInt
from tfloop_cli.registry import datasets

OFFLINE = "TFLOOP_OFFLINE"  # set to anything but nothing: no network is ever tried
# TFDS itself tries ten times, for three and a half minutes, and waits for a silent host for ever.
_RETRIES = 3
_SILENCE_SECONDS = 30


@datasets.register("tfds")
def tfds_dataset(
    *,
    builder: str,
    data_dir: str | None = None,
    input: str | None = None,
    target: str | None = None,
    size: tuple[PositiveInt, PositiveInt] | None = None,
    splits: list[str] | None = None,
    in_memory: Literal["auto", "always", "never"] = "auto",
) -> Dataset:
    """Any dataset of TensorFlow Datasets, prepared or downloaded: images or numbers in, a class or numbers out.

    Held in memory or read by random access, a record is decoded by the same operations: both train alike to the bit.

    Args:
        builder: as TFDS writes it: `cifar10`, `glue/cola`, `mnist:3.0.1`.
        data_dir: the folder above the dataset's own; null: what `TFDS_DATA_DIR` says, or ~/tensorflow_datasets.
        input: the feature that goes into the model; null: the one that the dataset itself names.
        target: the feature to learn; null: the one that the dataset itself names.
        size: height and width to bring every image to; null: as they are, and then all have to be of one shape.
        splits: which ones to read; null: all.
        in_memory: whether to hold all examples; auto: where they take at most a quarter of the memory that is free.
    """
    opened = _open(builder, data_dir, random_access=in_memory == "never")
    info = opened.info
    chosen = _splits(info, splits)
    example = _choose_example(info, input, target, size)
    known = example.with_shape_of(next(iter(chosen.values())))
    fingerprint = _fingerprint(info, chosen, example)
    needed = sum(split.examples for split in chosen.values()) * known.bytes
    allowed = {"always": needed, "auto": _free_memory() // 4, "never": -1}[in_memory]
    if needed <= allowed:
        loaded = {name: load(split, known) for name, split in chosen.items()}
        fingerprint = _of_those_kept(fingerprint, chosen, {name: numbers for name, (*_, numbers) in loaded.items()})
        arrays = {name: (inputs, targets) for name, (inputs, targets, _) in loaded.items()}
        return from_arrays(arrays, class_names=known.class_names, fingerprint=fingerprint)
    _check_random_access(info, example, needed, in_memory)
    kept = {name: numbers_of_good(split, example) for name, split in chosen.items()} if skipping() else {}
    return Dataset(
        spec=example.spec,
        splits={name: RecordSource(split, example, kept.get(name)) for name, split in chosen.items()},
        fingerprint=_of_those_kept(fingerprint, chosen, kept),
    )


def _splits(info: tfds.core.DatasetInfo, names: list[str] | None) -> dict[str, Split]:
    """Those to read, by their names in TFDS."""
    there = {
        name: Split(name, split.file_instructions if split.num_examples else [], info.file_format)
        for name, split in info.splits.items()
    }
    chosen = list(there) if names is None else names
    for name in chosen:
        if name not in there:
            raise TfloopError(f"{info.full_name} has no split `{name}`", hint=f"it has {', '.join(there)}")
        if not there[name].examples:
            raise TfloopError(f"{info.full_name}: the split `{name}` is empty", code=ExitCode.DATA)
    if not chosen:
        raise TfloopError(f"{info.full_name}: there is no split to read", code=ExitCode.DATA)
    return {name: there[name] for name in chosen}


def _choose_example(
    info: tfds.core.DatasetInfo, input: str | None, target: str | None, size: tuple[int, int] | None
) -> Example:
    """The two features to learn from: those that are named, else those that the dataset calls supervised.

    Raises:
        TfloopError: none is named, or one that is not there, or there is no image to resize (exit code 2);
            a feature that is neither an image, a class nor numbers of one shape (exit code 4).
    """
    first, second = _names(info, input, target)
    shape, dtype = _numbers(info, first)
    if size:
        if not isinstance(info.features[first], tfds.features.Image):
            raise TfloopError(f"{info.full_name}: `size` is for images, and the feature `{first}` is none")
        shape = (*size, shape[2])
    if None in shape and not isinstance(info.features[first], tfds.features.Image):
        raise _unsupported(info, first)
    lengths, target_dtype = _numbers(info, second)
    target_shape = tuple(length for length in lengths if length is not None)
    if len(target_shape) < len(lengths):
        raise _unsupported(info, second)
    label = info.features[second]
    classes = tuple(label.names) if isinstance(label, tfds.features.ClassLabel) and label.num_classes else ()
    return Example(
        features=tfds.decode.PartialDecoding({first: True, second: True}).extract_features(info.features),
        input=first,
        target=second,
        input_shape=shape,
        input_dtype=dtype if dtype in (tf.uint8, tf.float64) else tf.float32,
        target_shape=target_shape,
        target_dtype=tf.int32 if classes else tf.float64 if target_dtype == tf.float64 else tf.float32,
        class_names=classes,
        size=(size[0], size[1]) if size else None,  # a config gives a list
    )


def _names(info: tfds.core.DatasetInfo, input: str | None, target: str | None) -> tuple[str, str]:
    match info.supervised_keys:
        case (str(first), str(second)):
            named = (input or first, target or second)
        case _:  # none, or nested, or with a weight that would go unused
            named = (input, target)
    hint = f"it has {', '.join(f'`{name}` ({_words(feature)})' for name, feature in info.features.items())}"
    for role, name in zip(("input", "target"), named, strict=True):
        if name is None:
            raise TfloopError(f"{info.full_name} does not say which feature is the {role}: `{role}: NAME`", hint=hint)
        if name not in info.features:
            raise TfloopError(f"{info.full_name} has no feature `{name}`, the `{role}`", hint=hint)
    return named


def _words(feature: Any) -> str:
    """A feature for a person: "Image uint8[28, 28, 1]"."""
    tensor, kind = feature.get_tensor_info(), type(feature).__name__
    if not isinstance(tensor, tfds.features.TensorInfo) or tensor.tf_dtype == tf.string:
        return kind
    shape = ", ".join("?" if length is None else str(length) for length in tensor.shape)
    return f"{kind} {tensor.tf_dtype.name}[{shape}]" if shape else f"{kind} {tensor.tf_dtype.name}"


def _numbers(info: tfds.core.DatasetInfo, name: str) -> tuple[tuple[int | None, ...], tf.DType]:
    tensor = info.features[name].get_tensor_info()
    if not isinstance(tensor, tfds.features.TensorInfo):
        raise _unsupported(info, name)
    dtype = tensor.tf_dtype
    if not (dtype.is_floating or dtype.is_integer or dtype.is_bool):
        raise _unsupported(info, name)
    return tuple(tensor.shape), dtype


def _unsupported(info: tfds.core.DatasetInfo, name: str) -> TfloopError:
    return TfloopError(
        f"{info.full_name}: the feature `{name}` ({_words(info.features[name])}) cannot be trained on",
        hint="what can: images, classes, and numbers in an array whose shape the dataset fixes",
        code=ExitCode.DATA,
    )


def _check_random_access(info: tfds.core.DatasetInfo, example: Example, needed: int, in_memory: str) -> None:
    """Refuses what can neither be held in memory nor be read in any order."""
    if info.file_format is not ARRAY_RECORD:
        name = info.full_name.rpartition("/")[0]
        raise TfloopError(
            f"{info.full_name}: {info.file_format.value} files can only be read into memory as a whole, and "
            f"{needed / 2**20:,.0f} MiB are more than `in_memory: {in_memory}` allows",
            hint="allow it (`--set dataset.in_memory=always`), or have the dataset prepared as array_record in another "
            "folder (`--set dataset.in_memory=never --set dataset.data_dir=FOLDER`, or in Python "
            f"`tfds.builder('{name}', data_dir='FOLDER').download_and_prepare(file_format='array_record')`)",
            code=ExitCode.DATA,
        )
    if None in example.input_shape:
        raise TfloopError(
            f"{info.full_name}: the images `{example.input}` are too many to be held in memory, and of no fixed shape",
            hint="bring all images to one size: `--set dataset.size=[HEIGHT,WIDTH]`",
            code=ExitCode.DATA,
        )


def _free_memory() -> int:
    return psutil.virtual_memory().available


def _fingerprint(info: tfds.core.DatasetInfo, splits: Mapping[str, Split], example: Example) -> str:
    """The same for the same examples, in whatever file format and folder they are kept, held in memory or not."""
    sizes = [(name, split.examples, info.splits[name].num_bytes) for name, split in sorted(splits.items())]
    told = (info.full_name, sizes, example.input, example.target, example.size, example.class_names)
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _of_those_kept(fingerprint: str, splits: Mapping[str, Split], kept: Mapping[str, np.ndarray]) -> str:
    """The fingerprint of what is left, where bad examples are left out."""
    digest = hashlib.sha256(fingerprint.encode())
    fewer = {name: numbers for name, numbers in kept.items() if len(numbers) < splits[name].examples}
    for name, numbers in sorted(fewer.items()):
        digest.update(f"{name} {numbers.tolist()}".encode())
    return digest.hexdigest() if fewer else fingerprint


def _open(name: str, data_dir: str | None, *, random_access: bool) -> tfds.core.DatasetBuilder:
    """The builder of a dataset whose files are on disk.

    Args:
        name: as TFDS writes it: `mnist`, `glue/cola`, `mnist:3.0.1`. Without a version, the newest that is prepared.
        data_dir: the folder above the dataset's own; None: `TFDS_DATA_DIR`, or ~/tensorflow_datasets.
        random_access: what has to be prepared first, is prepared as array_record rather than TFRecord.

    Raises:
        TfloopError: it is not there and cannot be had, or cannot be opened (exit code 4); or nobody knows it (2).
    """
    for chatter in ("absl", "urllib3"):
        logging.getLogger(chatter).setLevel(logging.ERROR)
    try:
        naming.parse_builder_name_kwargs(name)
    except ValueError:
        hint = "names look like `mnist`, `glue/cola` or `mnist:3.0.1`"
        raise TfloopError(f"`{name}` cannot be the name of a dataset of TFDS", hint=hint) from None
    folder = data_dir or os.environ.get("TFDS_DATA_DIR") or constants.DATA_DIR
    if "://" in folder:
        raise TfloopError(f"`data_dir` has to be a local folder, and `{folder}` is not")
    root = Path(folder).expanduser()
    return _prepared(name, root) or _prepare(name, root, random_access)


def _prepared(name: str, root: Path) -> tfds.core.DatasetBuilder | None:
    """Out of the folder alone, so that a dataset whose code is not installed, or is newer, is used as it is."""
    try:
        return read_only_builder.builder_from_files(name, data_dir=str(root))
    except registered.DatasetNotFoundError:
        return None
    except Exception as error:
        raise TfloopError(
            f"the dataset `{name}` in {root} cannot be opened: {one_line(error)}",
            hint="move its folder away to have it prepared anew",
            code=ExitCode.DATA,
        ) from error


def _prepare(name: str, root: Path, random_access: bool) -> tfds.core.DatasetBuilder:
    if os.environ.get(OFFLINE):
        raise _unavailable(name, root, f"downloading it is ruled out (--offline, or {OFFLINE} in the environment)")
    try:
        with _lock(name, root):
            return _prepared(name, root) or _download(name, root, random_access)
    except TfloopError:
        raise
    except registered.DatasetNotFoundError as error:
        raise TfloopError(f"TFDS knows no dataset `{name}`, and there is none in {root}") from error
    except Exception as error:  # the network's, the disk's, or the builder's own code's: none is a bug of ours
        raise _unavailable(name, root, f"TFDS could not prepare it: {one_line(error)}") from error


def _unavailable(name: str, root: Path, reason: str) -> TfloopError:
    command = f"""python -c "import tensorflow_datasets as tfds; tfds.load('{name}', data_dir='FOLDER')\""""
    return TfloopError(
        f"the dataset `{name}` is not prepared in {root}, and {reason}",
        hint=f"prepare it where there is a network ({command}), and point at that folder: "
        "`--set dataset.data_dir=FOLDER`",
        code=ExitCode.DATA,
    )


@contextlib.contextmanager
def _lock(name: str, root: Path) -> Iterator[None]:
    """One process at a time prepares a dataset: of two, TFDS lets the slower one fail."""
    root.mkdir(parents=True, exist_ok=True)
    builder, _ = naming.parse_builder_name_kwargs(name)  # its configs and versions share their downloads
    with (root / f".{builder}.lock").open("a") as file:  # it stays: to take it away would let a third process in
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another process is preparing `{name}` in {root}; waiting for it", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _download(name: str, root: Path, random_access: bool) -> tfds.core.DatasetBuilder:
    _give_up_soon()
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()  # its bars are control codes
    with contextlib.redirect_stdout(sys.stderr):  # stdout is for results
        builder = tfds.builder(name, data_dir=str(root))
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False),
            file_format="array_record" if random_access else None,
        )
    return builder


@functools.cache
def _give_up_soon() -> None:
    downloader.MAX_RETRIES = _RETRIES
    downloader._open_url = functools.partial(downloader._open_url, timeout=_SILENCE_SECONDS)
