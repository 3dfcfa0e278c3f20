"""Learning rate schedules, one file each.

A schedule is a function from the number of optimizer updates after the warm-up (float32 []) to a multiplier for the
optimizer's learning rate (float32 []). `optimizers/learning_rate.py` combines it with the warm-up.
"""

from collections.abc import Callable

import tensorflow as tf

Multiplier = Callable[[tf.Tensor], tf.Tensor]
