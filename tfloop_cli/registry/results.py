"""Errors for builders: a signature or a result that tfloop cannot use."""

from collections.abc import Callable, Mapping
from typing import Any

from tfloop_cli.errors import ExitCode, Problem, TfloopError
from tfloop_cli.registry.declarations import Declaration


def _is_dataset(result: Any) -> bool:
    return all(hasattr(result, attribute) for attribute in ("spec", "splits", "fingerprint"))


def _is_tracker(result: Any) -> bool:
    return all(callable(getattr(result, method, None)) for method in ("start", "log", "finish"))


# Kind -> what tells a usable result, what it is, and what to do. Models, optimizers and tasks need more than that.
_RESULTS: Mapping[str, tuple[Callable[[Any], bool], str, str]] = {
    "dataset": (_is_dataset, "a Dataset", "return a Dataset, or the result of `from_arrays`"),
    "schedule": (callable, "a function", "return a function of the step, float32 [], to a multiplier, float32 []"),
    "augmentation": (callable, "a function", "return a function of (inputs, seed) to inputs of the same shape"),
    "tracker": (_is_tracker, "a tracker", "return an object with the methods `start`, `log` and `finish`"),
}


def require_usable(kind: str, name: str, result: Any) -> None:
    """Raises TfloopError (exit code 7) if the builder of a component returned something else than its kind needs."""
    is_usable, expected, hint = _RESULTS.get(kind, (lambda _: True, "", ""))
    if not is_usable(result):
        raise wrong_result(kind, name, f"its builder returned {type(result).__name__}, not {expected}", hint)


def wrong_result(kind: str, name: str, problem: str, hint: str) -> TfloopError:
    """Returns the error for user code that returned something unusable (exit code 7)."""
    return TfloopError(f"{kind} `{name}`: {problem}", hint=hint, code=ExitCode.USER_CODE)


def wrong_signature(kind: str, declaration: Declaration, error: TypeError) -> TfloopError:
    """Returns the error for a builder that cannot be called with its arguments (exit code 7)."""
    signature = {"model": "(spec, *, ...)", "task": "(spec, *, ...)", "schedule": "(total_steps, *, ...)"}
    hint = f"the signature of a {kind} is `{signature.get(kind, '(*, ...)')}`"
    problem = Problem(str(error), declaration.file, declaration.line, hint=hint)
    return TfloopError(problems=[problem], code=ExitCode.USER_CODE)
