"""tfloop: a configurable command-line trainer for TensorFlow."""

__version__ = "0.1.0"
