"""Learning rate schedules at known steps, warm-up, clipping, and an update by every optimizer."""

import math
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli import PositiveFloat
from tfloop_cli.engine.optimizers.build import build_optimizer
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import Component, optimizers, schedules

TOTAL_STEPS = 100


@pytest.mark.parametrize(
    ("name", "arguments", "multipliers"),
    [
        ("constant", {}, {0: 1, 50: 1, 1000: 1}),
        ("cosine", {}, {0: 1, 25: (2 + math.sqrt(2)) / 4, 50: 0.5, 100: 0, 150: 0}),
        ("cosine", {"alpha": 0.2}, {0: 1, 50: 0.6, 100: 0.2, 1000: 0.2}),
        ("cosine", {"decay_steps": 40, "alpha": 0.1}, {0: 1, 20: 0.55, 40: 0.1, 100: 0.1}),
        ("exponential", {"decay_rate": 0.5, "decay_steps": 10}, {0: 1, 5: math.sqrt(0.5), 10: 0.5, 30: 0.125}),
        ("exponential", {}, {0: 1, 1000: 0.96, 500: math.sqrt(0.96)}),
        (
            "piecewise",
            {"boundaries_steps": [10, 20], "factors": [1.0, 0.1, 0.0]},
            {0: 1, 9: 1, 10: 0.1, 19: 0.1, 20: 0, 99: 0},
        ),
        ("piecewise", {"boundaries_steps": [], "factors": [0.5]}, {0: 0.5, 99: 0.5}),
        ("piecewise", {"boundaries_steps": [0], "factors": [0.5, 2.0]}, {0: 2, 99: 2}),
    ],
)
def test_schedule_multipliers(name: str, arguments: dict, multipliers: dict[int, float]) -> None:
    schedule = schedules.build(Component(name, arguments), TOTAL_STEPS)
    for step, expected in multipliers.items():
        assert float(schedule(tf.constant(float(step)))) == pytest.approx(expected, abs=1e-6), step


@pytest.mark.parametrize("name", schedules.names())
def test_schedule_in_graph_equals_eager(name: str) -> None:
    required = {"piecewise": {"boundaries_steps": [5], "factors": [1.0, 0.5]}}.get(name, {})
    schedule = schedules.build(Component(name, required), TOTAL_STEPS)
    compiled = tf.function(schedule)
    for step in (0.0, 3.0, 99.0):
        assert float(compiled(tf.constant(step))) == pytest.approx(float(schedule(tf.constant(step))), abs=1e-6)


@pytest.mark.parametrize(
    ("boundaries", "factors"),
    [([1], [1.0]), ([1], [1.0, 0.5, 0.1]), ([2, 1], [1.0, 0.5, 0.1]), ([1, 1], [1.0, 0.5, 0.1])],
)
def test_mismatched_piecewise_lists_are_usage_error(boundaries: list[int], factors: list[float]) -> None:
    with pytest.raises(TfloopError, match="one item more than") as caught:
        schedules.build(Component("piecewise", {"boundaries_steps": boundaries, "factors": factors}), TOTAL_STEPS)
    assert caught.value.code == ExitCode.USAGE


def learning_rates(optimizer: keras.Optimizer, updates: int) -> list[float]:
    """Returns the learning rate of each update."""
    variable = keras.Variable(np.ones(2, "float32"))
    optimizer.build([variable])
    rates = []
    for _ in range(updates):
        rates.append(float(optimizer.learning_rate))
        optimizer.apply([tf.ones(2)], [variable])
    return rates


def test_learning_rate_follows_warmup_then_schedule(configure) -> None:
    config = configure(
        optimizer={"name": "sgd", "learning_rate": 0.5}, schedule={"name": "cosine", "alpha": 0.1}, warmup_steps=4
    )
    rates = learning_rates(build_optimizer(config, 14), 15)
    assert rates[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    cosine = [0.5 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * step / 10))) for step in range(11)]
    assert rates[4:] == pytest.approx(cosine, rel=1e-5)


def test_warmup_without_schedule(configure) -> None:
    config = configure(optimizer={"name": "sgd", "learning_rate": 1.0}, warmup_steps=1)
    assert learning_rates(build_optimizer(config, 10), 4) == pytest.approx([0.5, 1, 1, 1])


def test_warmup_longer_than_run(configure) -> None:
    config = configure(optimizer={"name": "sgd", "learning_rate": 1.0}, schedule="cosine", warmup_steps=100)
    assert learning_rates(build_optimizer(config, 3), 3) == pytest.approx([1 / 101, 2 / 101, 3 / 101])


@pytest.mark.parametrize(("steps", "warmup"), [(50, 10), (499, 99), (500, 100), (6000, 100), (4, 0)])
def test_automatic_warmup_is_a_fifth_of_a_short_run(configure, steps: int, warmup: int) -> None:
    config = configure(optimizer={"name": "sgd", "learning_rate": 1.0}, schedule="cosine", warmup_steps="auto")
    rate = build_optimizer(config, steps)._learning_rate
    assert float(rate(tf.constant(0))) == pytest.approx(1 / (warmup + 1))
    assert float(rate(tf.constant(warmup))) == 1.0
    assert float(rate(tf.constant(steps))) == pytest.approx(0.0, abs=1e-6)


def test_learning_rate_without_schedule_is_constant(configure) -> None:
    optimizer = build_optimizer(configure(optimizer={"name": "sgd", "learning_rate": 0.25}), 10)
    assert learning_rates(optimizer, 3) == [0.25] * 3


