"""Imports TensorFlow without work and memory that nothing in training needs."""

import gc
import importlib
import importlib.util
import linecache
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

# TensorFlow imports them for its old copy of Keras, and for virtual machines of Google that are about to end.
DEFERRED = ("h5py", "requests")


class DeferredModule(ModuleType):
    """A module that is imported when an attribute of it is used first."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def lean_import() -> Iterator[None]:
    """A context to import TensorFlow in.

    - Garbage collection is disabled. The import creates half a million objects that stay, and it would traverse all of
      them several times, and once more, for a quarter of a second, during training.
    - TensorFlow keeps the place of each gradient that it registers, without the source line of the place.
    - The modules of `DEFERRED` are imported when TensorFlow uses them. Imports after this context are not changed.
    """
    deferred = [module for name in DEFERRED if (module := _deferred(name))]
    source_line, linecache.getline = linecache.getline, lambda *_: ""
    gc.disable()
    try:
        yield
    finally:
        for module in deferred:
            if sys.modules.get(module.__name__) is module:
                del sys.modules[module.__name__]
        linecache.getline = source_line
        gc.freeze()
        gc.enable()


def _deferred(name: str) -> DeferredModule | None:
    """Returns a deferred module in place of one that is installed and not imported yet."""
    if name in sys.modules or (spec := importlib.util.find_spec(name)) is None:
        return None
    module = DeferredModule(name)
    module.__spec__ = spec  # the import statement looks at it
    sys.modules[name] = module
    return module
