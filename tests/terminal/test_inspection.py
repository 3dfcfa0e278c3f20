"""The output of `tfloop inspect data`: tables, thumbnails of half blocks, findings, and one JSON document."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from tfloop_cli.data_summary import DataSummary, Finding, InputSummary, SplitSummary, Thumbnails
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.half_blocks import half_blocks
from tfloop_cli.terminal.inspection import show_data

EVENT = DataSummary(
    "table",
    "classification",
    (
        SplitSummary("train", 1500, {"a": 1200, "b": 300}, repeated=2),
        SplitSummary("test", 300, {"a": 300, "b": 0}, repeated=0),
    ),
    (InputSummary("", (4,), "float32"),),
    columns=(
        {"name": "y", "type": "2 classes", "missing": 0, "distinct": 2, "use": "target", "mean": None,
         "deviation": None},
        {"name": "x", "type": "number", "missing": 7, "distinct": 90, "use": "standardized", "mean": 1.5,
         "deviation": 0.25},
    ),
    notes=("something was decided",),
    examples=({"x": "1", "y": "a"}, {"x": "", "y": "two\nlines"}),
    findings=(Finding("missing_class", "test: no example of the class `b`", "test", count=1),),
)  # fmt: skip
TEXT = """\
table, task classification
input: float32 4

split  examples  repeated
train     1,500         2
test        300         0

class         train        test
a      1,200  80.0%  300 100.0%
b        300  20.0%    0   0.0%

column  type       missing  distinct    mean  deviation  use
y       2 classes        0         2                     target
x       number           7        90  1.5000     0.2500  standardized

x  y
1  a
   two lines

1 finding
- test: no example of the class `b`
"""


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Returns a function that prints an event, and returns stdout."""

    def show(event: DataSummary, columns: int = 100, **options: bool) -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        show_data(Console(**options), event)
        return capsys.readouterr().out

    return show


def test_tables_are_aligned(shown) -> None:
    assert shown(EVENT) == TEXT


def test_document_has_everything_but_thumbnails(shown) -> None:
    event = replace(EVENT, thumbnails=(Thumbnails("a", 1, bytes(6)),), image="grid.png", rows=("a",))
    document = json.loads(shown(event, json=True))
    assert (document["event"], document["schema"], document["image"]) == ("data", 1, "grid.png")
    assert document["splits"][1] == {
        "name": "test", "examples": 300, "classes": {"a": 300, "b": 0}, "targets": None, "repeated": 0,
    }  # fmt: skip
    assert document["findings"] == [
        {
            "kind": "missing_class",
            "message": EVENT.findings[0].message,
            "split": "test",
            "column": None,
            "count": 1,
            "places": [],
        }
    ]
    assert "thumbnails" not in document


@pytest.mark.parametrize(
    ("count", "known", "last"),
    [
        (12, 12, "  - and 2 more: all are in the document of `--json`"),
        (30, 12, "  - and 20 more"),  # some are not known
        (10, 10, "  - 9.png"),
        (5, 1, "- train: skipped"),  # its message has it
    ],
)
def test_ten_places_of_a_finding_are_shown(shown, count: int, known: int, last: str) -> None:
    places = tuple(f"{number}.png" for number in range(known))
    out = shown(replace(EVENT, findings=(Finding("", "train: skipped", "train", count=count, places=places),)))
    lines = out.partition("1 finding\n")[2].splitlines()
    assert lines[:1] == ["- train: skipped"]
    assert lines[1:11] == ([f"  - {number}.png" for number in range(10)] if known > 1 else [])
    assert lines[-1] == last


def test_wide_examples_are_turned(shown) -> None:
    row = {f"c{number}": "x" * 20 for number in range(8)}
    out = shown(replace(EVENT, examples=(row, row | {"c3": "other"})), columns=80)
    assert "column  example 1             example 2\n" in out
    assert f"c3      {'x' * 20}  other\n" in out


def test_numbers_as_targets_many_classes_and_no_findings(shown) -> None:
    statistics = {"mean": [2.0, 3.0], "deviation": [1.0, 0.5], "minimum": [0.0, 0.0], "maximum": [9.0, 7.0]}
    out = shown(replace(EVENT, splits=(SplitSummary("train", 5, None, statistics),), findings=(), columns=()))
    assert "split  examples    target mean  target deviation" in out
    assert "train         5  2.0000 3.0000     1.0000 0.5000   0.0000" in out
    assert out.endswith("\nno findings\n")
    classes = {str(number): 1 for number in range(25)}
    assert "\n19     1   4.0%\n... and 5 more classes" in shown(
        replace(EVENT, splits=(SplitSummary("train", 25, classes),))
    )


def test_inputs_show_shape_and_statistics(shown) -> None:
    inputs = (
        InputSummary("left", (8, 8, 3), "uint8", (0.5, 0.25, 0), (0.1, 0.1, 0)),
        InputSummary("ids", (None,), "int32"),
    )
    out = shown(replace(EVENT, inputs=inputs))
    assert (
        "input left: uint8 8x8x3, as the model receives it: mean 0.5000 0.2500 0.0000, deviation 0.1000 0.1000 0.0000\n"
        "input ids: int32 ?\n"
    ) in out


def test_thumbnails_are_drawn_only_on_a_terminal(shown, monkeypatch: pytest.MonkeyPatch) -> None:
    event = replace(
        EVENT, image="grid.png", rows=("a", "b"), thumbnails=(Thumbnails("a", 1, bytes([1, 2, 3, 4, 5, 6])),)
    )
    line = "training images as the model receives them: grid.png, one row per class: a, b\n"
    assert line in shown(event)
    assert "▀" not in shown(event)
    monkeypatch.setattr(Console, "draws_images", True)
    monkeypatch.setenv("COLORTERM", "truecolor")
    assert line + "a\n\x1b[38;2;1;2;3;48;2;4;5;6m▀\x1b[0m\n" in shown(event)


def test_half_blocks_have_the_upper_and_the_lower_pixel() -> None:
    pixels = bytes([255, 0, 0, 0, 255, 0, 0, 0, 255, 128, 128, 128])  # red, green; blue, gray
    (line,) = half_blocks(Thumbnails("", 2, pixels), true_color=True)
    assert line == "\x1b[38;2;255;0;0;48;2;0;0;255m▀\x1b[38;2;0;255;0;48;2;128;128;128m▀\x1b[0m"
    (line,) = half_blocks(Thumbnails("", 2, pixels), true_color=False)
    assert line == "\x1b[38;5;196;48;5;21m▀\x1b[38;5;46;48;5;244m▀\x1b[0m"


@pytest.mark.parametrize(("gray", "code"), [(0, 16), (8, 232), (238, 255), (255, 231)])
def test_grays_are_those_of_256_colors(gray: int, code: int) -> None:
    (line,) = half_blocks(Thumbnails("", 1, bytes([gray] * 6)), true_color=False)
    assert line == f"\x1b[38;5;{code};48;5;{code}m▀\x1b[0m"
