"""The packages that tfloop needs, and those of its extras, from the metadata of the installed distribution."""

import shlex
from importlib.metadata import PackageNotFoundError, metadata, version
from typing import Any

from packaging.requirements import Requirement

DISTRIBUTION = "tfloop"


def packages() -> dict[str, Any]:
    """Returns what is missing, as data.

    Returns:
        "installed": whether tfloop itself is, "missing": requirements that are not met, and "extras": for each its
        "name", what is "missing", and the "command" to install that.
    """
    try:
        about = metadata(DISTRIBUTION)
    except PackageNotFoundError:
        return {"installed": False, "missing": [], "extras": []}
    needed = [Requirement(one) for one in about.get_all("Requires-Dist") or ()]
    extras = []
    for extra in about.get_all("Provides-Extra") or ():
        missing = [one for one in needed if _belongs(one, extra) and not _belongs(one, "") and not _is_met(one)]
        extras.append({"name": extra, "missing": [one.name for one in missing], "command": _command(missing)})
    missing = [one for one in needed if _belongs(one, "") and not _is_met(one)]
    return {"installed": True, "missing": [_text(one) for one in missing], "extras": extras}


def _belongs(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _is_met(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False


def _command(missing: list[Requirement]) -> str | None:
    return f"pip install {' '.join(shlex.quote(_text(one)) for one in missing)}" if missing else None


def _text(requirement: Requirement) -> str:
    return f"{requirement.name}{requirement.specifier}"
