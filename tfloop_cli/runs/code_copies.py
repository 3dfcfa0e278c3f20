"""Copies of the user's code in a run folder, verified by their sha256: `--code` files, and the modules beside them."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from tfloop_cli.errors import TfloopError
from tfloop_cli.files import disk_errors, write_atomic
from tfloop_cli.registry.user_modules import add_file, modules_beside


def copy_code(code: Iterable[Path], folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Copies the user's code into a run, in the same places relative to each other.

    Args:
        code: the values of `--code`.
        folder: the run's `code/`; created if there is anything to copy.

    Returns:
        The `--code` files, in order, and the modules beside them that they import, each as path in `folder` -> sha256.
        The files of another folder than the first are in a subfolder: `folder-2/`.
    """
    copies: tuple[dict[str, str], dict[str, str]] = {}, {}
    for name, path, beside in _files(code):
        content = path.read_bytes()
        with disk_errors(folder):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if not (folder / name).parent.resolve().is_relative_to(folder.resolve()):
                raise TfloopError(f"{(folder / name).parent} is a link", hint="replace it by a folder inside the run")
            write_atomic(folder / name, content)
        copies[beside][name] = hashlib.sha256(content).hexdigest()
    return copies


def verified_copies(folder: Path, copies: Mapping[str, str]) -> list[Path]:
    """Returns files that `copy_code` wrote, to be loaded with `--trust-code`.

    Raises:
        TfloopError: a file is missing or differs from what the run used (exit code 2).
    """
    paths = []
    for name, sha256 in copies.items():
        inside = PurePosixPath(name)
        path = folder / inside
        # A manifest must not point outside of the folder.
        outside = inside.is_absolute() or ".." in inside.parts or not path.resolve().is_relative_to(folder.resolve())
        if outside or not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            raise TfloopError(
                f"`{path}` is not the code that the run was trained with", hint="pass your own file with `--code FILE`"
            )
        paths.append(path)
    return paths


def code_to_load(
    folder: Path, manifest: Mapping[str, Any], given: list[Path], trust: bool
) -> tuple[list[Path], list[Path] | None]:
    """Returns the user's files that a run needs: those of `--code`, else the run's own copies with `--trust-code`.

    The second value are the files that these may import from their folders: only what was copied with them; None for
    all.

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
        return given, None
    if not trust:
        raise TfloopError(
            f"this run was trained with custom code: {', '.join(copies)}",
            hint="use `--trust-code` to run the copies in the run folder, or `--code FILE` to use your own file",
        )
    files, modules = verified_copies(folder, copies), manifest.get("code_modules")
    return files, [*files, *verified_copies(folder, modules if isinstance(modules, dict) else {})]


def changed_code(known: Mapping[str, str], code: Iterable[Path]) -> list[Path]:
    """Returns those of the user's files, modules beside them included, whose checksum is not in `known` (see above)."""
    checksums = set(known.values())
    return [path for _, path, _ in _files(code) if hashlib.sha256(path.read_bytes()).hexdigest() not in checksums]


def _files(code: Iterable[Path]) -> Iterator[tuple[str, Path, bool]]:
    """Yields the path in the run's `code/`, the file, and whether it is a module beside the `--code` files."""
    places: dict[Path, str] = {}
    done: set[str] = set()
    for path in code:
        parent = path.resolve().parent
        place = places.setdefault(parent, f"folder-{len(places) + 1}/" if places else "")
        beside = [(file.relative_to(parent).as_posix(), file) for file in modules_beside(add_file(path)).values()]
        for name, file in [(path.name, path), *beside]:
            if place + name not in done:
                done.add(place + name)
                yield place + name, file, file is not path
