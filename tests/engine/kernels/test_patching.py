"""Replacements are active only in their context and thread, and are undone afterwards."""

import threading

import keras
import pytest
import tensorflow as tf
from tensorflow.python.framework import ops

from tfloop_cli.engine.kernels import PATCHES, KernelSettings, fast_kernels, original_implementations
from tfloop_cli.engine.kernels.patching import Patch, patched


@pytest.fixture(autouse=True)
def unpatched(patched: None):
    """Ends the context of conftest.py: each test here enters its own."""
    with original_implementations():
        yield


class Library:
    """A library with one function, and a class that inherits it."""

    def add(self, number: int) -> int:
        return number + 1


class Inherited(Library):
    pass


DOUBLE = Patch(Library, "add", lambda original: lambda self, number: 2 * original(self, number))


@pytest.fixture
def enabled():
    """Undoes `unpatched` for tests of `patched` itself."""
    from tfloop_cli.engine.kernels import patching

    token = patching._disabled.set(())
    yield
    patching._disabled.reset(token)


def test_patch_is_active_inside_of_context_only(enabled) -> None:
    original = Library.add
    with patched([DOUBLE]):
        assert Library().add(1) == 4
    assert Library().add(1) == 2
    assert Library.add is original


def test_nested_contexts_restore_once(enabled) -> None:
    original = Library.add
    with patched([DOUBLE]):
        with patched([DOUBLE]):
            assert Library().add(1) == 4
        assert Library().add(1) == 4
    assert Library.add is original


def test_exception_restores_original(enabled) -> None:
    original = Library.add
    with pytest.raises(ZeroDivisionError), patched([DOUBLE]):
        raise ZeroDivisionError
    assert Library.add is original


def test_inherited_method_is_removed_again(enabled) -> None:
    with patched([Patch(Inherited, "add", lambda original: lambda self, number: -1)]):
        assert Inherited().add(1) == -1
        assert Library().add(1) == 2
    assert "add" not in vars(Inherited)


def test_dict_entry_is_restored(enabled) -> None:
    registry = {"name": abs}
    with patched([Patch(registry, "name", lambda original: lambda number: original(number) + 1)]):
        assert registry["name"](-1) == 2
    assert registry == {"name": abs}


def test_other_thread_uses_original_meanwhile(enabled) -> None:
    found = []
    with patched([DOUBLE]):
        thread = threading.Thread(target=lambda: found.append(Library().add(1)))
        thread.start()
        thread.join()
        assert Library().add(1) == 4
    assert found == [2]


def test_two_threads_restore_when_both_are_done(enabled) -> None:
    original, entered, leave = Library.add, threading.Event(), threading.Event()

    def other() -> None:
        with patched([DOUBLE]):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with patched([DOUBLE]):
        thread.start()
        entered.wait(10)
    assert Library.add is not original
    assert Library().add(1) == 2
    leave.set()
    thread.join()
    assert Library.add is original


def test_original_implementations_disables_one_owner(enabled) -> None:
    other = Patch(Inherited, "add", lambda original: lambda self, number: -1)
    with patched([DOUBLE, other]), original_implementations(Library):
        assert Library().add(1) == 2
        assert Inherited().add(1) == -1
        with original_implementations():
            assert Inherited().add(1) == 2


def test_fast_kernels_leaves_keras_and_tensorflow_unchanged() -> None:
    def everything() -> list:
        owned = [patch.owner[patch.name] if isinstance(patch.owner, dict) else vars(patch.owner).get(patch.name)
                 for patch in PATCHES]  # fmt: skip
        return [*owned, keras.layers.Dense.call, tf.nn.gelu, ops.gradient_registry.lookup("BiasAdd")]

    # Not measured inside of the context of conftest.py, which is entered for the whole test.
    found = []

    def measure() -> None:
        before = everything()
        with fast_kernels(KernelSettings(enabled=True)):
            pass
        found.append(before == everything())

    thread = threading.Thread(target=measure)
    thread.start()
    thread.join()
    assert found == [True]
