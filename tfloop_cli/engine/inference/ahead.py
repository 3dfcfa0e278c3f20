"""Reads ahead in another thread, so that reading and the model overlap."""

import queue
import threading
from collections.abc import Generator
from contextlib import closing, suppress
from typing import TypeVar

Item = TypeVar("Item")
_POLL_SECONDS = 0.1


def ahead(items: Generator[Item], count: int = 2) -> Generator[Item]:
    """Yields the items of an iterator, which runs in a thread, at most `count` items ahead.

    An exception of the iterator is raised here. If this iterator is closed, the thread ends after its current item.
    """
    ready: queue.Queue[tuple[bool, Item | BaseException | None]] = queue.Queue(count)
    stopped = threading.Event()

    def put(value: tuple[bool, Item | BaseException | None]) -> None:
        waiting = True
        while waiting and not stopped.is_set():
            with suppress(queue.Full):
                ready.put(value, timeout=_POLL_SECONDS)
                waiting = False

    def work() -> None:
        try:
            with closing(items):
                for item in items:
                    put((True, item))
                    if stopped.is_set():
                        return
            put((False, None))
        except BaseException as error:
            put((False, error))

    threading.Thread(target=work, name="tfloop-reader", daemon=True).start()
    try:
        while (found := ready.get())[0]:
            yield found[1]  # type: ignore[misc]
        if isinstance(found[1], BaseException):
            raise found[1]
    finally:
        stopped.set()
