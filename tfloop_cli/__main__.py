"""Where the process begins: `tfloop` and `python -m tfloop_cli`."""

import atexit
import os
import sys
from contextlib import suppress

HUGE_PAGES = "glibc.malloc.hugetlb=1"


def ask_for_huge_pages() -> None:
    """Starts the process over with huge pages for malloc, which glibc reads before anything runs.

    Training touches tens of megabytes at every step; with pages of 2 MiB the CPU finds them faster (see
    docs/performance.md). A user's own GLIBC_TUNABLES stays as it is; another C library ignores this one.
    """
    if sys.platform == "linux" and sys.argv[1:2] == ["train"] and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = HUGE_PAGES
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


# Before the imports, which take time: first what starts the process over, then what a signal does from here on.
if __name__ == "__main__" or sys.argv[0].endswith("tfloop"):
    ask_for_huge_pages()

from tfloop_cli.interrupts import exit_on_signals  # noqa: E402

exit_on_signals()

from tfloop_cli import cli  # noqa: E402


def main() -> None:
    """Runs the command line and ends the process.

    With TensorFlow loaded, Python takes half a second and more to take itself apart. What was to be kept is on disk by
    then, so the process ends without that.
    """
    try:
        cli.main()
    except SystemExit as end:
        if "tensorflow" not in sys.modules or not (end.code is None or isinstance(end.code, int)):
            raise
        atexit._run_exitfuncs()
        with suppress(OSError):  # nobody reads it any more
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(end.code or 0)


if __name__ == "__main__":
    main()
