"""Texts: files, n-grams, tokens, and the encoders that turn them into numbers."""
