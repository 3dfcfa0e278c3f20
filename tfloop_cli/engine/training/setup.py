"""Creates the training state of a new run: models checked against the task, and an optimizer for each."""

from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from tfloop_cli.config.schema import Config
from tfloop_cli.engine.data import Data, DataSpec
from tfloop_cli.engine.data.structures import is_several
from tfloop_cli.engine.optimizers.build import build_optimizer
from tfloop_cli.engine.optimizers.run_optimizer import RunOptimizer
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import Task, sum_metrics_of, uses_autograph
from tfloop_cli.engine.training.model_inputs import build_weights, check_inputs, model_inputs
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import models
from tfloop_cli.registry.results import wrong_result


def create_state(
    built: keras.Model | Mapping[str, keras.Model], task: Task, spec: DataSpec, config: Config, total_steps: int
) -> TrainState:
    """Returns a state at step 0, with a new optimizer for each model.

    Args:
        built: one model, or several by name.
        task: names the models that it trains, and its metrics.
        spec: shape of the data.
        config: optimizer, schedule, seed, ema_decay, precision, micro_batch_size.
        total_steps: training steps in the whole run, which the schedule spans.

    Raises:
        TfloopError: the models are not those of the task, or have other inputs or outputs than data and task, or
            `micro_batch_size` does not suit model or task, or the optimizer is invalid (exit code 2); the builder of
            the model returned something else (exit code 7).
    """
    by_name, spec = _by_name(built, config.model.name), spec.with_scale(config.scale_uint8)
    if task.models and set(by_name) != set(task.models):
        raise TfloopError(
            f"task `{config.task.name}` trains {_list(task.models)}, but `{config.model.name}` is {_list(by_name)}",
            hint="use `task: gan` with `model: dcgan`, and other models with `classification` or `regression`",
        )
    notes = []
    if isinstance(built, keras.Model):
        notes.append(_check_inputs(built, task, spec, config.model.name))
        if not built.built:
            build_weights(built, spec)
    if check := getattr(task, "check_model", None):  # optional for user tasks
        notes.append(check(by_name["model"], spec, config.model.name))
    if not uses_autograph(task):  # a user's task may call such methods of the model
        notes += [_unused_methods(model, name) for name, model in by_name.items()]
    if config.accumulates_gradients:
        _require_independent_examples(config, task, by_name)
    state = TrainState(by_name, (), config.seed)
    _name_metrics(state, task)
    state.task_variables = getattr(task, "saved_variables", {})
    state.notes += filter(None, notes)
    for name, model in by_name.items():
        state.optimizers[name] = RunOptimizer(
            build_optimizer(config, total_steps),
            model.trainable_variables,
            state.loss_sum,
            state.norm_sum,
            ema_decay=config.ema_decay,
            use_loss_scale=config.precision == "float16",
            accumulate=config.accumulates_gradients,
        )
    return state


def settle_splits(
    task: Task, data: Data, config: Config, note: Callable[[str], None], warn: Callable[[str], None]
) -> Config:
    """Prints what is held out of the training split. If the task cannot evaluate it, "auto" holds out nothing.

    Returns the config with the batch size.

    Args:
        task: it may have no `eval_step`; a note of `complete_setup` says so.
        config: of the run.
        data: its training split may change; called before `steps_per_epoch` is used.
        note: prints a line.
        warn: prints what is wrong with the splits.
    """
    if not task.eval_step:
        data.run_splits.undo_auto()
    for line in data.run_splits.notes:
        note(line)
    for line in data.run_splits.warnings:
        warn(line)
    if config.batch_size == "auto":
        note(f"batch size: {data.batch_size}, for {data.examples('train'):,} training examples (key `batch_size`)")
        config = config.model_copy(update={"batch_size": data.batch_size})
    return config


def limit_epochs(config: Config, data: Data, position: tuple[int, int], note: Callable[[str], None]) -> Config:
    """Returns the config with the number of epochs that `max_steps` allows; then `data.first_step` knows the run.

    Args:
        config: of the run.
        data: with its final splits and batch size.
        position: the epoch at which the run continues, and its first step; earlier epochs may have had another length,
            since data can change. (0, 0) for a new run.
        note: prints a message if there are fewer epochs.
    """
    if position[0] <= config.epochs:
        data.continue_at(*position)
    if data.epochs >= config.epochs:
        return config
    note(
        f"`max_steps: {config.max_steps}` allows {data.epochs} of {config.epochs} epochs: each has "
        f"{data.steps_per_epoch} steps"
    )
    return config.model_copy(update={"epochs": data.epochs})


def build_state(
    task: Task,
    data: Data,
    config: Config,
    total_steps: int,
    note: Callable[[str], None] = lambda text: None,
    *,
    restored: bool = False,
) -> TrainState:
    """Builds the config's models, and returns a state at step 0; see `create_state`.

    Args:
        task: names the models that it trains, and its metrics.
        data: shape of the data and of its batches.
        config: see `create_state`; its model is built.
        total_steps: training steps in the whole run.
        note: prints a line about models and task.
        restored: whether a checkpoint replaces what tasks of tfloop set in `prepare`.
    """
    state = create_state(models.build(config.model, data.spec), task, data.spec, config, total_steps)
    complete_setup(task, state, data, note, restored=restored)
    return state


