"""The entry point of the process: `tfloop` and `python -m tfloop_cli`."""

import atexit
import os
import signal
import sys
from contextlib import suppress

MALLOC_SETTINGS = f"glibc.malloc.hugetlb=1:glibc.malloc.arena_max={os.cpu_count() or 1}"


def restart_with_malloc_settings() -> None:
    """Restarts the process with huge pages for malloc; glibc reads the settings before the program starts.

    Training uses tens of megabytes per step, and pages of 2 MiB need fewer address translations (see
    docs/optimization-notes.md). For the threads of TensorFlow, malloc would have up to eight arenas per CPU, each with
    free memory of its own; one per CPU is as fast. A user's own GLIBC_TUNABLES is not changed; other C libraries ignore
    the variable.
    """
    if sys.platform == "linux" and sys.argv[1:2] in (["train"], ["reproduce"]) and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = MALLOC_SETTINGS
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def open_missing_streams() -> None:
    """Opens the null device for each standard stream that is closed.

    Otherwise the next file that is opened, such as a checkpoint, has the number of the stream, and receives its text.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, descriptor)
            if null != descriptor:
                os.close(null)
            os.set_inheritable(descriptor, True)  # for the restart
            setattr(sys, name, open(descriptor, "w" if descriptor else "r", closefd=False))  # noqa: SIM115 (until the process ends)


# Before the imports, which take time: the restart, and signal handling. Signals wait until `exit_on_signals`, also
# during the restart.
if __name__ == "__main__" or sys.argv[0].endswith("tfloop"):
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP))
    open_missing_streams()
    restart_with_malloc_settings()

from tfloop_cli.signals import exit_on_signals  # noqa: E402

exit_on_signals()

from tfloop_cli import cli  # noqa: E402


def main() -> None:
    """Runs the command line and exits the process.

    With TensorFlow loaded, Python needs half a second and more to clean up. Everything is on disk by then, so the
    process exits without the cleanup.
    """
    try:
        cli.main()
    except SystemExit as end:
        if "tensorflow" not in sys.modules or not (end.code is None or isinstance(end.code, int)):
            raise
        atexit._run_exitfuncs()
        with suppress(OSError):  # the reader of a pipe may have exited
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(end.code or 0)


if __name__ == "__main__":
    main()
