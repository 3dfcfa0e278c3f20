"""Tests fault tolerance on this machine and filesystem: kills processes, corrupts files, fills disks.

    python -m benchmarks.durability                    all sections: about an hour
    python -m benchmarks.durability --quick            the short form of each section: some minutes
    python -m benchmarks.durability kills corruption   these sections

Sections: order, syscalls, disk, configs, kills, sigterm, corruption, resume, cost. The exit code is 1 if a check fails.
"""

import argparse
import importlib
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.durability.common import Campaign

# Section -> module; the section is the function of that name. `kills` forks this process, and a process in which
# TensorFlow has started threads cannot be forked. So sections that run TensorFlow in this process come after it.
SECTIONS = {
    "order": "commits",
    "syscalls": "commits",
    "disk": "commits",
    "configs": "configs",
    "kills": "kills",
    "sigterm": "kills",
    "corruption": "corruption",
    "resume": "resumes",
    "cost": "cost",
}


def main() -> int:
    """Runs the sections; returns 0 if all checks passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION")
    parser.add_argument("--quick", action="store_true", help="run the short form")
    parser.add_argument("--folder", type=Path, default=Path(), help="a folder on the filesystem to test")
    options = parser.parse_args()
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}; available: {', '.join(SECTIONS)}")
    if not options.folder.is_dir():
        parser.error(f"--folder {options.folder} is not a folder")
    selected = [name for name in SECTIONS if not options.sections or name in options.sections]

    folder = Path(tempfile.mkdtemp(prefix="durability-", dir=options.folder.resolve()))
    campaign = Campaign(folder, options.quick)
    campaign.log(f"working in {folder}")
    for name in selected:
        started = time.monotonic()
        section = getattr(importlib.import_module(f"benchmarks.durability.{SECTIONS[name]}"), name)
        (folder / name).mkdir()
        section(campaign, folder / name)
        campaign.log(f"{name} took {time.monotonic() - started:.0f} s")
    print()
    for name, passed, details in campaign.findings:
        print(f"{'passed' if passed else 'FAILED'}  {name}: {details}")
    if campaign.held:
        shutil.rmtree(folder)
    else:
        print(f"the files are kept in {folder}")
    return 0 if campaign.held else 1


if __name__ == "__main__":
    sys.exit(main())
