"""A trained model for new inputs, from a checkpoint alone: the training data is not needed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from tfloop_cli.config.schema import Config
from tfloop_cli.engine.checkpoints.storage import restore
from tfloop_cli.engine.data import ArraySource, Data, Dataset, DataSpec, build_data
from tfloop_cli.engine.data.build_context import DATA
from tfloop_cli.engine.data.spec_json import spec_from_json
from tfloop_cli.engine.data.structures import Structure, map_structure
from tfloop_cli.engine.kernels import fast_kernels
from tfloop_cli.engine.loop import TrainSteps
from tfloop_cli.engine.runtime import kernel_settings
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import Task, build_task, scores_of
from tfloop_cli.engine.training.setup import build_state
from tfloop_cli.errors import TfloopError
from tfloop_cli.runs.checkpoints import Checkpoint, damaged


@dataclass(frozen=True)
class TrainedRun:
    """A trained model, ready for inputs.

    Attributes:
        checkpoint: whose weights it has.
        config: of the run, after `runtime.setup`.
        spec: shape of the data.
        encoders: how the data was encoded, as `Encoders.to_json` has it; empty if the dataset has no encoders.
        task: of the run.
        state: the restored training state; its models have the EMA weights if the run has an EMA.
    """

    checkpoint: Checkpoint
    config: Config
    spec: DataSpec
    encoders: Mapping[str, Any]
    task: Task
    state: TrainState

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, config: Config, warn: Callable[[str], None] = lambda line: None
    ) -> "TrainedRun":
        """Builds task and model of a run, and restores a checkpoint.

        Args:
            checkpoint: to restore.
            config: of the run, after `runtime.setup`; its modules of user code are loaded.
            warn: prints a warning about the data, which is read only for a run of a version that did not keep its spec.

        Raises:
            TfloopError: the checkpoint is damaged, or does not match the model (exit code 6).
        """
        encoders = checkpoint.encoders() or {}
        spec = _spec_of(checkpoint, config, encoders, warn)
        data = Data(_stand_in(spec, checkpoint.manifest["data"]), config, training=False)
        task = build_task(config.task, spec)
        state = build_state(task, data, config, checkpoint.manifest["total_steps"], restored=True)
        restore(checkpoint, state, TrainSteps(state, data, task, config).trace)
        state.keep_ema_weights()
        return cls(checkpoint, config, spec, encoders, task, state)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in the order of the probabilities; empty if the model predicts numbers."""
        return self.spec.class_names

    def model_inputs(self, inputs: Structure) -> Structure:
        """Returns inputs as the model receives them, in a graph or eagerly.

        Args:
            inputs: as the run's dataset has them, such as uint8 images or encoded rows of a table: [batch, ...].
        """
        dtype = "float64" if self.config.precision == "float64" else "float32"
        return self.spec.model_inputs(inputs, dtype, self.config.scale_uint8)

    @cached_property
    def scores(self) -> Callable[[Structure], tf.Tensor]:
        """A compiled function of inputs [batch, ...], as the run's dataset has them.

        It returns the probability of each class, float32 [batch, classes], or numbers in the targets' own units,
        float64 [batch, numbers].

        Raises:
            TfloopError: the task of the run predicts neither (exit code 2).
        """
        settings = kernel_settings(self.config)

        def compute(inputs: Structure) -> tf.Tensor:
            with fast_kernels(settings):
                ready = self.model_inputs(inputs)
                found = scores_of(self.task, self.state, ready)
            if found is None:
                raise TfloopError(
                    f"task `{self.config.task.name}` has no probabilities and no numbers to predict",
                    hint="a task of your own needs `probabilities(state, inputs)`, or `predict` for numbers",
                )
            return found

        signature = map_structure(lambda one: tf.TensorSpec([None, *one.shape], one.dtype), self.spec.inputs)
        return tf.function(compute, input_signature=[signature], autograph=False)

    @cached_property
    def evaluation_scores(self) -> Callable[[Structure], tf.Tensor]:
        """Like `scores`, but traced as the evaluation of a split is: equal batches have the same bits.

        With a known batch size, TensorFlow computes some models with other rounding than with any batch size.
        """
        return tf.function(self.scores.python_function, reduce_retracing=True, autograph=False)


def _spec_of(
    checkpoint: Checkpoint, config: Config, encoders: Mapping[str, Any], warn: Callable[[str], None]
) -> DataSpec:
    kept = checkpoint.manifest.get("spec")
    if kept is None:  # a run of an earlier version
        return build_data(config, warn, encoders or None).spec
    try:
        return spec_from_json(kept)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise damaged(checkpoint.path, f"its `spec` cannot be used: {error}") from error


def _stand_in(spec: DataSpec, fingerprint: str) -> Dataset:
    """Returns a dataset of one example of zeros: some parts of a model are known only when it is traced."""
    inputs = map_structure(
        lambda one: np.zeros([1, *(1 if length is None else length for length in one.shape)], one.dtype), spec.inputs
    )
    targets = map_structure(
        lambda one: np.zeros([1, *one.shape], np.int32 if one.classes and not one.one_hot else np.float32), spec.targets
    )
    return Dataset(spec, {DATA: ArraySource(inputs, targets)}, fingerprint)