def test_clip_norm_limits_global_norm(configure) -> None:
    config = configure(optimizer={"name": "sgd", "learning_rate": 1.0}, clip_norm=1.0)
    optimizer = build_optimizer(config, 10)
    variables = [keras.Variable(np.zeros(2, "float32")), keras.Variable(np.zeros(1, "float32"))]
    optimizer.build(variables)
    optimizer.apply([tf.constant([3.0, 0.0]), tf.constant([4.0])], variables)
    np.testing.assert_allclose([*variables[0].numpy(), *variables[1].numpy()], [-0.6, 0, -0.8], atol=1e-6)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("name", optimizers.names())
def test_every_optimizer_updates_downhill(configure, name: str, schedule: str) -> None:
    optimizer = build_optimizer(configure(optimizer=name, schedule=schedule, clip_norm=10.0), 10)
    keras.utils.set_random_seed(0)
    variables = [
        keras.Variable(np.random.default_rng(0).standard_normal((4, 3)).astype("float32"), path="layer/kernel")
    ]
    optimizer.build(variables)
    before = variables[0].numpy()
    gradient = tf.constant(np.random.default_rng(1).standard_normal((4, 3)), tf.float32)

    @tf.function
    def update() -> None:
        optimizer.apply([gradient], variables)

    update()
    after = variables[0].numpy()
    assert np.isfinite(after).all()
    assert not np.array_equal(after, before)
    if name != "ftrl":  # it computes weights from its sums only, without the initial weights
        assert np.sum((after - before) * gradient.numpy()) < 0
    assert int(optimizer.iterations) == 1


@pytest.mark.parametrize(
    "arguments", [{"name": "sgd", "momentum": 0.9, "nesterov": True}, {"name": "adamw", "weight_decay": 0.1}]
)
def test_optimizer_arguments_are_passed_to_keras(configure, arguments: dict) -> None:
    optimizer = build_optimizer(configure(optimizer=arguments), 10)
    assert type(optimizer).__module__.endswith(arguments["name"])
    for key, value in arguments.items():
        if key != "name":
            assert getattr(optimizer, key) == value


def test_error_outside_of_user_code_is_usage_error(configure, monkeypatch) -> None:
    config = configure(optimizer="sgd")
    monkeypatch.setattr(optimizers, "build", int)  # stands for Keras: it raises without a frame of this file
    with pytest.raises(TfloopError, match=r"optimizer `sgd`: int\(\) argument must be") as caught:
        build_optimizer(config, 10)
    assert caught.value.code == ExitCode.USAGE


# Optimizers of users


OPTIONS = {"schedule": "cosine", "warmup_steps": 2, "clip_norm": 0.1, "ema_decay": 0.9}


@pytest.mark.parametrize("options", [*({key: value} for key, value in OPTIONS.items()), OPTIONS], ids="+".join)
def test_user_optimizer_equals_keras_optimizer(
    trainer, register_optimizer, assert_bitwise_equal, options: dict
) -> None:
    """The builder receives only its own arguments, and the options of the run work with it."""
    received = []

    @register_optimizer
    def mine(*, learning_rate: PositiveFloat = 0.01) -> keras.Optimizer:
        received.append(learning_rate)
        return keras.optimizers.SGD(learning_rate)

    run, expected = (trainer(optimizer=name, **options) for name in ("mine", "sgd"))
    run.fit()
    expected.fit()
    assert received == [0.01]
    assert run.config.optimizer.arguments == {"learning_rate": 0.01}
    assert_bitwise_equal(run.everything(), expected.everything())


def own_schedule() -> keras.Optimizer:
    return keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5))


def test_user_optimizer_keeps_own_schedule(configure, register_optimizer) -> None:
    register_optimizer(own_schedule)
    rates = learning_rates(build_optimizer(configure(optimizer="mine"), 10), 3)
    assert rates == pytest.approx([0.1 * 0.5 ** (step / 10) for step in range(3)])


CLIPS = "optimizer `mine` clips gradients by itself, and the config has `clip_norm: 1.0`"
CLIP_HINT = "use one of the two: `--set clip_norm=null`, or remove the clipping from the optimizer's builder"
SCHEDULES = "optimizer `mine` has its own learning rate schedule, and the config has `schedule` or `warmup_steps`"


@pytest.mark.parametrize(
    ("build", "config", "message", "hint"),
    [
        (
            lambda: "sgd",
            {},
            "optimizer `mine`: its builder returned str, not a Keras optimizer",
            "return an instance of keras.optimizers.Optimizer",
        ),
        (lambda: keras.optimizers.SGD(clipnorm=1.0), {"clip_norm": 1.0}, CLIPS, CLIP_HINT),
        (lambda: keras.optimizers.SGD(clipvalue=1.0), {"clip_norm": 1.0}, CLIPS, CLIP_HINT),
        (lambda: keras.optimizers.SGD(global_clipnorm=1.0), {"clip_norm": 1.0}, CLIPS, CLIP_HINT),
        (own_schedule, {"schedule": "cosine"}, SCHEDULES, "use one of the two"),
        (own_schedule, {"warmup_steps": 3}, SCHEDULES, "use one of the two"),
    ],
    ids=["no optimizer", "clipnorm", "clipvalue", "global_clipnorm", "schedule", "warmup"],
)
def test_user_optimizer_in_conflict_with_config_is_an_error(
    configure, register_optimizer, build: Callable[[], object], config: dict, message: str, hint: str
) -> None:
    register_optimizer(build)
    with pytest.raises(TfloopError) as caught:
        build_optimizer(configure(optimizer="mine", **config), 10)
    assert caught.value.code == (ExitCode.USER_CODE if "returned" in message else ExitCode.USAGE)
    (problem,) = caught.value.problems
    assert problem.message == message
    assert problem.hint.startswith(hint)
