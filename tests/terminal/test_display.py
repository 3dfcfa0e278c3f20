"""The three faces of the display, the table of epochs, and the scores of `evaluate`."""

import io
import json
import re
import time
from collections.abc import Sequence

import pytest

from tfloop_cli.events import EpochDone, Evaluated, Event, Progress, RunEnded, RunStarted, Stopped
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.display import make_display
from tfloop_cli.terminal.scores import ClassScore, Confusion, show_scores
from tfloop_cli.terminal.tables import EpochTable, duration, number

NAN = float("nan")
RUN = "runs/mnist-20261123-101500-a1b2"
STARTED = RunStarted(RUN, 0, {"dataset": "mnist"}, 2, 430, 55000, ("loss", "accuracy"), {"model": "conv_net"})
FIRST = EpochDone(
    1, 430, {"loss": 0.5, "accuracy": 0.91}, {"loss": 0.25, "accuracy": 0.95}, 2.5, 0.2, 24113.4, best=True
)
SECOND = EpochDone(2, 860, {"loss": NAN, "accuracy": 0.92}, {"loss": 0.3, "accuracy": 0.94}, 2.5, 0.2, 24113.4)
TEST = Evaluated("test", 10000, {"loss": 0.061234567, "accuracy": 0.9812}, "c")
ENDED = RunEnded("completed", RUN, f"{RUN}/checkpoints/step-00000860", "ab12", 7.25)
EPOCH_KEYS = ["event", "epoch", "step", "train", "validation"]
EPOCH_KEYS += ["train_seconds", "validation_seconds", "examples_per_second", "best"]
EVENTS: list[Event] = [
    STARTED,
    Progress(1, 43, 43, {"loss": 0.7, "accuracy": 0.8}, 20000.0),
    Progress(1, 430, 20, {"loss": 0.6, "accuracy": 0.9}, 50000.0, "validation", 40),
    FIRST,
    SECOND,
    Stopped("completed", 860),
    TEST,
    ENDED,
]


