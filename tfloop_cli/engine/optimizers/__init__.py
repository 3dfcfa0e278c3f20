"""Optimizers. All of Keras' are available by name; a file here that registers another one adds it."""
