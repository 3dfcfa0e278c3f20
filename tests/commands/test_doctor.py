"""`tfloop doctor`: what it shows, what it finds wrong, and its exit code."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

from tfloop_cli import hardware
from tfloop_cli.cli import app
from tfloop_cli.commands import doctor, doctor_packages
from tfloop_cli.commands.doctor_problems import findings

TESTED: dict[str, Any] = {"gpus": [], "operations": None}
FAST = {
    "device": "cpu", "threads": 2, "kernels": "native", "batch_size": 128, "steps_per_second": 300.0, "gflops": 120.0,
    "expected_steps_per_second": 290.0,
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Returns a function that calls the command with the result of the self-test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFLOOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TF_VAR_password", "secret")

    def call(*arguments: str, tested: dict[str, Any] = TESTED) -> tuple[int, str, str]:
        monkeypatch.setattr(doctor, "run_self_test", lambda seconds: tested | (FAST if seconds else {}))
        result = CliRunner().invoke(app, ["doctor", *arguments])
        return result.exit_code, result.stdout, result.stderr

    return call


def problems(**changes: Any) -> list[str]:
    """Returns the messages of `findings` for a machine without problems, but for the changes."""
    document = doctor.gather(TESTED)
    document["cpu"] = document["cpu"] | {"cores": 2, "quota": None, "load": 0.1}
    document["memory"] = {"total": 2**34, "available": 2**33, "limit": None}
    disk = {"folder": "runs", "free": 2**34, "writable": True}
    document |= {"disk": {"runs": disk, "cache": disk}, "locale": "UTF-8"}
    document["packages"] = {"installed": True, "missing": [], "extras": []}
    for key, value in changes.items():
        document[key] = document[key] | value if isinstance(value, dict) else value
    return [str(one) for one in findings(document)]


def test_rows_and_verdict(run: Callable) -> None:
    code, out, err = run()
    rows = dict(line.split("  ", 1) for line in out.partition("\n\n")[0].splitlines())
    assert code == 0
    assert {"versions", "cpu", "cores", "memory", "runs", "cache", "devices", "C++ operations", "stdout"} <= set(rows)
    assert rows["speed"].strip() == (
        "300 training steps of 128 MNIST images per second on cpu, matrix product 120 GFLOP/s: as expected, since "
        "about 290 are usual at this speed of matrix products"
    )
    assert err == "testing TensorFlow and its speed ...\n"
    assert "secret" not in out
    assert not Path("runs").exists()


def test_json_is_one_document_without_the_speed(run: Callable) -> None:
    code, out, _ = run("--json", "--no-speed-test")
    document = json.loads(out)
    assert (code, document["event"], document["tensorflow"]) == (0, "doctor", TESTED)
    assert document["versions"]["tfloop"]
    assert document["environment"]["TFLOOP_CACHE"]
    assert "TF_VAR_password" not in document["environment"]


def test_broken_tensorflow_is_said_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable
) -> None:
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("raise ImportError('libcudart.so: no such file')")
    tests = doctor.run_self_test
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    tested = tests(0)
    assert tested == {"error": "ImportError: libcudart.so: no such file"}
    code, out, err = run("--no-speed-test", tested=tested)
    assert code == 2
    assert "error: TensorFlow does not work: ImportError: libcudart.so: no such file\n  `python -c" in out
    assert "Traceback" not in out + err


def test_crash_of_tensorflow_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorflow.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    tested = doctor.run_self_test(0)
    assert tested == {"error": "it is ended by SIGILL"}
    assert "usually AVX" in problems(tensorflow=tested)[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"packages": {"missing": ["pyarrow>=20"]}}, "error: packages are missing or too old: pyarrow>=20"),
        ({"packages": {"installed": False}}, "warning: tfloop is not installed"),
        ({"disk": {"runs": {"folder": "runs", "free": 2**34, "writable": False}}}, "error: runs is not writable"),
        ({"disk": {"runs": {"folder": "runs", "free": 9, "writable": True}}}, "warning: less than 1 GiB is free"),
        ({"memory": {"available": 2**20}}, "warning: less than 1 GiB of memory"),
        ({"memory": {"limit": 2**29}}, "warning: less than 1 GiB of memory"),
        ({"cpu": {"quota": 1.5}}, "warning: this process may use the time of 1.5 cores, but `threads: auto` is 2\n"
                                  "  `--set threads=1`"),
        ({"tensorflow": FAST | {"steps_per_second": 100.0}}, "warning: training has 34% of the speed that is usual"),
        ({"locale": "ANSI_X3.4-1968"}, "warning: the locale's encoding is ANSI_X3.4-1968, not UTF-8"),
    ],
)  # fmt: skip
def test_problems_come_with_what_to_do(changes: dict[str, Any], message: str) -> None:
    assert problems() == []
    (found,) = problems(**changes)
    assert found.startswith(message)
    assert found.count("\n") == 1


def test_extras_are_those_of_the_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    class Metadata:
        def get_all(self, key: str) -> list[str]:
            needs = ["numpy>=1", "zzz>=2", "zzx>=3; extra == 'x'", "typer; extra == 'x'", "typer; extra == 'y'"]
            return {"Provides-Extra": ["x", "y"], "Requires-Dist": needs}[key]

    monkeypatch.setattr(doctor_packages, "metadata", lambda name: Metadata())
    assert doctor_packages.packages() == {
        "installed": True,
        "missing": ["zzz>=2"],
        "extras": [
            {"name": "x", "missing": ["zzx"], "command": "pip install 'zzx>=3'"},
            {"name": "y", "missing": [], "command": None},
        ],
    }


def test_old_package_is_not_enough() -> None:
    assert not doctor_packages._is_met(Requirement("typer>=999"))


@pytest.mark.parametrize(
    ("files", "quota", "memory"),
    [
        ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/cpu.max": "150000 100000",
          "sys/fs/cgroup/a/b/cpu.max": "max 100000", "sys/fs/cgroup/memory.max": "1073741824"}, 1.5, 2**30),
        ({"proc/self/cgroup": "4:memory:/x\n1:cpu,cpuacct:/", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000",
          "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
          "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "9223372036854771712"}, 4.0, None),
        ({"proc/self/cgroup": "1:cpu:/", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
          "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, None, None),
        ({}, None, None),
    ],
)  # fmt: skip
def test_limits_of_control_groups(
    tmp_path: Path, files: dict[str, str], quota: float | None, memory: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert hardware.cpu_quota(tmp_path) == quota
    assert hardware.memory_limit(tmp_path) == memory


def test_speed_is_measured(machine: None) -> None:
    from tfloop_cli.engine.self_test import self_test

    found = self_test(0.1)
    assert found["steps_per_second"] > 1
    assert found["gflops"] > 0.1
    assert found["expected_steps_per_second"] > 0
    assert found["gpus"] == []
