"""Kills, damages and fills up, on this machine and this filesystem, and says what held.

    python -m benchmarks.durability                    everything: about an hour
    python -m benchmarks.durability --quick            the short form of each section: some minutes
    python -m benchmarks.durability kills corruption       these sections

Sections: order, syscalls, disk, corruption, configs, resume, cost, kills, sigterm. Exit code 1 if anything did not hold.
"""

import argparse
import importlib
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.durability.common import Campaign

# Each section is the function of that name in a module. Those that compute with TensorFlow in this process come after
# `kills`, which forks it: a process that has started TensorFlow's threads cannot be forked.
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
    """Runs the sections; 0 if everything held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION")
    parser.add_argument("--quick", action="store_true", help="the short form")
    parser.add_argument("--folder", type=Path, default=Path(), help="where to work: on the filesystem to be tested")
    options = parser.parse_args()
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    chosen = [name for name in SECTIONS if not options.sections or name in options.sections]

    folder = Path(tempfile.mkdtemp(prefix="durability-", dir=options.folder.resolve()))
    campaign = Campaign(folder, options.quick)
    campaign.say(f"working in {folder}")
    for name in chosen:
        started = time.monotonic()
        section = getattr(importlib.import_module(f"benchmarks.durability.{SECTIONS[name]}"), name)
        (folder / name).mkdir()
        section(campaign, folder / name)
        campaign.say(f"{name} took {time.monotonic() - started:.0f} s")
    print(
        "\n" + "\n".join(f"{'held  ' if held else 'FAILED'}  {what}: {text}" for what, held, text in campaign.findings)
    )
    if campaign.held:
        shutil.rmtree(folder)
    else:
        print(f"what failed can be looked at in {folder}")
    return 0 if campaign.held else 1


if __name__ == "__main__":
    sys.exit(main())
