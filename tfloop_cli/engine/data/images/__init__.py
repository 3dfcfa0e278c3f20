"""Folders of images: their layout, files, formats and sizes, decoding, and the sources of their pixels."""
