"""Fixtures for the tests of the engine, which run with TensorFlow in one thread."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from tfloop_cli.registry import optimizers

Arrays = Mapping[str, np.ndarray]


@pytest.fixture(autouse=True, scope="session")
def single_threaded_tensorflow(machine: None) -> None:
    """Starts TensorFlow before the first test, whichever that is."""


@pytest.fixture(scope="session")
def assert_bitwise_equal() -> Callable[[Arrays, Arrays], None]:
    """Returns a function that compares named arrays: their order, dtypes, shapes and bytes."""

    def compare(got: Arrays, expected: Arrays) -> None:
        assert list(got) == list(expected)
        for name in got:
            assert got[name].dtype == expected[name].dtype, name
            assert got[name].shape == expected[name].shape, name
            assert got[name].tobytes() == expected[name].tobytes(), name

    return compare


@pytest.fixture
def register_optimizer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """Returns a decorator that registers a builder as optimizer `mine` until the end of the test."""
    for attribute in ("_added", "_builders"):
        monkeypatch.setattr(optimizers, attribute, dict(getattr(optimizers, attribute)))
    return optimizers.register("mine")
