"""`tfloop cache`: shows or clears the disk cache of decoded data."""

from typing import Any

from tfloop_cli import cache_folder
from tfloop_cli.files import utc
from tfloop_cli.terminal.tables import byte_size


def cache(clear: bool = False) -> dict[str, Any]:
    """Returns the entries, the most recently used first; with `clear`, removes those that are not in use before.

    Returns:
        A JSON document: "folder", "limit_bytes", "removed_bytes", "bytes" and "entries".
    """
    removed = sum(entry.bytes for entry in cache_folder.entries() if cache_folder.remove(entry)) if clear else 0
    found = cache_folder.entries()[::-1]
    return {
        "event": "cache",
        "folder": str(cache_folder.folder()),
        "limit_bytes": cache_folder.limit(),
        "removed_bytes": removed,
        "bytes": sum(entry.bytes for entry in found),
        "entries": [
            {
                "file": entry.path.name,
                "about": entry.about or "incomplete or damaged",
                "bytes": entry.bytes,
                "last_used": utc(entry.used),
            }
            for entry in found
        ],
    }


def describe(document: dict[str, Any], cleared: bool) -> str:
    """Returns the document as text."""
    used, limit, entries = document["bytes"], document["limit_bytes"], document["entries"]
    lines = [f"removed {byte_size(document['removed_bytes'])}"] if cleared else []
    if cleared and entries:
        lines.append("still in use by a running process, or not removable:")
    lines.append(f"{document['folder']}: {byte_size(used)} of at most {byte_size(limit)}")
    lines += [
        f"  {byte_size(one['bytes']):>10}  last used {one['last_used'][:16].replace('T', ' ')} UTC  {one['about']}"
        for one in entries
    ]
    return "\n".join(lines)
