"""`tfloop reproduce`: what is trained again, and how the result compares. `commands.train` trains in between."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tfloop_cli.errors import ExitCode
from tfloop_cli.runs import folder
from tfloop_cli.runs.checkpoints import unused_name
from tfloop_cli.runs.comparison import Difference, changed_flags
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.runs.records import RunRecord, find_record, mapping
from tfloop_cli.runs.reproduction import Outcome, Plan, outcome, plan
from tfloop_cli.runs.start import TrainOptions
from tfloop_cli.terminal.cells import printable, value_text
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.tables import cut

_SHORT = 12  # characters of a checksum
_FEW = 5  # metrics that are shown
_VALUE = 60  # characters of a value


@dataclass(frozen=True)
class Prepared:
    """A run that can be reproduced.

    Attributes:
        record: the run.
        plan: what of it is compared.
        output: the folder of the new run.
    """

    record: RunRecord
    plan: Plan
    output: Path

    def train_options(self, sources: Mapping[str, str], code: list[Path]) -> TrainOptions:
        """Returns the options to train it again.

        Args:
            sources: of the config of this command; only those of `--set` are not those of the run.
            code: the user's files.
        """
        given = {key: one for key, one in sources.items() if one.startswith("--")}
        return TrainOptions(
            self.record.run.name_prefix(),
            self.output,
            code=code,
            sources={**mapping(self.record.metadata.get("sources")), **given},
            reproduces=self.record.run,
            last_epoch=None if self.plan.finished else self.plan.epochs,
        )


def prepare(name: str, runs_dir: Path, output: Path | None) -> Prepared:
    """Finds a run and checks that it can be reproduced; nothing is written.

    Raises:
        TfloopError: it cannot, there is no such run, or `output` is not free (exit code 2).
    """
    record = find_record(name, runs_dir)
    what = plan(record)
    output = output or unused_name(runs_dir / f"{record.run.path.resolve().name}-reproduced")
    folder.require_free(output)
    return Prepared(record, what, output)


def report(prepared: Prepared, console: Console) -> ExitCode:
    """Prints how the trained run compares with its original.

    Returns: DONE if they are equal, THRESHOLD_FAILED if not.
    """
    again = RunRecord(RunFolder(prepared.output))
    found = outcome(prepared.record, again, prepared.plan)
    if console.json:
        console.document(_document(prepared, found))
    else:
        console.result("\n".join(_lines(prepared, found)))
    return ExitCode.DONE if found.equal else ExitCode.THRESHOLD_FAILED


def _document(prepared: Prepared, found: Outcome) -> dict[str, Any]:
    return {
        "event": "reproduction",
        "run": str(prepared.record.run),
        "reproduced": str(prepared.output),
        "equal": found.equal,
        "finished": found.plan.finished,
        "epochs": found.plan.epochs,
        "weights": [{"step": step, "before": before, "now": now} for step, before, now in found.weights],
        "compared_metrics": found.compared,
        "metrics": [asdict(one) for one in found.metrics],
        "differences": [
            {"kind": one.kind, "key": one.key, "before": one.values[0], "now": one.values[1]}
            for one in found.differences
        ],
    }


def _lines(prepared: Prepared, found: Outcome) -> Iterator[str]:
    run = printable(str(prepared.record.run))
    yield f"{run} is {'' if found.equal else 'not '}reproduced by {printable(str(prepared.output))}"
    if not found.plan.finished:
        count = found.plan.epochs
        what = "its only completed epoch" if count == 1 else f"its {count} completed epochs"
        yield f"  it was stopped, so {what} {'is' if count == 1 else 'are'} compared"
    yield f"  weights: {_weights(found)}"
    differing, every = len(found.metrics), found.compared
    yield f"  metrics: {f'{differing} of {every} values differ' if differing else f'all {every} values are the same'}"
    for one in found.metrics[:_FEW]:
        yield f"    {one.where}  {one.metric}  {one.before} before, {one.now} now"
    if not found.equal:
        yield "  what differs:" if found.differences else "  nothing that is known to matter differs"
    for difference in found.differences:
        yield f"    {difference.kind}  {printable(difference.key)}  {_change(difference)}"


def _weights(found: Outcome) -> str:
    differing = [(step, before, now) for step, before, now in found.weights if before != now]
    if differing:
        step, before, now = differing[0]
        return f"they differ at step {step:,}: sha256 {before[:_SHORT]} before, {now[:_SHORT]} now"
    if not found.weights:
        return "not compared, since there are no checkpoints of the same step"
    return f"the same bits at step {', '.join(f'{step:,}' for step in sorted({one[0] for one in found.weights}))}"


def _change(difference: Difference) -> str:
    before, now = difference.values
    if difference.key == "cpu_flags":
        gone, new = changed_flags(before, now)
        return cut(" ".join([*(f"-{flag}" for flag in gone), *(f"+{flag}" for flag in new)]), _VALUE)
    return " -> ".join(cut(value_text(one), _VALUE) for one in (before, now))
