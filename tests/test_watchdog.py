"""A training that waits without computing is reported, with the place where it waits."""

import threading
import time
from collections.abc import Iterator

from tfloop_cli.events import Event, Stopped
from tfloop_cli.watchdog import warn_if_stuck

SECONDS = 0.3
END = Stopped("completed", 1)


def wait_for_lock() -> Iterator[Event]:
    threading.Event().wait(SECONDS * 3)
    yield END


def compute() -> Iterator[Event]:
    end = time.monotonic() + SECONDS * 3
    while time.monotonic() < end:
        pass
    yield END


def warnings_of(events: Iterator[Event]) -> list[str]:
    warnings: list[str] = []
    assert list(warn_if_stuck(events, warnings.append, SECONDS))[-1] is END
    return warnings


def test_wait_for_first_event_is_reported_once_with_place() -> None:
    (warning,) = warnings_of(wait_for_lock())
    assert "training has not continued" in warning
    assert "in wait_for_lock" in warning


def test_wait_for_later_event_is_reported() -> None:
    def events() -> Iterator[Event]:
        yield END
        yield from wait_for_lock()

    assert len(warnings_of(events())) == 1


def test_computation_is_not_reported() -> None:
    assert not warnings_of(compute())


def test_time_of_consumer_is_not_reported() -> None:
    warnings: list[str] = []
    for _ in warn_if_stuck(iter([END]), warnings.append, SECONDS):
        time.sleep(SECONDS * 3)
    assert not warnings


def test_thread_ends_with_generator() -> None:
    events = warn_if_stuck(iter([END, END]), print, SECONDS)
    next(events)
    events.close()
    assert "tfloop-watchdog" not in [thread.name for thread in threading.enumerate()]
