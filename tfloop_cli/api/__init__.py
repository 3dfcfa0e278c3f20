"""tfloop in a Python program: `tfloop_cli.train`, `tfloop_cli.load`, and the `Run` that they return."""
