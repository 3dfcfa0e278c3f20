"""A run folder without a training, for trackers."""

import json
from pathlib import Path

import pytest
from tracked_runs import CONFIG, EVALUATION, epoch, write_lines

from tfloop_cli.runs.folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A finished run of two epochs."""
    made = RunFolder(tmp_path / "runs" / "digits")
    made.checkpoints.mkdir(parents=True)
    made.config.write_text(CONFIG)
    metadata = {"run_id": "0123456789abcdef", "started": "2026-11-26T12:00:00.000000+00:00"}
    made.metadata.write_text(json.dumps(metadata | {"versions": {"tfloop": "0.1.0", "keras": None}}))
    made.summary.write_text(json.dumps({"reason": "completed"}))
    write_lines(made, epoch(1), epoch(2), EVALUATION, {"event": "end", "reason": "completed"})
    return made
