"""Restores what a training changes in the process, for programs that use Keras afterwards."""

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR
from keras.src.utils.rng_utils import GLOBAL_RANDOM_SEED
from tensorflow.python.eager import context as eager


@contextmanager
def keep_process_state() -> Iterator[None]:
    """A context after which Keras' settings and the random generators are as before."""
    formats = keras.config.floatx(), keras.config.dtype_policy(), keras.config.image_data_format()
    options = tf.config.optimizer.get_experimental_options().get("arithmetic_optimization", True)
    generators = random.getstate(), np.random.get_state()
    seeds = {name: global_state.get_global_attribute(name) for name in (GLOBAL_RANDOM_SEED, GLOBAL_SEED_GENERATOR)}
    running = eager.context()
    tensorflow = running._seed, getattr(running, "_rng", None)  # without a seed there is no `_rng`
    logger = logging.getLogger("tensorflow")
    logger.addFilter(_is_no_count_of_traces)
    try:
        yield
    finally:
        logger.removeFilter(_is_no_count_of_traces)
        keras.config.set_floatx(formats[0])
        keras.config.set_dtype_policy(formats[1])
        keras.config.set_image_data_format(formats[2])
        tf.config.optimizer.set_experimental_options({"arithmetic_optimization": options})
        random.setstate(generators[0])
        np.random.set_state(generators[1])
        for name, value in seeds.items():
            global_state.set_global_attribute(name, value)
        running._seed, running._rng = tensorflow


def _is_no_count_of_traces(record: logging.LogRecord) -> bool:
    """TensorFlow takes the functions of several runs for one that is traced again and again, and warns of it."""
    return "triggered tf.function retracing" not in record.getMessage()