def complete_setup(
    task: Task,
    state: TrainState,
    data: Data,
    note: Callable[[str], None] = lambda text: None,
    *,
    restored: bool = False,
) -> None:
    """Names the metrics of a task that does not declare them, and prints notes about models and task.

    Args:
        task: its training step is traced if it has no `metrics`: it returns them by name.
        state: the training state.
        data: the shape of its batches.
        note: prints a line.
        restored: see `build_state`.

    Raises:
        TfloopError: the training split has folds, and the model is no ensemble (exit code 2).
    """
    if data.run_splits.folds and not getattr(task, "ensemble", None):
        raise TfloopError(
            "the model has the argument `members`, so that the training examples are divided into folds, but its last "
            "layer combines no members",
            hint="rename the argument, or use `validation: 0.1`",
        )
    if not task.metrics:
        tf.function(task.train_step).get_concrete_function(state, data.evaluation("train").element_spec)
        _name_metrics(state, task)
    prepare = getattr(task, "prepare", None)  # optional
    if prepare and not (restored and type(task).__module__.startswith("tfloop_cli.")):
        line = prepare(data)
        state.notes += [line] if isinstance(line, str) else []
    if not task.eval_step:
        unused = f"; its {held} examples are not used" if (held := data.examples("validation")) else ""
        if data.run_splits.undone:
            unused = f"; {_undone(data)}"
        state.notes.append(f"the task has no `eval_step`: there is no validation and no test{unused}")
    for text in state.notes:
        note(text)


def _undone(data: Data) -> str:
    """Returns what happens to splits that "auto" does not hold out, since the task has no `eval_step`.

    The task was built for the encoders, which are not fitted anew.
    """
    undone = data.run_splits.undone
    keys, others = (" and ".join(f"`{split}: {size}`" for split in undone) for size in ("auto", "0"))
    held = f"{keys} hold{'s' if len(undone) == 1 else ''} out none of the {data.examples('train'):,} examples"
    fitted = f", but encoders were fitted without them; with {others} they are fitted to all"
    return held + fitted * (data.encoders is not None)


def _name_metrics(state: TrainState, task: Task) -> None:
    state.name_metrics(task.metrics, {name: metric.size for name, metric in sum_metrics_of(task).items()})


def _check_inputs(model: keras.Model, task: Task, spec: DataSpec, name: str) -> str | None:
    """Checks the inputs of a model; a user's task may pass others to it, so for that this is a note at most."""
    try:
        check_inputs(model, spec, name)
    except TfloopError as error:
        if not uses_autograph(task):
            raise
        if is_several(spec.inputs) and len(model_inputs(model)) > 1:
            return str(error)
    return None


def _unused_methods(model: keras.Model, name: str) -> str | None:
    """Returns a note about what a model brings for Keras' `fit`, which the tasks of tfloop do not use."""
    steps = ("train_step", "test_step", "predict_step", "compute_loss", "compute_metrics")
    own = [f"own `{step}`" for step in steps if getattr(type(model), step) is not getattr(keras.Model, step)]
    own += ["`compile(...)`"] if model.compiled else []
    return f"not used, since the task trains the model `{name}`: its {', '.join(own)}" if own else None


def _by_name(built: keras.Model | Mapping[str, keras.Model], name: str) -> dict[str, keras.Model]:
    by_name = {"model": built} if isinstance(built, keras.Model) else built
    if not isinstance(by_name, Mapping) or not all(isinstance(model, keras.Model) for model in by_name.values()):
        raise wrong_result(
            "model",
            name,
            f"its builder returned {type(built).__name__}, not a Keras model or a dict of models",
            "return an instance of keras.Model, or {name: model, ...} for a task with several models",
        )
    return dict(by_name)


def _require_independent_examples(config: Config, task: Task, by_name: Mapping[str, keras.Model]) -> None:
    """Raises TfloopError if examples of a batch affect each other, so that micro-batches would change the result."""
    layer = next((found for model in by_name.values() if (found := _layer_with_statistics(model))), None)
    if layer is None and not getattr(task, "whole_batches", False):
        return
    cause, hint = f"task `{config.task.name}`", "lower `batch_size` instead"
    if layer is not None:
        cause = (
            f"model `{config.model.name}` has non-trainable weights in its layer `{layer.name}`, such as the moving "
        )
        cause += "statistics of batch norm"
        hint += ", freeze the layer, or use a model whose weights are all trainable"
    raise TfloopError(
        f"`micro_batch_size: {config.micro_batch_size}` would divide batches whose examples may affect each other: "
        f"{cause}",
        hint=hint,
    )


def _layer_with_statistics(model: keras.Model) -> keras.Layer | None:
    """Returns a layer whose non-trainable weights a step may change; a frozen layer changes none."""
    for layer in model._flatten_layers():
        seeds = {id(seed.state) for seed in layer._seed_generators}
        if layer.trainable and any(id(one) not in seeds for one in layer._non_trainable_variables):
            return layer
    return None


def _list(names: Sequence[str] | Mapping[str, object]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))
