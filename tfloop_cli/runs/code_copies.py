"""Copies of the user's `--code` files in a run folder, verified by their sha256."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tfloop_cli.errors import TfloopError
from tfloop_cli.files import disk_errors, write_atomic


def copy_code(code: Iterable[Path], folder: Path) -> dict[str, str]:
    """Copies the user's files into a run.

    Args:
        code: the values of `--code`.
        folder: the run's `code/`; created if there is anything to copy.

    Returns:
        File name in `folder` -> its sha256, in the order of `code`.
    """
    copies: dict[str, str] = {}
    for path in code:
        name = path.name if path.name not in copies else f"{path.stem}-{len(copies) + 1}.py"
        content = path.read_bytes()
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(folder / name, content)
        copies[name] = hashlib.sha256(content).hexdigest()
    return copies


def verified_copies(folder: Path, copies: Mapping[str, str]) -> list[Path]:
    """Returns the files that `copy_code` wrote, to be loaded with `--trust-code`.

    Raises:
        TfloopError: a file is missing or differs from what the run used (exit code 2).
    """
    paths = []
    for name, sha256 in copies.items():
        path = folder / Path(name).name  # a manifest must not point outside of the folder
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            raise TfloopError(
                f"`{path}` is not the code that the run was trained with", hint="pass your own file with `--code FILE`"
            )
        paths.append(path)
    return paths


def code_to_load(folder: Path, manifest: Mapping[str, Any], given: list[Path], trust: bool) -> list[Path]:
    """Returns the user's files that a run needs: those of `--code`, else the run's own copies with `--trust-code`.

    Args:
        folder: the run's `code/`.
        manifest: of a checkpoint, or the run's metadata; its `code` is what `copy_code` has returned.
        given: the values of `--code`.
        trust: whether to run the copies.

    Raises:
        TfloopError: code is needed and neither option was used, or a copy has changed (exit code 2).
    """
    copies = manifest.get("code")
    if given or not copies or not isinstance(copies, dict):
        return given
    if not trust:
        raise TfloopError(
            f"this run was trained with custom code: {', '.join(copies)}",
            hint="use `--trust-code` to run the copies in the run folder, or `--code FILE` to use your own file",
        )
    return verified_copies(folder, copies)


def changed_code(known: Mapping[str, str], code: Iterable[Path]) -> list[Path]:
    """Returns those of the user's files whose checksum is not in `known` (file name -> sha256)."""
    return [path for path in code if hashlib.sha256(path.read_bytes()).hexdigest() not in set(known.values())]
