"""docs/ci: the script runs, and the workflow calls it with what it knows."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import yaml

CONFIG = """\
dataset: {name: synthetic, shape: [8, 8, 1], classes: 3, train_examples: 200, test_examples: 50}
model: linear
device: cpu
tracking: [tensorboard]
threads: 1
"""
CI = Path(__file__).parents[2] / "docs" / "ci"


def test_script_compares_with_the_baseline(tmp_path: Path, shell) -> None:
    """The trained model is worse than the baseline: exit code 3, and every file is there."""
    tool = tmp_path / "bin" / "tfloop"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} -m tfloop_cli "$@"\n')
    tool.chmod(0o755)
    (tmp_path / "my.yaml").write_text(CONFIG)
    baseline = {"event": "evaluation", "split": "test", "metrics": {"accuracy": 1.5, "loss": 9.0}}
    (tmp_path / "baseline.json").write_text(json.dumps(baseline))
    environment = shell.environment(
        PATH=f"{tool.parent}{os.pathsep}{os.environ['PATH']}", FAIL_UNDER="accuracy=0.01",
        GITHUB_STEP_SUMMARY=str(tmp_path / "github.md"),
    )  # fmt: skip
    command = ["sh", CI / "ci.sh", "my.yaml", "--epochs", "1"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 3, done.stderr
    assert "the baseline baseline.json has 1.5, and the tolerance is 0.005" in done.stderr
    results = tmp_path / "ci-results"
    failed = [
        len(list(ElementTree.parse(results / f"junit-{name}.xml").iter("failure"))) for name in ("train", "evaluate")
    ]
    assert failed == [0, 1]
    assert (tmp_path / "github.md").read_text() == (results / "summary.md").read_text()
    evaluation = json.loads((results / "evaluation.json").read_text().splitlines()[0])
    trained = json.loads((results / "run" / "summary.json").read_text())["evaluations"]["test"]
    assert {"examples": evaluation["examples"], **evaluation["metrics"]} == trained
    (events,) = (results / "run" / "tensorboard").iterdir()  # written by a process beside the training
    assert b"test/accuracy" in events.read_bytes()
    assert [one["failure"] is None for one in evaluation["checks"]] == [False]


def test_workflow_sets_what_the_script_reads() -> None:
    workflow = yaml.safe_load((CI / "github-workflow.yml").read_text())
    steps = workflow["jobs"]["train"]["steps"]
    (step,) = [one for one in steps if "ci.sh" in one.get("run", "")]
    script = (CI / "ci.sh").read_text()
    assert all(f"${{{name}:-" in script for name in step["env"])
    assert "${BASELINE:-baseline.json}" in script
    assert any(one.get("with", {}).get("path") == "ci-results" and one["if"] == "always()" for one in steps)