class Terminal(io.StringIO):
    """Stands for a terminal's stream."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    for name, value in {"CI": "", "NO_COLOR": "", "TERM": "xterm-256color", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    stream = Terminal()
    monkeypatch.setattr(
        "tfloop_cli.terminal.console._private_copy", lambda stderr: stream
    )  # pytest swaps sys.stderr itself
    return stream


def show(console: Console, events: Sequence[Event] = EVENTS) -> None:
    with make_display(console) as display:
        for event in events:
            display.handle(event)


def without_codes(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


def test_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    show(Console())
    out, err = capsys.readouterr()
    assert out == f"test  loss 0.0612  accuracy 0.9812  (10,000 examples)\n{RUN}\n"
    assert err.splitlines() == [
        f"run    {RUN}",
        "model  conv_net",
        "epoch 1/2  loss 0.5000  accuracy 0.9100  val_loss 0.2500  val_accuracy 0.9500  2.7s  24113 examples/s  best",
        "epoch 2/2  loss nan  accuracy 0.9200  val_loss 0.3000  val_accuracy 0.9400  2.7s  24113 examples/s",
        "completed after 7.2s",
        f"next: tfloop evaluate {RUN}",
    ]


def test_quiet_shows_results_only(capsys: pytest.CaptureFixture[str], terminal: Terminal) -> None:
    show(Console(quiet=True))
    assert capsys.readouterr().out.splitlines()[-1] == RUN
    assert terminal.getvalue() == ""


def test_json_documents(capsys: pytest.CaptureFixture[str]) -> None:
    show(Console(json=True))
    out, err = capsys.readouterr()
    told = [json.loads(line) for line in out.splitlines()]
    assert [list(document) for document in told] == [
        ["event", "schema", "run", "step", "config"],
        EPOCH_KEYS,
        EPOCH_KEYS,
        ["event", "split", "examples", "metrics"],
        ["event", "reason", "run", "checkpoint", "weights_sha256", "seconds"],
    ]
    assert [document["event"] for document in told] == ["start", "epoch", "epoch", "evaluation", "end"]
    assert told[2]["train"]["loss"] is None
    assert told[3]["metrics"]["loss"] == 0.061234567
    assert err == ""


def test_the_rich_face_draws_a_bar_and_keeps_the_table(
    terminal: Terminal, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfloop_cli.terminal.display.REFRESH_SECONDS", 0)
    show(Console())
    drawn = terminal.getvalue()
    text = without_codes(drawn)
    assert re.search(r"epoch 1/2 [━╺╸]+ +43/430  loss 0.7000  accuracy 0.8000  20,000/s  -:-- left", text)
    assert re.search(r"valid 1/2 [━╺╸]+ 20/40  loss 0.6000", text)
    assert re.search(r"[\r\n]    1    0.5000    0.9100    0.2500    0.9500     2.7s      24,113  ★\n", text)
    assert "\x1b[?25l" not in drawn  # the cursor is never hidden
    assert capsys.readouterr().out.splitlines()[-1] == RUN


def test_no_progress_keeps_the_table(terminal: Terminal) -> None:
    show(Console(progress=False))
    text = without_codes(terminal.getvalue())
    assert "★" in text
    assert "━" not in text


def test_a_warning_lands_above_the_bar(terminal: Terminal) -> None:
    console = Console()
    with make_display(console) as display:
        display.handle(EVENTS[0])
        display.handle(EVENTS[1])
        console.warn("the disk is nearly full")
        assert re.search(r"\r\s*warning: the disk is nearly full\n", without_codes(terminal.getvalue()))
    assert console.print_above is None


def test_ascii_where_the_terminal_has_no_more(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    poor = Terminal("ascii")
    monkeypatch.setattr("tfloop_cli.terminal.console._private_copy", lambda stderr: poor)
    show(Console())
    assert poor.getvalue().isascii()
    assert "24,113  *" in poor.getvalue()


def test_drawing_is_bounded_and_cheap(terminal: Terminal) -> None:
    with make_display(Console()) as display:
        display.handle(STARTED)
        began = time.process_time()
        for step in range(1000):
            display.handle(Progress(1, step, step % 430, {"loss": 0.5, "accuracy": 0.9}, 24113.0))
        spent = time.process_time() - began
    assert terminal.getvalue().count("epoch 1/2") < 10
    assert spent < 0.05


def test_a_stopped_run_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    show(Console(), [STARTED, RunEnded("SIGINT", RUN, "c", "ab", 61.0)])
    out, err = capsys.readouterr()
    assert out == f"{RUN}\n"
    assert err.endswith(f"stopped (SIGINT) after 1:01\nnext: tfloop train --resume --output {RUN}\n")


@pytest.mark.parametrize("width", [60, 70, 80, 120])
def test_the_table_lines_up_and_fits(width: int) -> None:
    table = EpochTable(STARTED, FIRST, width, unicode=True)
    groups, names = table.header()
    rows = [table.row(FIRST), table.row(SECOND)]
    assert max(map(len, (groups, names, *rows))) <= width
    for name in ("epoch", "accuracy", "time"):
        end = names.index(name) + len(name)
        assert all(row[end - 1] != " " and row[end : end + 1] in ("", " ") for row in rows)
    assert ("examples/s" in names) == (width >= 70)
    assert rows[0].endswith("★")


def test_the_table_of_a_gan_has_its_own_columns_and_no_validation() -> None:
    names = ("generator_loss", "discriminator_loss")
    started = RunStarted(RUN, 0, {}, 2, 430, 55000, names)
    first = EpochDone(1, 430, dict(zip(names, (1.0, 0.7), strict=True)), None, 2.5, 0.0, 9000.0)
    table = EpochTable(started, first, 80, unicode=False)
    groups, header = table.header()
    assert groups.strip(" -") == "train"
    assert header.split() == ["epoch", *names, "time", "examples/s"]
    assert table.row(first).split() == ["1", "1.0000", "0.7000", "2.5s", "9,000"]


def test_numbers_fit_their_column() -> None:
    values = [0.0, 0.98312, -0.5, 12.3456, 99.99999, 123456.78, 1e9, -1e30, 1e-7, NAN, float("-inf")]
    texts = "0.0000 0.9831 -0.5000 12.3456 100.0000 123456.8 1.0e+09 -1.0e+30 1.0e-07 nan -inf"
    assert [number(value) for value in values] == texts.split()
    assert all(len(number(value)) <= 8 for value in values)


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0.04, 59.94, 59.96, 61, 3599.6, 3723)] == (
        ["0.0s", "59.9s", "1:00", "1:01", "1:00:00", "1:02:03"]
    )


CLASSES = [ClassScore("shoe", 0.98, NAN, 0.97, 1028), ClassScore("t-shirt", 1.0, 0.9, 0.95, 980)]
CONFUSED = [Confusion("shoe", "t-shirt", 12, 0.01167)]


def test_scores_as_tables(capsys: pytest.CaptureFixture[str]) -> None:
    show_scores(Console(), TEST, CLASSES, CONFUSED)
    assert capsys.readouterr().out.splitlines() == [
        "test  loss 0.0612  accuracy 0.9812  (10,000 examples)",
        "",
        "class    precision  recall      f1  support",
        "shoe        0.9800     nan  0.9700    1,028",
        "t-shirt     1.0000  0.9000  0.9500      980",
        "",
        "true  predicted  count  share of true",
        "shoe  t-shirt       12           1.2%",
    ]


def test_scores_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    show_scores(Console(json=True), TEST, CLASSES, CONFUSED)
    told = json.loads(capsys.readouterr().out)
    assert (told["event"], told["metrics"]["loss"]) == ("evaluation", 0.061234567)
    assert told["classes"][0] == {"name": "shoe", "precision": 0.98, "recall": None, "f1": 0.97, "support": 1028}
    assert told["confused"][0]["count"] == 12
    show_scores(Console(json=True), TEST)
    assert list(json.loads(capsys.readouterr().out)) == ["event", "split", "examples", "metrics"]
