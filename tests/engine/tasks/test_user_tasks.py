"""Tasks of users: defaults of what a task does not have, and errors for what its steps return."""

import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.tasks import build_task, evaluated_metrics
from tfloop_cli.engine.tasks.complete import CompleteTask
from tfloop_cli.engine.training.early_stopping import BestMetric, EarlyStopping
from tfloop_cli.engine.training.setup import complete_setup, settle_splits
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import Component, tasks
from tfloop_cli.thresholds import Threshold, require_metrics
from tfloop_cli.user_code import user_error

SPEC = DataSpec((8, 8, 1), "float32", (), ("a", "b", "c"))


class MinimalTask:
    """Has a `train_step` only."""

    result = staticmethod(lambda errors: {"loss": tf.reduce_mean(errors, axis=1), "largest": tf.reduce_max(errors)})

    def errors(self, state, batch) -> tf.Tensor:
        """Returns [batch, 3]."""
        inputs, targets = batch
        return tf.square(state.model(inputs, training=True) - tf.one_hot(targets, 3))

    def train_step(self, state, batch):
        with tf.GradientTape() as tape:
            errors = self.errors(state, batch)
            loss = tf.reduce_mean(errors)
        variables = state.model.trainable_variables
        state.optimizer.apply(tape.gradient(loss, variables), variables, loss)
        return self.result(errors)


@pytest.fixture
def make(trainer, monkeypatch):
    """Returns a function that creates a run of a task with `train_step` and the given attributes."""

    def create(changes: dict | None = None, **config: object):
        task = type("UserTask", (MinimalTask,), changes or {})
        monkeypatch.setattr(tasks, "build", lambda component, spec: task())
        return trainer(**config)

    return create


def shown(error: BaseException) -> TfloopError:
    found = user_error(error)
    assert found is not None
    return found


def test_task_with_train_step_alone_trains_without_evaluation(make) -> None:
    run = make(validation=10)
    assert run.task.metrics == run.state.metrics == ("loss", "largest")
    assert run.state.notes == [
        "the task has no `eval_step`: there is no validation and no test; its 10 examples are not used"
    ]
    epochs = run.fit()
    assert [epoch.validation for epoch in epochs] == [None, None]
    assert not any(epoch.best for epoch in epochs)
    assert epochs[1].train["loss"] < epochs[0].train["loss"]
    assert run.task.predict(run.state, None) is None
    assert run.task.samples(run.state) is None


def test_validation_auto_holds_out_nothing_if_the_task_cannot_evaluate(make) -> None:
    run = make(validation="auto", batch_size=16)
    assert (run.data.examples("train"), run.data.steps_per_epoch) == (54, 4)
    settle_splits(run.task, run.data, run.config, [].append, [].append)
    assert (run.data.splits, run.data.examples("train"), run.data.steps_per_epoch) == (["test", "train"], 60, 4)
    assert sorted(run.data.order(0)) == list(range(60))
    run.state.notes.clear()
    complete_setup(run.task, run.state, run.data)
    assert run.state.notes == [  # one line, not one for the training split and one for the evaluation
        "the task has no `eval_step`: there is no validation and no test; "
        "`validation: auto` holds out none of the 60 examples"
    ]
    run.state.notes.clear()
    run.data.encoders = object()  # of a table: they are not fitted anew
    complete_setup(run.task, run.state, run.data)
    assert run.state.notes[0].endswith(
        "none of the 60 examples, but encoders were fitted without them; with `validation: 0` they are fitted to all"
    )
    evaluating = make({"eval_step": lambda self, state, batch: None}, validation="auto")
    requested = make(validation=10)
    lines: list[str] = []
    for run in (evaluating, requested):
        settle_splits(run.task, run.data, run.config, lines.append, lines.append)
        assert "validation" in run.data.splits
    assert lines == ["validation: 6 of 60 training examples held out, stratified by class; `validation: 0` for none"]


def test_scalar_metric_is_a_mean_weighted_by_the_size_of_its_batch(make) -> None:
    sizes = {"result": staticmethod(lambda errors: {"size": tf.shape(errors)[0]})}
    train = make(sizes, epochs=1).fit()[0].train  # 60 examples in batches of 16
    assert train["size"] == pytest.approx((3 * 16 * 16 + 12 * 12) / 60)


@pytest.mark.parametrize("micro_batch_size", ["auto", 5])
def test_scalar_and_metric_of_examples_have_the_same_mean(make, micro_batch_size: object) -> None:
    def result(errors: tf.Tensor) -> dict:
        return {"each": tf.reduce_mean(errors, axis=1), "mean": tf.reduce_mean(errors)}

    changes = {"result": staticmethod(result)}
    train = make(changes, micro_batch_size=micro_batch_size, epochs=1).fit()[0].train
    assert train["mean"] == pytest.approx(train["each"], rel=1e-6)


def with_evaluation(**changes: object) -> dict:
    def eval_step(self, state, batch):
        return self.result(self.errors(state, batch))

    return {"eval_step": eval_step, **changes}


