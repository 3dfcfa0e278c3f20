"""The tests in this folder run with fast kernels, as the tracing of a training graph does."""

from collections.abc import Iterator

import pytest

from tfloop_cli.engine.kernels import KernelSettings, fast_kernels


@pytest.fixture
def kernel_settings() -> KernelSettings:
    """All patches without the C++ operations; test_native.py and test_patching.py override it."""
    return KernelSettings(enabled=True)


@pytest.fixture(autouse=True)
def active_kernels(kernel_settings: KernelSettings) -> Iterator[None]:
    with fast_kernels(kernel_settings):
        yield
