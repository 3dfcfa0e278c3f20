"""Numbers that are codes: found by their effect on the target, and given an id each by the default model."""

import keras
import numpy as np
import pytest

from tfloop_cli.engine.data.encoders import Column
from tfloop_cli.engine.data.spec import DataSpec
from tfloop_cli.engine.data.tables.codes import code_edges
from tfloop_cli.engine.data.tables.encoders import Scale
from tfloop_cli.engine.models.table_inputs import codes_of

SCALE = Scale(0.0, 1000.0)  # standardizing hardly changes values of at most 40, but for the factor
ROWS, PERSONS = 400, 40


def edges_of(effect: object, *, classes: int = 0, noise: float = 1.0, missing: bool = False) -> tuple[float, ...]:
    """Returns the edges of a column 0 to 39, for targets with an effect of each value, [40], and noise."""
    random = np.random.default_rng(0)
    numbers = np.arange(ROWS) % PERSONS
    targets = np.asarray(effect, float)[numbers] + noise * random.normal(size=ROWS)
    targets = np.digitize(targets, np.quantile(targets, np.arange(1, classes) / classes)) if classes else targets
    return code_edges(np.where(missing & (numbers < 10), np.nan, numbers), targets, classes, SCALE)


PERSON = np.random.default_rng(1).normal(size=PERSONS)  # an effect of its own for each


@pytest.mark.parametrize("classes", [0, 3])
def test_values_with_effects_of_their_own_are_codes(classes: int) -> None:
    edges = edges_of(2 * PERSON, classes=classes)
    np.testing.assert_allclose(edges, (np.arange(39) + 0.5) / 1000, rtol=1e-3)
    assert len(edges_of(2 * PERSON, classes=classes, missing=True)) == 29


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("effect", [np.zeros(40), np.arange(40) / 4, np.sin(np.arange(40) / 8) * 3])
def test_smooth_numbers_are_no_codes(effect: np.ndarray, classes: int) -> None:
    assert edges_of(effect, classes=classes) == ()


def test_counts_whose_variance_grows_are_no_codes() -> None:
    """Large ones are rare, and their targets vary more than those of all rows together."""
    random = np.random.default_rng(0)
    numbers = np.floor(random.exponential(6, 5000))
    assert code_edges(numbers, random.poisson(numbers**2 / 4 + 0.1).astype(float), 0, SCALE) == ()


def test_values_that_hardly_repeat_are_no_codes() -> None:
    numbers = np.arange(400.0) // 4
    targets = np.random.default_rng(0).normal(size=100)[numbers.astype(int)]
    assert code_edges(numbers, targets, 0, SCALE) == ()
    assert len(code_edges(numbers // 2, targets[numbers.astype(int) // 2], 0, SCALE)) == 49


def test_value_of_one_row_belongs_to_its_nearest_neighbour() -> None:
    numbers, targets = np.repeat(np.arange(40.0), 10), np.repeat(PERSON, 10)
    edges = code_edges(np.append(numbers, 4.4), np.append(targets, 9.0), 0, SCALE)
    np.testing.assert_allclose(edges[3:6], np.array([3.5, 4.5, 5.5]) / 1000, rtol=1e-3)


def test_model_sees_the_nearest_code() -> None:
    column = Column("person", "number", 1, 2, edges=(0.5, 1.5))
    spec = DataSpec((2,), "float32", (), columns=(Column("x", "number", 0, 1), column))
    inputs = keras.Input((2,))
    [(count, ids)] = codes_of(spec, inputs)
    assert count == 3
    found = keras.Model(inputs, ids)(np.array([[9, -5], [9, 0.4], [9, 0.6], [9, 1], [9, 7]], np.float32))
    assert found.numpy().tolist() == [0, 0, 1, 1, 2]
