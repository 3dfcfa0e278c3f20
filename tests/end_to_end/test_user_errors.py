"""Errors in user code: exit code 7, with the lines of that code first."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import tfloop_cli
from tfloop_cli.commands.shared import error_handling
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import REGISTRIES, Component, models, plugins, tasks
from tfloop_cli.terminal.console import Console
from tfloop_cli.user_code import is_user_file, user_error, user_traceback

CODE = '''\
import keras
import tensorflow as tf

from tfloop_cli import TfloopError, augmentations, datasets, models, schedules, tasks


class Net(keras.Model):
    def __init__(self, place):
        super().__init__()
        self.flatten, self.dense, self.place = keras.layers.Flatten(), keras.layers.Dense(3), place

    def call(self, inputs, training=False):
        if self.place == "call":
            raise KeyError("in call")
        return self.dense(self.flatten(inputs))


@models.register("failing_net")
def failing_net(spec, *, place: str = ""):
    """Fails at a place."""
    if place == "builder":
        raise ValueError("in the builder")
    if place == "keras":
        keras.Input(3)
    return Net(place)


@models.register("net_without_spec")
def net_without_spec(*, place: str = ""):
    """Has a wrong signature."""


@tasks.register("failing_task")
class FailingTask:
    """Fails at a place."""

    models = ("model",)
    metrics = ("loss",)
    monitor = None

    def __init__(self, spec, *, place: str = ""):
        self.place = place

    def train_step(self, state, batch):
        return self.eval_step(state, batch)

    def eval_step(self, state, batch):
        inputs, _ = batch
        if self.place == "trace":
            inputs = inputs @ tf.zeros([3, 3])
        if self.place == "own type":
            raise OwnError("of an own type")
        if self.place == "graph":
            rows = 7 + tf.cast(0 * tf.reduce_sum(inputs), tf.int32)  # known only when it runs
            inputs = tf.reshape(inputs, [rows, -1])
        if self.place == "tfloop":
            raise TfloopError("a message without a traceback")
        return {"loss": tf.reduce_sum(tf.reshape(inputs, [tf.shape(inputs)[0], -1]), axis=1)}

    def predict(self, state, inputs):
        return None

    def samples(self, state):
        return None


class OwnError(Exception):
    def __init__(self, text):
        super().__init__(text)


@datasets.register("no_dataset")
def no_dataset():
    return ([1.0], [2])


@schedules.register("no_schedule")
def no_schedule(total_steps, *, function: bool = False):
    return (lambda step: None) if function else 0.5


@augmentations.register("no_augmentation")
def no_augmentation(*, function: bool = False):
    return (lambda images, seed: images[:, :4]) if function else None


@models.register("exits")
def exits(spec):
    raise SystemExit(0)
'''


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    # One path per process: pytest-xdist may set up the fixture again, and AutoGraph has cached the code.
    path = tmp_path_factory.getbasetemp() / "failing.py"
    path.write_text(CODE)
    plugins.load([path])
    yield path
    for registry in REGISTRIES.values():
        for name in [name for name, added in registry._added.items() if added.file == str(path)]:
            del registry._added[name]


def shown(error: BaseException) -> TfloopError:
    found = user_error(error)
    assert found is not None, repr(error)
    return found


def assert_place(error: TfloopError, code: Path, line: str) -> None:
    """The problem's place is that line of the code, and the exit code is 7."""
    (problem,) = error.problems
    assert error.code == ExitCode.USER_CODE == 7
    assert problem.file == str(code)
    assert line in CODE.splitlines()[problem.line - 1]
    assert line in problem.hint


@pytest.mark.parametrize(
    ("place", "line", "message"),
    [
        ("trace", "tf.zeros([3, 3])", "ValueError: Dimensions must be equal"),
        ("own type", "raise OwnError", "OwnError: of an own type"),
        ("graph", "tf.reshape(inputs, [rows, -1])", "Input to reshape is a tensor with 1024 values"),
    ],
)
@pytest.mark.parametrize("step", ["train", "evaluation"])
def test_error_in_a_task_has_its_line(trainer, code: Path, place: str, line: str, message: str, step: str) -> None:
    run = trainer(task={"name": "failing_task", "place": place}, epochs=1, validation=16)
    if step == "evaluation":
        run.state.step.assign(3)  # all steps of the epoch are completed
    with pytest.raises(Exception) as caught:  # noqa: PT011
        run.fit()
    error = shown(caught.value)
    assert_place(error, code, line)
    assert message in error.problems[0].message


