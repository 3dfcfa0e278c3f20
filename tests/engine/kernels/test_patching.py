"""Patches are active only in their context and thread, and the originals are restored afterwards."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import keras
import pytest
import tensorflow as tf
from tensorflow.python.framework import ops

from tfloop_cli.engine.kernels import PATCHES, KernelSettings, fast_kernels, original_implementations
from tfloop_cli.engine.kernels.patching import Patch, patched


@pytest.fixture
def kernel_settings() -> KernelSettings:
    """No patches around the tests of this file: each test enters its own context."""
    return KernelSettings(enabled=False)


class Library:
    def add_one(self, number: int) -> int:
        return number + 1


class Subclass(Library):
    pass


DOUBLE = Patch(Library, "add_one", lambda original: lambda self, number: 2 * original(self, number))
NEGATIVE = Patch(Subclass, "add_one", lambda original: lambda self, number: -1)


def test_patch_is_active_only_in_context() -> None:
    original = Library.add_one
    with patched([DOUBLE]):
        assert Library().add_one(1) == 4
    assert Library().add_one(1) == 2
    assert Library.add_one is original


def test_nested_contexts_patch_once() -> None:
    original = Library.add_one
    with patched([DOUBLE]):
        with patched([DOUBLE]):
            assert Library().add_one(1) == 4
        assert Library().add_one(1) == 4
    assert Library.add_one is original


def test_exception_restores_original() -> None:
    original = Library.add_one
    with pytest.raises(ZeroDivisionError), patched([DOUBLE]):
        raise ZeroDivisionError
    assert Library.add_one is original


def test_failed_patch_restores_earlier_ones() -> None:
    original = Library.add_one
    with pytest.raises(AttributeError), patched([DOUBLE, Patch(Library, "missing", lambda original: original)]):
        pass
    assert Library.add_one is original


def test_inherited_method_is_removed_from_subclass() -> None:
    with patched([NEGATIVE]):
        assert Subclass().add_one(1) == -1
        assert Library().add_one(1) == 2
    assert "add_one" not in vars(Subclass)


def test_dict_entry_is_restored() -> None:
    registry = {"name": abs}
    with patched([Patch(registry, "name", lambda original: lambda number: original(number) + 1)]):
        assert registry["name"](-1) == 2
    assert registry == {"name": abs}


def test_other_thread_uses_original() -> None:
    with patched([DOUBLE]), ThreadPoolExecutor(1) as executor:
        assert executor.submit(Library().add_one, 1).result() == 2
        assert Library().add_one(1) == 4


def test_original_is_restored_after_last_thread() -> None:
    original, entered, leave = Library.add_one, threading.Event(), threading.Event()

    def patch_in_other_thread() -> int:
        with patched([DOUBLE]):
            entered.set()
            assert leave.wait(10)
            return Library().add_one(1)

    with ThreadPoolExecutor(1) as executor:
        with patched([DOUBLE]):
            other = executor.submit(patch_in_other_thread)
            assert entered.wait(10)
        assert Library.add_one is not original
        assert Library().add_one(1) == 2
        leave.set()
        assert other.result() == 4
    assert Library.add_one is original


def test_original_implementations_disables_patches_of_one_owner() -> None:
    with patched([DOUBLE, NEGATIVE]), original_implementations(Library):
        assert Library().add_one(1) == 2
        assert Subclass().add_one(1) == -1
        with original_implementations():
            assert Subclass().add_one(1) == 2
        assert Subclass().add_one(1) == -1


def library_functions() -> list[Callable]:
    """Returns the functions that `PATCHES` replace, and some of them as a caller finds them."""
    owners = [patch.owner if isinstance(patch.owner, dict) else vars(patch.owner) for patch in PATCHES]
    functions = [owner.get(patch.name) for owner, patch in zip(owners, PATCHES, strict=True)]
    return [*functions, keras.layers.Dense.call, tf.nn.gelu, ops.gradient_registry.lookup("BiasAdd")]


def test_fast_kernels_restore_keras_and_tensorflow() -> None:
    before = library_functions()
    with fast_kernels(KernelSettings(enabled=True)):
        assert not any(inside is outside for inside, outside in zip(library_functions(), before, strict=True))
    assert library_functions() == before


def test_disabled_fast_kernels_change_nothing() -> None:
    before = library_functions()
    with fast_kernels(KernelSettings(enabled=False)):
        assert library_functions() == before
