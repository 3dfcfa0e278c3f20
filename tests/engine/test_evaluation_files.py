"""`RUN/evaluation/`: what training keeps of the test split."""

import json

import numpy as np
import pytest

from tfloop_cli.engine import evaluation_files
from tfloop_cli.engine.evaluation_files import Examples, TestOutputs


def test_positions_are_even_and_extreme() -> None:
    loss = np.arange(1000.0)
    positions = evaluation_files.positions_to_keep(1000, loss, 200)
    assert set(range(50)) | set(range(950, 1000)) | set(evaluation_files.evenly_spaced(1000).tolist()) == set(positions)
    assert positions.tolist() == sorted(set(positions.tolist()))
    assert len(positions) <= 200


@pytest.mark.parametrize("examples", [1, 2, 3, 7, 150])
def test_small_splits_are_kept_once(examples: int) -> None:
    positions = evaluation_files.positions_to_keep(examples, np.full(examples, np.nan), 200)
    assert positions.tolist() == sorted(set(positions.tolist()))
    assert set(positions) <= set(range(examples))
    assert len(positions) == examples


def test_nan_is_the_largest_loss() -> None:
    worst, best = evaluation_files.extremes(np.array([3.0, np.nan, 1.0, 2.0]), 2)
    assert (worst.tolist(), best.tolist()) == ([1, 0], [2, 3])


def test_files_are_read_as_written(tmp_path) -> None:
    folder = tmp_path / "evaluation"
    inputs = {"image": np.zeros((2, 4, 4), np.uint8), "size": np.ones((2, 1), np.float32)}
    evaluation_files.write_outputs(folder, TestOutputs({"": np.arange(3)}, np.eye(3, dtype=np.float32), np.arange(3.0)))
    evaluation_files.write_examples(
        folder, Examples(np.array([0, 2]), inputs, {"": np.array([0, 2])}, [{"name": "a.png"}, {"name": "é\n.png"}])
    )
    outputs, examples = evaluation_files.read_outputs(folder), evaluation_files.read_examples(folder)
    assert outputs.targets[""].tolist() == [0, 1, 2]
    assert outputs.scores.dtype == np.float32
    assert {name: array.shape for name, array in examples.inputs.items()} == {"image": (2, 4, 4), "size": (2, 1)}
    assert examples.descriptions[1] == {"name": "é\n.png"}
    assert json.loads((folder / "examples.jsonl").read_text().splitlines()[1])["position"] == 2


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04N."])
def test_damaged_files_are_missing(tmp_path, content: bytes) -> None:
    for name in ("test.npz", "examples.npz"):
        (tmp_path / name).write_bytes(content)
    assert evaluation_files.read_outputs(tmp_path) is None
    assert evaluation_files.read_examples(tmp_path) is None


def test_pickles_are_refused(tmp_path) -> None:
    np.savez(tmp_path / "test.npz", targets=np.array([{}, {}], object), scores=np.eye(2))
    assert evaluation_files.read_outputs(tmp_path) is None


# Runs


def evaluated(run, tmp_path, **changes):
    from tfloop_cli.commands.final_evaluation import evaluate_test
    from tfloop_cli.runs.folder import RunFolder
    from tfloop_cli.terminal.console import Console

    config = run.config.model_copy(update=changes)
    stop = lambda: False  # noqa: E731
    return evaluate_test(RunFolder(tmp_path), run.state, run.data, run.task, config, stop, Console(quiet=True))


def test_metrics_are_those_without_kept_outputs(trainer, tmp_path) -> None:
    run = trainer(model={"name": "conv_net", "filters": [4], "dropout": 0.3})
    run.fit()
    kept, plain = evaluated(run, tmp_path), evaluated(run, tmp_path, save_evaluation=False)
    assert kept.metrics == plain.metrics
    outputs, examples = (
        evaluation_files.read_outputs(tmp_path / "evaluation"), evaluation_files.read_examples(tmp_path / "evaluation"),
    )  # fmt: skip
    source, indices = run.data.split("test")
    labels = source.targets.numpy()[indices]
    assert outputs.scores.shape == (23, 3)
    np.testing.assert_allclose(outputs.scores.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(outputs.loss, -np.log(outputs.scores[np.arange(23), labels]), atol=1e-5)
    assert np.mean(outputs.scores.argmax(axis=1) == labels) == kept.metrics["accuracy"]
    np.testing.assert_array_equal(examples.inputs[""], source.inputs.numpy()[indices][examples.positions])
    np.testing.assert_array_equal(examples.targets[""], labels[examples.positions])


def test_scores_share_the_forward_pass(trainer, tmp_path) -> None:
    run = trainer(model={"name": "mlp", "hidden": [4]})
    calls = []
    model = run.state.model
    original, model.call = model.call, lambda *args, **kwargs: calls.append(1) or original(*args, **kwargs)
    evaluated(run, tmp_path)
    assert len(calls) == 2  # two shapes: a whole batch, and the last one


def test_numbers_are_in_own_units(trainer, tmp_path) -> None:
    from tfloop_cli.engine.data import from_arrays

    inputs = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    targets = (1000 + 5 * inputs[:, 0]).astype(np.float32)
    splits = {"train": (inputs, targets), "test": (inputs[:9], targets[:9])}
    run = trainer(
        own=from_arrays(splits), augment=[], model="linear", epochs=30, optimizer={"name": "adam", "learning_rate": 0.1}
    )
    run.fit()
    evaluation = evaluated(run, tmp_path)
    outputs = evaluation_files.read_outputs(tmp_path / "evaluation")
    assert outputs.scores.dtype == np.float64
    errors = outputs.scores[:, 0] - outputs.targets[""]
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(evaluation.metrics["rmse"])


def test_failing_scores_of_user_code_do_not_fail_the_run(trainer, tmp_path, capsys) -> None:
    run = trainer()
    plain = evaluated(run, tmp_path, save_evaluation=False)

    def probabilities(state, inputs):
        raise ValueError("no heads here")

    run.task.probabilities = probabilities
    assert evaluated(run, tmp_path).metrics == plain.metrics
    assert not (tmp_path / "evaluation").exists()


def test_folder_that_cannot_be_written_is_a_warning(trainer, tmp_path, capsys) -> None:
    run = trainer()
    (tmp_path / "evaluation").write_text("a file")
    assert evaluated(run, tmp_path) is not None
    assert "cannot be written" in capsys.readouterr().err
