"""What differs between the config of a run and that of a command that resumes it, with the policy of each key.

Each key of the schema declares its policy. A nested key that declares none has that of the mapping that it is in, and
an argument of a component that declares none has that of the component's key.
"""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from tfloop_cli.config.schema import Config
from tfloop_cli.config.suggestions import COMPONENT_KEYS
from tfloop_cli.registry.argument_types import OnResume
from tfloop_cli.registry.declarations import Parameter

# Keys whose effect only the data shows: `test: auto` and `test: 100` may hold out the same examples.
DECIDED_BY_DATA = ("test", "validation", "scale_uint8")
# Arguments of any optimizer, the user's included: the state of the optimizer does not depend on them.
_ARGUMENTS = {
    "optimizer.learning_rate": OnResume.CHANGES_REST,
    "optimizer.weight_decay": OnResume.CHANGES_REST,
}


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
    """Compares two configs, each as `to_mapping` returns it, in the order of the schema.

    A component with another name is one difference, and so is a list, such as `augment`.
    """
    return [one for key in Config.model_fields for one in _compare(key, before.get(key), now.get(key))]


@functools.cache
def policies() -> Mapping[str, OnResume]:
    """Returns the policy of every key of the schema, nested ones included, by its dotted name.

    Raises:
        LookupError: a key has none.
    """
    return dict(_policies(Config, "", None))


def argument_policy(key: str, parameter: Parameter) -> OnResume:
    """Returns the policy of an argument of the component in `key`: declared, or that of the key.

    A path of a dataset may change, since data can be moved: its content is compared.
    """
    known = _declared(parameter.annotation) or _ARGUMENTS.get(f"{key}.{parameter.name}")
    if known is None and key == "dataset" and _has_path(parameter.annotation):
        return OnResume.CHANGES_REST
    return known or policies()[key]


def _policies(model: type[BaseModel], prefix: str, inherited: OnResume | None) -> Iterator[tuple[str, OnResume]]:
    for name, field in model.model_fields.items():
        policy = next((item for item in field.metadata if isinstance(item, OnResume)), inherited)
        if policy is None:
            raise LookupError(f"the key `{prefix}{name}` declares no policy: `{name}: Annotated[..., OnResume.FREE]`")
        yield f"{prefix}{name}", policy
        for nested in (field.annotation, *get_args(field.annotation)):
            if isinstance(nested, type) and issubclass(nested, BaseModel):
                yield from _policies(nested, f"{prefix}{name}.", policy)


def _declared(annotation: Any) -> OnResume | None:
    """Returns the policy in an annotation: that of `Annotated[bool, OnResume.FREE] | None` too."""
    if isinstance(annotation, OnResume):
        return annotation
    return next(filter(None, map(_declared, get_args(annotation))), None)


def _has_path(annotation: Any) -> bool:
    return annotation is Path or any(map(_has_path, get_args(annotation)))


def _compare(key: str, before: Any, now: Any) -> Iterator[Difference]:
    if before == now:
        return
    if not isinstance(before, Mapping) or not isinstance(now, Mapping):
        yield Difference(key, before, now, _policy(key, before, now))
    elif key not in COMPONENT_KEYS:
        for name in {**before, **now}:
            yield from _compare(f"{key}.{name}", before.get(name), now.get(name))
    elif before["name"] != now["name"]:
        yield Difference(key, before, now, policies()[key])
    else:
        yield from _compare_arguments(key, before, now)


def _compare_arguments(key: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    declaration = COMPONENT_KEYS[key].declaration(now["name"], now)
    known = {one.name: argument_policy(key, one) for one in declaration.parameters}
    for name in {**before, **now}:
        if before.get(name) != now.get(name):
            policy = known.get(name, policies()[key])
            yield Difference(f"{key}.{name}", before.get(name), now.get(name), policy)


def _policy(key: str, before: Any, now: Any) -> OnResume:
    if key == "precision" and "float64" in (before, now):
        return OnResume.REFUSED  # the weights have another dtype; with the other precisions they are float32
    return policies()[key]