def test_loss_is_monitored_by_default(make) -> None:
    run = make(with_evaluation(), validation=10, epochs=1)
    assert run.task.monitor == ("loss", "min")
    assert run.fit()[0].best
    assert make(with_evaluation(result=staticmethod(lambda errors: {"d": errors[:, 0]}))).task.monitor is None


def test_evaluation_weights_scalars_by_batches_and_has_no_other_metrics(make) -> None:
    sizes = staticmethod(lambda errors: {"size": tf.shape(errors)[0], "other": errors[:, 0]})
    run = make(with_evaluation(result=sizes, metrics=["size"]), validation=20, epochs=1)
    assert run.fit()[0].validation == {"size": pytest.approx((16 * 16 + 4 * 4) / 20)}


def test_requests_of_an_evaluation_are_refused_without_one(make) -> None:
    run = make()
    for config in ({"early_stopping": {}}, {"early_stopping": {"metric": "loss"}}):
        with pytest.raises(TfloopError, match="the task has no `eval_step`, so that nothing is evaluated") as caught:
            EarlyStopping(run.task, make(**config).config)
        assert caught.value.code == ExitCode.USAGE
    with pytest.raises(TfloopError, match="the task has no `eval_step`"):
        BestMetric(run.task, make(checkpoint={"best": {"metric": "loss"}}).config)
    with pytest.raises(TfloopError, match="the task has no `eval_step`"):
        require_metrics([Threshold("--fail-over", "loss", 1.0)], evaluated_metrics(run.task), "test", ["test"])


WRONG_RESULTS = {
    "column": (lambda errors: {"loss": errors[:, :1]}, r"the metric `loss` with shape \[\?, 1\]"),
    "matrix": (lambda errors: {"loss": errors}, r"the metric `loss` with shape \[\?, 3\]"),
    "fixed": (lambda errors: {"loss": tf.zeros([3])}, "the metric `loss` with shape"),
    "flat": (lambda errors: {"loss": tf.reshape(errors, [-1])}, r"the metric `loss` with shape \[48\]"),
    "text": (lambda errors: {"loss": tf.constant("a")}, "the metric `loss` as string"),
    "nothing": (lambda errors: None, "NoneType, not its metrics"),
    "tensor": (lambda errors: errors, "Tensor, not its metrics"),
    "empty": (lambda errors: {}, "an empty dict, not its metrics"),
}


@pytest.mark.parametrize("case", WRONG_RESULTS)
@pytest.mark.parametrize("step", ["train", "eval"])
def test_result_of_another_shape_is_an_error_with_metric_and_shape(make, case: str, step: str) -> None:
    result, message = WRONG_RESULTS[case]
    changes = {"result": staticmethod(result), "metrics": ("loss",)}
    if step == "eval":
        good = staticmethod(lambda errors: {"loss": errors[:, 0]})
        changes = with_evaluation(metrics=("loss",), result=good) | {
            "eval_step": lambda self, state, batch: result(self.errors(state, batch))
        }
        message = message.replace(r"\?", r"(\?|16)")
    run = make(changes, validation=16, epochs=1)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        run.fit()
    error = shown(caught.value)
    assert error.code == ExitCode.USER_CODE
    assert error.problems[0].hint
    with pytest.raises(TfloopError, match=f"task `classification`: its `{step}_step` returns .*{message}"):
        raise error


def test_missing_metric_is_an_error_with_its_name(make) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        make({"metrics": ("loss", "score")}).fit()
    assert "returns `loss`, `largest`, and not its metric `score`" in str(shown(caught.value))


def test_loss_of_another_shape_is_an_error(make) -> None:
    def train_step(self, state, batch):
        loss = self.errors(state, batch)
        state.optimizer.apply([None, None], state.model.trainable_variables, loss)

    with pytest.raises(Exception) as caught:  # noqa: PT011
        make({"train_step": train_step}).fit()
    error = shown(caught.value)
    assert error.code == ExitCode.USER_CODE
    assert "the loss that `apply` receives has shape [None, 3], and it must be a scalar" in str(error)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"train_step": None}, "it has no `train_step`"),
        ({"monitor": "loss"}, "its `monitor` is 'loss'"),
        ({"monitor": ("loss", "min")}, "it has a `monitor` and no `eval_step`"),
    ],
)
def test_unusable_task_is_an_error(attributes: dict, message: str) -> None:
    with pytest.raises(TfloopError, match=message) as caught:
        CompleteTask(type("UserTask", (MinimalTask,), attributes)(), "mine")
    assert caught.value.code == ExitCode.USER_CODE


def test_names_may_be_one_text_or_a_list() -> None:
    task = CompleteTask(type("UserTask", (MinimalTask,), {"metrics": "loss", "models": ["model"]})(), "mine")
    assert (task.metrics, task.models) == (("loss",), ("model",))


def test_shipped_task_is_not_wrapped() -> None:
    assert not isinstance(build_task(Component("classification"), SPEC), CompleteTask)


def test_builder_of_a_model_that_returns_something_else_is_an_error(trainer) -> None:
    with pytest.raises(TfloopError, match="its builder returned ndarray, not a Keras model") as caught:
        trainer(net=np.zeros(3))
    assert caught.value.code == ExitCode.USER_CODE
