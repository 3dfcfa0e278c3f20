"""`python -m tfloop_cli` is `tfloop`."""

from tfloop_cli.cli import main

main()
