"""What differs between the config of a run and that of a command that resumes it, with the policy of each key."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo

from tfloop_cli.config.schema import Config
from tfloop_cli.registry.argument_types import OnResume


@dataclass(frozen=True)
class Difference:
    """A key with two values.

    Attributes:
        key: dotted, such as "optimizer.learning_rate".
        before: the run's value, as plain data; None if it has none.
        now: the command's value.
        policy: what the new value does to the run.
    """

    key: str
    before: Any
    now: Any
    policy: OnResume


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """Compares two configs, each as `to_mapping` returns it, in the order of the schema."""
    return [
        Difference(key, old, new, policy)
        for name, field in Config.model_fields.items()
        for key, old, new, policy in _compare(name, before.get(name), now.get(name), field)
    ]


def _compare(key: str, before: Any, now: Any, field: FieldInfo) -> Iterator[tuple[str, Any, Any, OnResume]]:
    if before == now:
        return
    yield key, before, now, _policy(field)


def _policy(field: FieldInfo) -> OnResume:
    return next(item for item in field.metadata if isinstance(item, OnResume))
