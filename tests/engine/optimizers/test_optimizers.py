"""Schedules' factors at known steps, warm-up, and an update by every optimizer."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.optimizers.build import build_optimizer
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import Component, optimizers, schedules

TOTAL = 100


@pytest.mark.parametrize(
    ("name", "arguments", "factors"),
    [
        ("constant", {}, {0: 1, 50: 1, 1000: 1}),
        ("cosine", {}, {0: 1, 25: (2 + math.sqrt(2)) / 4, 50: 0.5, 100: 0, 150: 0}),
        ("cosine", {"final": 0.2}, {0: 1, 50: 0.6, 100: 0.2, 1000: 0.2}),
        ("cosine", {"steps": 40, "final": 0.1}, {0: 1, 20: 0.55, 40: 0.1, 100: 0.1}),
        ("exponential", {"decay": 0.5, "every_steps": 10}, {0: 1, 5: math.sqrt(0.5), 10: 0.5, 30: 0.125}),
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
def test_a_schedules_factor(name: str, arguments: dict, factors: dict[int, float]) -> None:
    factor = schedules.build(Component(name, arguments), TOTAL)
    for step, expected in factors.items():
        assert float(factor(tf.constant(float(step)))) == pytest.approx(expected, abs=1e-6), step


@pytest.mark.parametrize("name", schedules.names())
def test_a_schedule_works_in_a_graph(name: str) -> None:
    needed = {"piecewise": {"boundaries_steps": [5], "factors": [1.0, 0.5]}}.get(name, {})
    factor = schedules.build(Component(name, needed), TOTAL)
    compiled = tf.function(factor)
    for step in (0.0, 3.0, 99.0):
        assert float(compiled(tf.constant(step))) == pytest.approx(float(factor(tf.constant(step))), abs=1e-6)


@pytest.mark.parametrize(
    ("boundaries", "factors"),
    [([1], [1.0]), ([1], [1.0, 0.5, 0.1]), ([2, 1], [1.0, 0.5, 0.1]), ([1, 1], [1.0, 0.5, 0.1])],
)
def test_piecewise_refuses_what_does_not_fit(boundaries: list[int], factors: list[float]) -> None:
    with pytest.raises(TfloopError, match="one longer than") as caught:
        schedules.build(Component("piecewise", {"boundaries_steps": boundaries, "factors": factors}), TOTAL)
    assert caught.value.code == ExitCode.USAGE


def rates(optimizer: keras.Optimizer, updates: int) -> list[float]:
    """The learning rate of each update."""
    variable = keras.Variable(np.ones(2, "float32"))
    optimizer.build([variable])
    seen = []
    for _ in range(updates):
        seen.append(float(optimizer.learning_rate))
        optimizer.apply([tf.ones(2)], [variable])
    return seen


def test_the_learning_rate_follows_warm_up_then_the_schedule(configure) -> None:
    config = configure(
        optimizer={"name": "sgd", "learning_rate": 0.5}, schedule={"name": "cosine", "final": 0.1}, warmup_steps=4
    )
    seen = rates(build_optimizer(config, 14), 15)
    assert seen[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])  # rising, and never 0
    cosine = [0.5 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * step / 10))) for step in range(11)]
    assert seen[4:] == pytest.approx(cosine, rel=1e-5)


def test_warm_up_alone(configure) -> None:
    seen = rates(build_optimizer(configure(optimizer={"name": "sgd", "learning_rate": 1.0}, warmup_steps=1), 10), 4)
    assert seen == pytest.approx([0.5, 1, 1, 1])


def test_a_warm_up_longer_than_the_run(configure) -> None:
    config = configure(optimizer={"name": "sgd", "learning_rate": 1.0}, schedule="cosine", warmup_steps=100)
    assert rates(build_optimizer(config, 3), 3) == pytest.approx([1 / 101, 2 / 101, 3 / 101])


def test_the_rate_is_kept_where_nothing_changes_it(configure) -> None:
    optimizer = build_optimizer(configure(optimizer={"name": "sgd", "learning_rate": 0.25}), 10)
    assert rates(optimizer, 3) == [0.25] * 3


def test_clip_norm_bounds_all_gradients_together(configure) -> None:
    config = configure(optimizer={"name": "sgd", "learning_rate": 1.0}, clip_norm=1.0)
    optimizer = build_optimizer(config, 10)
    variables = [keras.Variable(np.zeros(2, "float32")), keras.Variable(np.zeros(1, "float32"))]
    optimizer.build(variables)
    optimizer.apply([tf.constant([3.0, 0.0]), tf.constant([4.0])], variables)
    np.testing.assert_allclose([*variables[0].numpy(), *variables[1].numpy()], [-0.6, 0, -0.8], atol=1e-6)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("name", optimizers.names())
def test_every_optimizer_updates(configure, name: str, schedule: str) -> None:
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
    if name != "ftrl":  # which forgets the first weights: it makes new ones of its sums
        assert np.sum((after - before) * gradient.numpy()) < 0  # downhill
    assert int(optimizer.iterations) == 1


@pytest.mark.parametrize(
    "arguments", [{"name": "sgd", "momentum": 0.9, "nesterov": True}, {"name": "adamw", "weight_decay": 0.1}]
)
def test_an_optimizers_own_arguments_reach_keras(configure, arguments: dict) -> None:
    optimizer = build_optimizer(configure(optimizer=arguments), 10)
    assert type(optimizer).__module__.endswith(arguments["name"])
    for key, value in arguments.items():
        if key != "name":
            assert getattr(optimizer, key) == value


def test_what_keras_refuses_is_told_without_a_traceback(configure, monkeypatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise ValueError("`momentum` must be smaller")

    config = configure(optimizer="sgd")
    monkeypatch.setattr(optimizers, "build", refuse)
    with pytest.raises(TfloopError, match="optimizer `sgd`: `momentum` must be smaller") as caught:
        build_optimizer(config, 10)
    assert caught.value.code == ExitCode.USAGE
