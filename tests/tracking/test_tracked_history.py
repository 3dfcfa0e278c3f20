"""What trackers read of a run folder."""

import math
from pathlib import Path

import pytest
from tracked_runs import epoch, write_lines

from tfloop_cli.commands.track import trackers_of
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.tracking.history import History, status_of, tracked_run


def test_points_have_the_metrics_of_their_split(run: RunFolder) -> None:
    one, two, test = History(run, 1000.0).read()
    assert (one.step, one.time, two.step, two.time) == (10, 1003.0, 20, 1006.0)
    assert one.metrics["train/loss"] == 1.0
    assert one.metrics["validation/accuracy"] == 0.5
    assert math.isnan(one.metrics["validation/loss"])
    assert one.metrics["epoch"] == 1
    assert one.metrics["examples_per_second"] == 100
    assert (test.step, test.metrics) == (20, {"test/accuracy": 0.75})


def test_history_is_followed_line_by_line(run: RunFolder) -> None:
    write_lines(run, epoch(1))
    history = History(run, 0.0)
    assert [one.step for one in history.read()] == [10]
    text = run.metrics.read_text()
    for half in (text[:50], text[:-1]):  # the second line, while it is written
        run.metrics.write_text(text + half)
        assert list(history.read()) == []
    write_lines(run, epoch(1), epoch(2))
    assert [one.step for one in history.read()] == [20]
    assert list(history.read()) == []


def test_damaged_lines_are_skipped(run: RunFolder) -> None:
    run.metrics.write_text('{"event": "epoch"}\n[]\nx\n\n{"event": "epoch", "step": "a"}\n')
    assert list(History(run, 0.0).read()) == []
    run.metrics.unlink()
    assert list(History(run, 0.0).read()) == []


def test_config_is_flat_and_does_not_tell_where_it_is_tracked(run: RunFolder) -> None:
    found = tracked_run(run)
    assert found.params == {"dataset.name": "mnist", "model.name": "linear", "augment": '["flip"]'}
    assert (found.id, found.name, found.versions) == ("0123456789abcdef", "digits", {"tfloop": "0.1.0"})
    assert found.started == 1795694400


def test_config_is_read_as_everywhere(run: RunFolder) -> None:
    """`on` and `no` are words in YAML 1.2; PyYAML makes booleans of them."""
    run.config.write_text("dataset: {name: images, labels: on}\nmodel: {name: no}\nepochs: 0o17\n")
    found = tracked_run(run).params
    assert (found["dataset.labels"], found["model.name"], found["epochs"]) == ("on", "no", "15")
    assert trackers_of(run, ["{name: mlflow, experiment: on}"])[0].arguments["experiment"] == "on"
    run.config.write_text("a: [")
    with pytest.raises(ValueError, match=r"config\.yaml cannot be read"):
        tracked_run(run)


@pytest.mark.parametrize(
    ("summary", "status"),
    [
        ('{"reason": "completed"}', "finished"), ('{"reason": "early_stopping"}', "finished"),
        ('{"reason": "diverged"}', "failed"), ('{"reason": "failed"}', "failed"), ('{"reason": "SIGINT"}', "stopped"),
        ('{"reason": "max_time"}', "stopped"), ("{", "stopped"),
    ],
)  # fmt: skip
def test_status_follows_from_the_summary(run: RunFolder, summary: str, status: str) -> None:
    run.summary.write_text(summary)
    assert status_of(run) == status


def test_a_pipe_in_place_of_a_file_does_not_block(run: RunFolder, tmp_path: Path) -> None:
    import os

    run.metrics.unlink()
    os.mkfifo(run.metrics)
    with pytest.raises(ValueError, match="not a file"):
        list(History(run, 0.0).read())
