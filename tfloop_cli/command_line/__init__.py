"""Groups of commands: Typer options of commands that `cli.py` has not itself. Imports are inside of functions."""
