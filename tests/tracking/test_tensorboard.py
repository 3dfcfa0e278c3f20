"""Event files of TensorBoard, read with TensorFlow."""

import math
from pathlib import Path
from typing import Any

import pytest
from tracked_runs import epoch, write_lines

from tfloop_cli.engine.trackers.tensorboard import TensorBoard
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.tracking.history import History, tracked_run

pytestmark = pytest.mark.usefixtures("machine")  # `events_of` starts TensorFlow


def write(run: RunFolder, tracker: TensorBoard) -> Path:
    described = tracked_run(run)
    folder = Path(tracker.start(described))
    for point in History(run, described.started).read():
        tracker.log(point.step, point.metrics, point.time)
    tracker.finish("finished")
    return folder


def events_of(folder: Path) -> list[Any]:
    """Returns the events of the only file; TensorFlow checks the checksums."""
    tf = pytest.importorskip("tensorflow")
    from tensorflow.core.util import event_pb2

    (file,) = folder.iterdir()
    return [event_pb2.Event.FromString(one.numpy()) for one in tf.data.TFRecordDataset(str(file))]


def scalars_of(events: list[Any], tag: str) -> list[tuple[int, float]]:
    return [
        (event.step, value.simple_value) for event in events for value in event.summary.value if value.tag == tag
    ]  # fmt: skip


def test_event_file_has_version_config_and_metrics(run: RunFolder) -> None:
    version, config, *others = events_of(write(run, TensorBoard()))
    assert version.file_version == "brain.Event:2"
    assert b"| model.name | linear |" in config.summary.value[0].tensor.string_val[0]
    assert config.summary.value[0].metadata.plugin_data.plugin_name == "text"
    assert scalars_of(others, "train/loss") == [(10, 1.0), (20, 0.5)]
    assert scalars_of(others, "test/accuracy") == [(20, 0.75)]
    assert all(math.isnan(value) for _, value in scalars_of(others, "validation/loss"))
    assert [event.wall_time for event in others] == [1795694403.0, 1795694406.0, 1795694406.0]


def test_resumed_run_replaces_its_events(run: RunFolder) -> None:
    folder = write(run, TensorBoard())
    other = folder / "events.out.tfevents.1.someone"
    write_lines(run, epoch(1, 3.0), epoch(2, 2.0), epoch(3, 1e300))
    (before,) = folder.iterdir()
    other.write_text("not ours")
    assert write(run, TensorBoard()) == folder
    assert other.read_text() == "not ours"
    other.unlink()
    (after,) = folder.iterdir()
    assert after.name > before.name  # TensorBoard reads files in the order of their names
    assert scalars_of(events_of(folder), "train/loss") == [(10, 3.0), (20, 2.0), (30, math.inf)]


def test_path_is_the_parent_of_all_runs(run: RunFolder, tmp_path: Path) -> None:
    assert write(run, TensorBoard(path=tmp_path / "logs")) == tmp_path / "logs" / "digits"


def test_link_is_refused(run: RunFolder, tmp_path: Path) -> None:
    (run.path / "tensorboard").symlink_to(tmp_path)
    with pytest.raises(OSError, match="is a link"):
        write(run, TensorBoard())
