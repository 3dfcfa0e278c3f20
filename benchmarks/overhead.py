"""What display and logging cost: tfloop with its screen, quiet, and its loop alone, in turn.

    python benchmarks/overhead.py [mnist.yaml] [--rounds 9] [--epochs 4] [--json FILE] [--png FILE]

`quiet` draws nothing, but records and saves; `the loop alone` does neither. A ratio under 1 says what tfloop pays for
the rest: 0.99 is one part in a hundred.
"""

import os
import sys

from measuring import Contender, in_turn, script, tfloop
from results import Contest, arguments, finish

HUGE_PAGES = "glibc.malloc.hugetlb=1"  # what `tfloop train` starts itself over with


def main() -> None:
    """Measures the three in turn and prints the table."""
    parser = arguments(__doc__ or "", rounds=9)
    parser.add_argument("config", nargs="?", default="mnist.yaml")
    options = parser.parse_args()

    alone = script("bare_loop.py", options.config)
    contenders = {
        "tfloop": tfloop(options.config),
        "tfloop, quiet": tfloop(options.config, options=["--quiet"]),
        "the loop alone": Contender(alone.command, {"GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", HUGE_PAGES)}),
    }
    rows = in_turn(contenders, options.rounds, options.epochs, lambda text: print(text, file=sys.stderr, flush=True))
    finish(options, {options.config: Contest(rows)})


if __name__ == "__main__":
    main()
