"""Keras models by name; a builder knows the shape of the data and nothing else. Classifiers put out logits."""
