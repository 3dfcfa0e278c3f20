"""Every test in this folder runs with TensorFlow started."""

import pytest


@pytest.fixture(autouse=True, scope="session")
def started(machine: None) -> None:
    """TensorFlow with one thread, whichever test comes first."""
