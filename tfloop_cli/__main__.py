"""`python -m tfloop_cli` is `tfloop`."""

from tfloop_cli.interrupts import exit_on_signals

exit_on_signals()  # before the imports, which take time

from tfloop_cli.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
