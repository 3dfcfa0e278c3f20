"""The tests of this folder run inside of `fast_kernels`, as the tracing of a training graph does."""

from collections.abc import Iterator

import pytest

from tfloop_cli.engine.kernels import KernelSettings, fast_kernels


@pytest.fixture(autouse=True)
def patched(machine: None) -> Iterator[None]:
    """All replacements, without the C++ operations, which have test_native.py."""
    with fast_kernels(KernelSettings(enabled=True)):
        yield
