"""The engine: everything that uses TensorFlow. Only this package imports tensorflow, keras or tensorflow_datasets."""

import os

# Keras reads its backend when it is imported. It must be TensorFlow, whatever is set in the shell or ~/.keras.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
