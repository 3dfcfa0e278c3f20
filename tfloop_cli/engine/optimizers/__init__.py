"""Optimizers. All of Keras' are available by name. To add one, register it in a new file of this folder."""
