"""The three displays (plain lines, progress bar, JSON), the table of epochs, and the scores of `evaluate`."""

import dataclasses
import io
import json
import re
import time
from collections.abc import Sequence

import pytest

from tfloop_cli.events import EpochDone, Evaluated, Event, Progress, RunEnded, RunStarted, Stopped
from tfloop_cli.runs.documents import document
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.display import make_display
from tfloop_cli.terminal.scores import ClassScore, Confusion, show_scores
from tfloop_cli.terminal.tables import EpochTable, amount, data_table, duration, number

NAN = float("nan")
RUN = "runs/mnist-20261123-101500-a1b2"
STARTED = RunStarted(RUN, 0, {"dataset": "mnist"}, 2, 430, 55000, ("loss", "accuracy"), {"model": "conv_net"})
STARTED = dataclasses.replace(STARTED, evaluated="test")
FIRST = EpochDone(
    1, 430, {"loss": 0.5, "accuracy": 0.91}, {"loss": 0.25, "accuracy": 0.95}, 2.5, 0.2, 24113.4, best=True
)
SECOND = EpochDone(2, 860, {"loss": NAN, "accuracy": 0.92}, {"loss": 0.3, "accuracy": 0.94}, 2.5, 0.2, 24113.4)
TEST = Evaluated("test", 10000, {"loss": 0.061234567, "accuracy": 0.9812}, f"{RUN}/checkpoints/step-00000430")
ENDED = RunEnded("completed", RUN, f"{RUN}/checkpoints/step-00000860", "ab12", 7.25)
EPOCH_KEYS = ["event", "schema", "epoch", "step", "train", "validation"]
EPOCH_KEYS += ["train_seconds", "validation_seconds", "examples_per_second", "best"]
EVENTS: list[Event] = [
    STARTED,
    Progress(1, 43, 43, {"loss": 0.7, "accuracy": 0.8}, 20000.0),
    Progress(1, 430, 20, {"loss": 0.6, "accuracy": 0.9}, 0.0, "validation", 40),
    FIRST,
    SECOND,
    Stopped("completed", 860),
    TEST,
    ENDED,
]


