"""Opens a dataset of TensorFlow Datasets (TFDS), and downloads and prepares it first if necessary."""

import contextlib
import fcntl
import functools
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds
from tensorflow_datasets.core import constants, naming, read_only_builder, registered
from tensorflow_datasets.core.download import downloader

from tfloop_cli.engine.data.tfds_files import one_line
from tfloop_cli.errors import ExitCode, TfloopError

OFFLINE = "TFLOOP_OFFLINE"  # environment variable; a non-empty value disables downloads
# Limits for downloads. The defaults of TFDS are ten retries in three and a half minutes, and no timeout.
_MAX_RETRIES = 3
_TIMEOUT_SECONDS = 30


def open_builder(name: str, data_dir: str | None, *, random_access: bool) -> tfds.core.DatasetBuilder:
    """Returns the builder of a dataset whose files are on disk; prepares the dataset first if necessary.

    Args:
        name: the name in TFDS: `mnist`, `glue/cola`, `mnist:3.0.1`. Without a version: the newest that is prepared.
        data_dir: the folder that contains the dataset's folder; None: `TFDS_DATA_DIR`, or ~/tensorflow_datasets.
        random_access: whether a dataset that is not prepared yet is prepared as array_record, not as TFRecord.

    Raises:
        TfloopError: the dataset is unavailable or cannot be opened (exit code 4); its name is invalid or unknown, or
            the folder is not local (2).
    """
    for logger_name in ("absl", "urllib3"):
        logging.getLogger(logger_name).setLevel(logging.ERROR)
    try:
        naming.parse_builder_name_kwargs(name)
    except ValueError:
        hint = "valid names look like `mnist`, `glue/cola` or `mnist:3.0.1`"
        raise TfloopError(f"`{name}` is not a valid name of a TFDS dataset", hint=hint) from None
    folder = data_dir or os.environ.get("TFDS_DATA_DIR") or constants.DATA_DIR
    if "://" in folder:
        raise TfloopError(f"`dataset.data_dir` must be a local folder, not `{folder}`")
    root = Path(os.path.expanduser(folder))  # noqa: PTH111 (Path's own raises for an unknown user)
    return _open_prepared(name, root) or _prepare(name, root, random_access)


def _open_prepared(name: str, root: Path) -> tfds.core.DatasetBuilder | None:
    """Returns the builder of a prepared dataset; None if it is not in the folder.

    Reads the folder only: the code of the dataset may be missing, or be of a newer version.
    """
    try:
        return read_only_builder.builder_from_files(name, data_dir=str(root))
    except registered.DatasetNotFoundError:
        return None
    except Exception as error:
        raise TfloopError(
            f"the dataset `{name}` in {root} cannot be opened: {one_line(error)}",
            hint="move its folder away to prepare it again",
            code=ExitCode.DATA,
        ) from error


def _prepare(name: str, root: Path, random_access: bool) -> tfds.core.DatasetBuilder:
    """Downloads and prepares a dataset; returns its builder."""
    if os.environ.get(OFFLINE):
        raise _unavailable(name, root, f"downloads are disabled by --offline, or {OFFLINE} in the environment")
    try:
        with _lock(name, root):
            return _open_prepared(name, root) or _download(name, root, random_access)
    except TfloopError:
        raise
    except registered.DatasetNotFoundError as error:
        raise TfloopError(f"TFDS has no dataset `{name}`, and none is prepared in {root}") from error
    except Exception as error:  # from the network, the disk or the builder's code: not a bug of tfloop
        raise _unavailable(name, root, f"TFDS could not prepare it: {one_line(error)}") from error


def _unavailable(name: str, root: Path, reason: str) -> TfloopError:
    command = f"""python -c "import tensorflow_datasets as tfds; tfds.load('{name}', data_dir='FOLDER')\""""
    return TfloopError(
        f"the dataset `{name}` is not prepared in {root}, and {reason}",
        hint=f"prepare it on a machine with network access ({command}), and use `--set dataset.data_dir=FOLDER`",
        code=ExitCode.DATA,
    )


@contextlib.contextmanager
def _lock(name: str, root: Path) -> Iterator[None]:
    """A context in which no other process prepares the dataset; without it, TFDS fails in the slower process."""
    root.mkdir(parents=True, exist_ok=True)
    builder, _ = naming.parse_builder_name_kwargs(name)  # all configs and versions of a builder share their downloads
    with (root / f".{builder}.lock").open("a") as file:  # not removed: a third process would lock a new file
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another process is preparing `{name}` in {root}; waiting for it", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _download(name: str, root: Path, random_access: bool) -> tfds.core.DatasetBuilder:
    _limit_retries()
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()  # it writes control codes
    with contextlib.redirect_stdout(sys.stderr):  # stdout is for results
        builder = tfds.builder(name, data_dir=str(root))
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False),
            file_format="array_record" if random_access else None,
        )
    return builder


@functools.cache
def _limit_retries() -> None:
    """Sets the retries and the timeout of TFDS's downloads, once per process."""
    downloader.MAX_RETRIES = _MAX_RETRIES
    downloader._open_url = functools.partial(downloader._open_url, timeout=_TIMEOUT_SECONDS)
