"""Whether a run can be trained again, and whether that gave the same bits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfloop_cli.config.on_resume import policies
from tfloop_cli.errors import TfloopError
from tfloop_cli.events import FINISHED
from tfloop_cli.registry.argument_types import OnResume
from tfloop_cli.runs.checkpoints import Checkpoint, list_checkpoints
from tfloop_cli.runs.comparison import Difference, differences
from tfloop_cli.runs.records import RunRecord, listed, mapping

_UNIMPORTANT = ("host", "git_commit", "platform")  # they differ often, and do not change a result


@dataclass(frozen=True)
class Plan:
    """What of a run can be repeated.

    Attributes:
        epochs: the completed epochs that are compared.
        finished: whether the run ended by itself. If not, it is repeated up to its last completed epoch.
    """

    epochs: int
    finished: bool


@dataclass(frozen=True)
class Mismatch:
    """A number that is not the same.

    Attributes:
        where: "epoch 3", or "evaluation".
        metric: SPLIT/METRIC.
        before, now: the values; None for a missing one, and for NaN.
    """

    where: str
    metric: str
    before: Any
    now: Any


@dataclass(frozen=True)
class Outcome:
    """How a reproduced run compares with its original.

    Attributes:
        plan: what was compared.
        weights: per comparison the step and both checksums; empty if no checkpoints of the same step exist.
        metrics: what differs, in the order of the epochs.
        compared: how many metrics were compared.
        differences: what may be the reason, if the runs are not equal.
    """

    plan: Plan
    weights: tuple[tuple[int, str, str], ...]
    metrics: tuple[Mismatch, ...]
    compared: int
    differences: tuple[Difference, ...]

    @property
    def equal(self) -> bool:
        """Whether everything that could be compared is the same, and there was something to compare."""
        same = all(before == now for _, before, now in self.weights)
        return same and not self.metrics and bool(self.compared or self.weights)


def plan(record: RunRecord) -> Plan:
    """Returns what of a run can be repeated.

    Raises:
        TfloopError: nothing; the message has the reason (exit code 2).
    """
    run = record.run
    if record.status == "training":
        raise TfloopError(f"{run} is training", hint="wait until it ends")
    if record.problem:
        raise TfloopError(f"{run} is damaged: {record.problem}")
    for change in _changes(record):
        if reason := _reason(change):
            raise TfloopError(
                f"{run} cannot be reproduced from its config: it was resumed with {reason}",
                hint=f"`tfloop train {run.config}` trains its last config from the start",
            )
    epochs, finished = len(record.epochs), record.summary.get("reason") in FINISHED
    if not epochs and not finished:
        raise TfloopError(
            f"{run} was stopped before the end of its first epoch: there is nothing to compare with",
            hint=f"`tfloop resume {run}` continues it",
        )
    return Plan(epochs, finished)


def outcome(original: RunRecord, again: RunRecord, what: Plan) -> Outcome:
    """Compares the weights and the metrics of two runs; checksums and numbers have to be equal.

    Args:
        original: the run.
        again: the one that repeats it.
        what: result of `plan`.
    """
    pairs = list(_metrics(original, again, what))
    found = tuple(one for one in pairs if one.before != one.now)
    weights = tuple(_weights(original, again, what))
    reasons = tuple(one for one in differences([original, again]) if one.key not in _UNIMPORTANT)
    result = Outcome(what, weights, found, len(pairs), ())
    return result if result.equal else Outcome(what, weights, found, len(pairs), reasons)


def _changes(record: RunRecord) -> Iterator[Mapping[str, Any]]:
    for resumed in map(mapping, listed(record.metadata.get("resumed"))):
        for change in map(mapping, listed(resumed.get("changes"))):
            yield {**change, "step": resumed.get("step")}


def _reason(change: Mapping[str, Any]) -> str | None:
    """Returns what a resume has changed for the rest of the run; None if it would have had the same effect before."""
    key = str(change.get("key"))
    if key.startswith("dataset.") or policies().get(key) is OnResume.FREE:  # a path, whose content is compared
        return None
    what = "other data" if key in ("data", "train_examples") else f"another `{key}`"
    return f"{what} at step {change.get('step')}"


def _metrics(original: RunRecord, again: RunRecord, what: Plan) -> Iterator[Mismatch]:
    for number in range(what.epochs):
        before = original.epochs[number]
        now = again.epochs[number] if number < len(again.epochs) else {}
        for split in ("train", "validation"):
            yield from _pairs(f"epoch {number + 1}", split, mapping(before.get(split)), mapping(now.get(split)))
    if what.finished:
        old, new = (mapping(one.summary.get("evaluations")) for one in (original, again))
        for split in ("test",):  # `tfloop evaluate` may add others
            yield from _pairs("evaluation", split, mapping(old.get(split)), mapping(new.get(split)))


def _pairs(where: str, split: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Mismatch]:
    for name in dict.fromkeys([*before, *now]):
        yield Mismatch(where, f"{split}/{name}", before.get(name), now.get(name))


def _weights(original: RunRecord, again: RunRecord, what: Plan) -> Iterator[tuple[int, str, str]]:
    """Yields the checksums of the last weights and, of checkpoints, those of the same step."""
    if what.finished:
        before, now = (str(one.summary.get("weights_sha256")) for one in (original, again))
        yield int(original.last.get("step") or 0), before, now
    old, new = _checkpoints(original), _checkpoints(again)
    yield from ((step, old[step], new[step]) for step in sorted(set(old) & set(new)))


def _checkpoints(record: RunRecord) -> dict[int, str]:
    """Returns step -> checksum of the weights, of the checkpoints at the end of an epoch."""
    found = {}
    ends: Sequence[Any] = [one.get("step") for one in record.epochs]
    try:
        paths = list_checkpoints(record.run.checkpoints)
    except OSError:
        return {}
    for path in paths:
        try:
            manifest = Checkpoint.open(path).manifest
        except TfloopError:
            continue
        if manifest["step"] in ends:
            found[int(manifest["step"])] = str(manifest["weights_sha256"])
    return found