class Terminal(io.StringIO):
    """A stream in memory that looks like a terminal."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return True

    def clear(self) -> None:
        self.seek(0)
        self.truncate()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    for name, value in {"CI": "", "NO_COLOR": "", "TERM": "xterm-256color", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    stream = Terminal()
    # Not sys.stderr, which pytest replaces.
    monkeypatch.setattr("tfloop_cli.terminal.console._private_copy", lambda stderr: stream)
    return stream


def show(console: Console, events: Sequence[Event] = EVENTS) -> None:
    with make_display(console) as display:
        for event in events:
            display.handle(event)


def without_control_codes(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


def test_plain_display_prints_one_line_per_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    show(Console())
    out, err = capsys.readouterr()
    assert out == f"test  loss 0.0612  accuracy 0.9812  (10,000 examples)\n{RUN}\n"
    assert err.splitlines() == [
        f"run    {RUN}",
        "model  conv_net",
        "epoch 1/2  loss 0.5000  accuracy 0.9100  val_loss 0.2500  val_accuracy 0.9500  2.7s  24113 examples/s  best",
        "epoch 2/2  loss nan  accuracy 0.9200  val_loss 0.3000  val_accuracy 0.9400  2.7s  24113 examples/s",
        "the weights of epoch 1, the best one in validation:",
        "completed after 7.2s",
        f"next: tfloop evaluate {RUN}",
    ]


def test_next_command_repeats_code_and_names_existing_split(capsys: pytest.CaptureFixture[str]) -> None:
    started = dataclasses.replace(STARTED, code_options=("--code", "my model.py"), evaluated="validation")
    show(Console(), [started, FIRST, ENDED])
    assert capsys.readouterr().err.endswith(f"next: tfloop evaluate {RUN} --split validation --code 'my model.py'\n")
    spaces = dataclasses.replace(ENDED, run="my runs/1")
    show(Console(), [dataclasses.replace(STARTED, evaluated="train"), spaces])
    assert capsys.readouterr().err.endswith("next: tfloop evaluate 'my runs/1' --split train\n")
    show(Console(), [started, dataclasses.replace(ENDED, reason="SIGINT")])
    assert capsys.readouterr().err.endswith(f"next: tfloop resume {RUN} --code 'my model.py'\n")


@pytest.mark.parametrize("events", [[dataclasses.replace(STARTED, evaluated=""), FIRST, ENDED], [TEST, ENDED]])
def test_no_command_is_suggested_that_would_fail(events: list[Event], capsys: pytest.CaptureFixture[str]) -> None:
    """The task has no evaluation step; a run that was finished before, whose code is not known."""
    show(Console(), events)
    assert "next:" not in capsys.readouterr().err


def test_evaluated_weights_are_called_the_best_only_if_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """With `checkpoint: {best: null}`, or if the best checkpoint cannot be read, the last weights are evaluated."""
    show(Console(), [STARTED, FIRST, dataclasses.replace(TEST, checkpoint=ENDED.checkpoint), ENDED])
    assert "the best one" not in capsys.readouterr().err


def test_quiet_display_prints_only_results(capsys: pytest.CaptureFixture[str], terminal: Terminal) -> None:
    show(Console(quiet=True))
    assert capsys.readouterr().out.splitlines()[-1] == RUN
    assert terminal.getvalue() == ""


def test_json_display_prints_one_document_per_event(capsys: pytest.CaptureFixture[str]) -> None:
    show(Console(json=True))
    out, err = capsys.readouterr()
    documents = [json.loads(line) for line in out.splitlines()]
    assert [list(document) for document in documents] == [
        ["event", "schema", "run", "step", "config"],
        EPOCH_KEYS,
        EPOCH_KEYS,
        ["event", "schema", "split", "examples", "metrics", "checkpoint"],
        ["event", "schema", "reason", "run", "checkpoint", "weights_sha256", "seconds"],
    ]
    assert [document["event"] for document in documents] == ["start", "epoch", "epoch", "evaluation", "end"]
    assert documents[2]["train"]["loss"] is None
    assert documents[3]["metrics"]["loss"] == 0.061234567
    assert err == ""


def test_rich_display_draws_bar_and_table(
    terminal: Terminal, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfloop_cli.terminal.display.REFRESH_SECONDS", 0)
    monkeypatch.setenv("COLUMNS", "90")
    show(Console())
    drawn = terminal.getvalue()
    text = without_control_codes(drawn)
    assert re.search(r"epoch 1/2 [━╺╸]+ +43/430  loss 0.7000  accuracy 0.8000  20,000 examples/s  -:-- left", text)
    assert re.search(r"valid 1/2 [━╺╸]+ 20/40  loss 0.6000  accuracy 0.9000  \d:\d\d left", text)
    assert re.search(r"[\r\n]    1    0.5000    0.9100    0.2500    0.9500     2.7s      24,113     ★\n", text)
    assert "\x1b[?25l" not in drawn  # the cursor is never hidden
    assert capsys.readouterr().out.splitlines()[-1] == RUN


def test_bar_shows_speed_in_training_and_not_in_validation(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfloop_cli.terminal.display.REFRESH_SECONDS", 0)
    monkeypatch.setenv("COLUMNS", "90")
    show(Console(), [STARTED, EVENTS[1]])
    assert "20,000 examples/s" in terminal.getvalue()
    terminal.clear()
    show(Console(), [STARTED, EVENTS[2]])
    assert "valid 1/2" in terminal.getvalue()
    assert "examples/s" not in terminal.getvalue()


def test_bar_drops_speed_and_then_metrics_on_narrow_terminal(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfloop_cli.terminal.display.REFRESH_SECONDS", 0)
    for columns, shown in [
        ("90", "43/430  loss 0.7000  accuracy 0.8000  20,000 examples/s  -:-- left"),
        ("80", "43/430  loss 0.7000  accuracy 0.8000  -:-- left"),
        ("50", "43/430  loss 0.7000  -:-- left"),
        ("40", "43/430  -:-- left"),
    ]:
        monkeypatch.setenv("COLUMNS", columns)
        terminal.clear()
        show(Console(), [STARTED, EVENTS[1]])
        assert re.search(rf"epoch 1/2 [━╺╸]+ +{shown}", without_control_codes(terminal.getvalue()))


def test_no_progress_option_hides_bar_and_keeps_table(terminal: Terminal) -> None:
    show(Console(progress=False))
    text = without_control_codes(terminal.getvalue())
    assert "★" in text
    assert "━" not in text


def test_warning_is_printed_above_bar(terminal: Terminal) -> None:
    console = Console()
    with make_display(console) as display:
        display.handle(EVENTS[0])
        display.handle(EVENTS[1])
        console.warn("the disk is nearly full")
        assert re.search(r"\r\s*warning: the disk is nearly full\n", without_control_codes(terminal.getvalue()))
    assert console.print_above is None


def test_rich_display_is_ascii_on_ascii_terminal(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ascii_terminal = Terminal("ascii")
    monkeypatch.setattr("tfloop_cli.terminal.console._private_copy", lambda stderr: ascii_terminal)
    show(Console())
    assert ascii_terminal.getvalue().isascii()
    assert "24,113     *" in ascii_terminal.getvalue()


def test_bar_updates_are_rate_limited_and_cheap(terminal: Terminal) -> None:
    with make_display(Console()) as display:
        display.handle(STARTED)
        started = time.process_time()
        for step in range(1000):
            display.handle(Progress(1, step, step % 430, {"loss": 0.5, "accuracy": 0.9}, 24113.0))
        seconds = time.process_time() - started
    assert terminal.getvalue().count("epoch 1/2") < 10
    assert seconds < 0.05


def test_stopped_run_prints_resume_command(capsys: pytest.CaptureFixture[str]) -> None:
    show(Console(), [STARTED, RunEnded("SIGINT", RUN, "c", "ab", 61.0)])
    out, err = capsys.readouterr()
    assert out == f"{RUN}\n"
    assert err.endswith(f"stopped (SIGINT) after 1:01\nnext: tfloop resume {RUN}\n")


@pytest.mark.parametrize("width", [60, 71, 72, 80, 120])
def test_table_columns_are_aligned_and_fit_width(width: int) -> None:
    table = EpochTable(STARTED, FIRST, width, unicode=True)
    groups, names = table.header()
    rows = [table.row(FIRST), table.row(SECOND)]
    assert max(map(len, (groups, names, *rows))) <= width
    for name in ("epoch", "accuracy", "time"):  # columns without empty cells
        end = names.index(name) + len(name)
        assert all(row[end - 1] != " " and row[end : end + 1] in ("", " ") for row in rows)
    assert ("examples/s" in names) == (width >= 72)
    assert names.endswith("  best")
    assert (rows[0][-5:], len(rows[0])) == ("    ★", len(names))
    assert "★" not in rows[1]


def test_table_has_columns_of_task_and_no_validation_group() -> None:
    names = ("generator_loss", "discriminator_loss")
    started = RunStarted(RUN, 0, {}, 2, 430, 55000, names)
    first = EpochDone(1, 430, dict(zip(names, (1.0, 0.7), strict=True)), None, 2.5, 0.0, 9000.0)
    table = EpochTable(started, first, 80, unicode=False)
    groups, header = table.header()
    assert groups.strip(" -") == "train"
    assert header.split() == ["epoch", *names, "time", "examples/s", "best"]
    assert table.row(first).split() == ["1", "1.0000", "0.7000", "2.5s", "9,000"]


def test_numbers_have_at_most_8_characters() -> None:
    values = [0.0, 0.98312, -0.5, 12.3456, 99.99999, 123456.78, 1e9, -1e30, 1e-7, NAN, float("-inf")]
    texts = "0.0000 0.9831 -0.5000 12.3456 100.0000 123456.8 1.00e+09 -1.0e+30 1.00e-07 nan -inf"
    assert [number(value) for value in values] == texts.split()
    assert all(len(number(value)) <= 8 for value in values)


def test_numbers_of_the_data_keep_their_digits() -> None:
    values = [0.0, 0.00123456, -7.5, 1234.5, 291625.4, 1234567.0, 2.5e13, 1e-7, NAN]
    texts = "0 0.00123456 -7.5 1234.5 291625.4 1234567.0 2.50000e+13 1.00000e-07 nan"
    assert [amount(value) for value in values] == texts.split()


def test_durations_have_seconds_minutes_and_hours() -> None:
    assert [duration(seconds) for seconds in (0.04, 59.94, 59.96, 61, 3599.6, 3723)] == (
        ["0.0s", "59.9s", "1:00", "1:01", "1:00:00", "1:02:03"]
    )


CLASSES = [ClassScore("shoe", 0.98, NAN, 0.97, 1028), ClassScore("t-shirt", 1.0, 0.9, 0.95, 980)]
CONFUSED = [Confusion("shoe", "t-shirt", 12, 0.01167)]


def test_scores_are_printed_as_tables(capsys: pytest.CaptureFixture[str]) -> None:
    show_scores(Console(), TEST, CLASSES, CONFUSED)
    assert capsys.readouterr().out.splitlines() == [
        "test  loss 0.0612  accuracy 0.9812  (10,000 examples)",
        "",
        "class    precision  recall      f1  support",
        "shoe        0.9800     nan  0.9700    1,028",
        "t-shirt     1.0000  0.9000  0.9500      980",
        "",
        "true  predicted  count  fraction of class",
        "shoe  t-shirt       12               1.2%",
    ]


def test_scores_are_printed_as_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    show_scores(Console(json=True), TEST, CLASSES, CONFUSED)
    document = json.loads(capsys.readouterr().out)
    assert (document["event"], document["metrics"]["loss"]) == ("evaluation", 0.061234567)
    assert document["classes"][0] == {"name": "shoe", "precision": 0.98, "recall": None, "f1": 0.97, "support": 1028}
    assert document["confused"][0]["count"] == 12
    show_scores(Console(json=True), TEST, facts={"run": RUN, "step": 430})
    keys = ["event", "schema", "split", "examples", "metrics", "checkpoint", "run", "step"]
    assert list(json.loads(capsys.readouterr().out)) == keys


def test_table_of_data_is_aligned_and_cut() -> None:
    rows = [
        {"name": "kind", "type": "2 classes", "missing": 0, "distinct": None, "use": "target"},
        {"name": "a" * 40, "type": "number", "missing": 1234, "distinct": 9, "use": "standardized, missing: median"},
    ]
    assert data_table(rows, 75) == [
        "column                          type       missing  distinct  use",
        "kind                            2 classes        0            target",
        f"{'a' * 27}...  number       1,234         9  standardiz...",
    ]
    assert data_table(rows * 20, 200)[-1] == "... and 10 more columns: see encoders.json in the run folder"
    started = document(RunStarted("r", 0, {}, 1, 1, 1, (), columns=tuple(rows), notes=("a note",)))
    assert started is not None
    assert (started["columns"], started["notes"]) == (tuple(rows), ("a note",))
