"""Predictions of a trained run for new inputs: files, rows, texts, images, arrays.

Inputs are read in chunks, so that memory does not grow with their number. Nothing is known here of the screen or of
files of predictions.
"""

from tfloop_cli.engine.inference.inputs import Inputs
from tfloop_cli.engine.inference.predicting import Predictions, default_batch_size, predict
from tfloop_cli.engine.inference.readers import Reader, reader_of
from tfloop_cli.engine.inference.results import ResultColumns

__all__ = ["Inputs", "Predictions", "Reader", "ResultColumns", "default_batch_size", "predict", "reader_of"]
