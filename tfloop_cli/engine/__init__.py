"""The rooms that import TensorFlow. Nothing outside of this package may import it at module top."""

import os

# Keras reads its backend here while it is imported; whatever the shell or ~/.keras says, this is TensorFlow.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
