"""One file per command of the command line; `train.py` is the map of the program."""