def test_error_in_a_call_of_a_model_has_its_line(trainer, code: Path) -> None:
    with pytest.raises(KeyError) as caught:
        trainer(model={"name": "failing_net", "place": "call"})
    error = shown(caught.value)
    assert_place(error, code, 'raise KeyError("in call")')
    assert error.problems[0].message == "KeyError: 'in call'"


def test_error_in_a_builder_has_its_line(code: Path) -> None:
    with pytest.raises(ValueError, match="in the builder") as caught:
        models.build(Component("failing_net", {"place": "builder"}), None)
    assert_place(shown(caught.value), code, 'raise ValueError("in the builder")')


def test_wrong_signature_of_a_builder_has_its_line_and_the_right_one(code: Path) -> None:
    with pytest.raises(TfloopError, match="takes 0 positional arguments") as caught:
        models.build(Component("net_without_spec"), None)
    assert caught.value.code == ExitCode.USER_CODE
    assert "the signature of a model is `(spec, *, ...)`" in str(caught.value)


def test_own_tfloop_error_is_shown_as_it_is(trainer, code: Path) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        trainer(task={"name": "failing_task", "place": "tfloop"}).fit()
    error = shown(caught.value)
    assert (str(error), error.code) == ("a message without a traceback", ExitCode.USAGE)


def test_bug_of_tfloop_is_no_error_of_user_code() -> None:
    try:
        tasks.build(None)  # type: ignore[arg-type]
    except AttributeError as error:
        assert user_error(error.with_traceback(error.__traceback__.tb_next)) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "no_dataset"}, "dataset `no_dataset`: its builder returned tuple, not a Dataset"),
        ({"schedule": "no_schedule"}, "schedule `no_schedule`: its builder returned float, not a function"),
        (
            {"schedule": {"name": "no_schedule", "function": True}},
            "schedule `no_schedule`: its function returned NoneType, not a number",
        ),
        (
            {"augment": ["no_augmentation"]},
            "augmentation `no_augmentation`: its builder returned NoneType, not a function",
        ),
        (
            {"augment": [{"name": "no_augmentation", "function": True}]},
            "its function returned float32 (None, 4, 8, 1), not float32 (None, 8, 8, 1)",
        ),
    ],
)
def test_unusable_result_names_component_and_what_it_must_return(
    trainer, code: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        trainer(**changes).fit()
    error = shown(caught.value)
    assert error.code == ExitCode.USER_CODE
    assert message in str(error)
    assert "\n  return " in str(error)


def test_traceback_has_libraries_but_not_tfloop_before_the_user(code: Path) -> None:
    with pytest.raises(ValueError, match="Cannot convert '3' to a shape") as caught:
        models.build(Component("failing_net", {"place": "keras"}), None)
    trace = user_traceback(caught.value)
    assert trace.splitlines()[1].strip().startswith(f'File "{code}"')
    assert "keras/src" in trace
    assert "tfloop_cli/registry" not in trace
    with pytest.raises(ValueError, match="in the builder") as caught:
        models.build(Component("failing_net", {"place": "builder"}), None)
    assert user_traceback(caught.value) == ""  # the message has these frames already


def test_exit_in_user_code_is_an_error_of_user_code(code: Path) -> None:
    with pytest.raises(typer.Exit) as caught, error_handling(Console(quiet=True)):
        models.build(Component("exits"), None)
    assert caught.value.exit_code == ExitCode.USER_CODE


def test_folder_beside_the_package_is_user_code() -> None:
    assert is_user_file(f"{Path(tfloop_cli.__file__).parent}_experiments/my.py")
    assert not is_user_file(tfloop_cli.__file__)


CONFIG = """\
dataset: {name: synthetic, shape: [8, 8, 1], classes: 3, train_examples: 60, test_examples: 23}
model: failing_net
task: {name: failing_task, place: graph}
device: cpu
threads: 1
"""


def test_exit_code_is_7_and_frames_of_user_code_come_first(shell, code: Path, tmp_path: Path) -> None:
    (tmp_path / "failing.yaml").write_text(CONFIG)
    process = shell.run("train", "failing.yaml", "--code", code, "--json", "--verbose", "-o", "run", cwd=tmp_path)
    assert process.code == 7
    own, _, whole = process.err.partition("the whole traceback:")
    assert f'File "{code}"' in own
    assert "tfloop_cli/engine/loop.py" not in own
    assert "tfloop_cli/engine/loop.py" in whole
    document = process.documents[-1]
    assert (document["event"], document["code"]) == ("error", 7)
    assert document["errors"][0]["file"] == str(code)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["reason"] == "failed"
