"""The first event of a run: what the header shows before the first step."""

from collections.abc import Sequence
from pathlib import Path

from tfloop_cli.config.loading import to_mapping
from tfloop_cli.config.schema import Config
from tfloop_cli.config.warmup import warmup_steps_of
from tfloop_cli.engine.data import Data, DataSpec, InputSpec
from tfloop_cli.engine.data.structures import named_values
from tfloop_cli.engine.state import TrainState
from tfloop_cli.events import RunStarted
from tfloop_cli.runs.folder import RunFolder

SPLIT_ORDER = ("train", "validation", "test")


def start_event(
    run: RunFolder, config: Config, data: Data, state: TrainState, code: Sequence[Path], *, evaluates: bool = True
) -> RunStarted:
    """Returns the start event of a new or resumed run.

    Args:
        run: the run folder.
        config: the resolved config.
        data: its splits.
        state: models and step.
        code: the user's files; a copy in the run folder was loaded with `--trust-code`.
        evaluates: whether the task has an evaluation step.
    """
    parameters = sum(model.count_params() for model in state.models.values())
    splits = sorted(data.splits, key=lambda name: SPLIT_ORDER.index(name) if name in SPLIT_ORDER else 3)
    sizes = ", ".join(size for split in splits if (size := _size(data, split)))
    skipped = "".join(f"; {split}: {_invalid(count)} skipped" for split, count in data.skipped.items())
    return RunStarted(
        run=str(run),
        step=int(state.step),
        config=to_mapping(config),
        epochs=max(data.epochs, int(state.epoch)),
        steps_per_epoch=data.steps_per_epoch,
        examples_per_epoch=min(data.examples("train"), data.steps_per_epoch * data.batch_size),
        metrics=state.metrics,
        facts={
            "dataset": f"{config.dataset.name} ({sizes}{skipped})",
            **_inputs(data.spec, config),
            "model": f"{config.model.name} ({parameters:,} parameters)",
            "optimizer": _optimizer(config, config.epochs * data.steps_per_epoch),
            "batches": f"{data.batch_size} examples per batch, {data.steps_per_epoch:,} steps per epoch",
            "device": f"{config.device}, {config.threads} thread{'s' if config.threads != 1 else ''}, "
            f"{config.precision}, compile: {config.compile}, kernels: {config.kernels}",
        },
        skipped_examples=dict(data.skipped),
        notes=(*(data.encoders.notes if data.encoders else ()), *data.files.notes),
        code_options=_code_options(run, code),
        evaluated=next((split for split in reversed(splits) if split in SPLIT_ORDER), "") if evaluates else "",
        columns=tuple(data.encoders.overview()) if data.encoders else (),
    )


def _size(data: Data, split: str) -> str:
    """Returns the number of examples of a split; "" for the examples of the folds: they are training examples."""
    size, folds = f"{data.examples(split):,} {split}", data.run_splits.folds
    if folds is None or not data.has_folds(split):
        return size
    return f"{size} in {folds.count} folds" if split == "train" else ""


def _code_options(run: RunFolder, code: Sequence[Path]) -> tuple[str, ...]:
    if code and all(path.parent.is_relative_to(run.code) for path in code):
        return ("--trust-code",)
    return tuple(text for path in code for text in ("--code", str(path)))


def _inputs(spec: DataSpec, config: Config) -> dict[str, str]:
    """Returns several inputs, and how uint8 inputs are used; nothing for one other input, which is used as it is."""
    inputs = named_values(spec.inputs)
    described = [f"{name} {_input(one, config)}".lstrip() for name, one in inputs]
    return {"inputs": "; ".join(described)} if len(inputs) > 1 or inputs[0][1].dtype == "uint8" else {}


def _input(one: InputSpec, config: Config) -> str:
    shape = "x".join("?" if length is None else str(length) for length in one.shape)
    text = f"{one.dtype} {shape}".rstrip()
    if one.dtype != "uint8":
        return text
    how = "divided by 255" if one.is_scaled(config.scale_uint8) else "not divided by 255"
    return f"{text}, {'images' if one.is_image else 'no images'}: {how} (key `scale_uint8`)"


def _optimizer(config: Config, total_steps: int) -> str:
    rate = config.optimizer.arguments.get("learning_rate")
    schedule = f"{config.schedule.name} schedule"
    warmup_steps = warmup_steps_of(config, total_steps)
    warmup = f" after {warmup_steps:,} warm-up steps" if warmup_steps else ""
    return f"{config.optimizer.name}, " + (f"learning rate {rate:g}, " if rate is not None else "") + schedule + warmup


def _invalid(count: int) -> str:
    return f"{count:,} invalid example{'' if count == 1 else 's'}"
