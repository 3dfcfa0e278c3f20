"""Empty files for tests that look at names only."""

from pathlib import Path


def touch(folder: Path, *names: str) -> Path:
    """Makes empty files in a folder, and the folders that they need; returns the folder."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder
