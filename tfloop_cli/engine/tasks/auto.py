"""The default of the key `task`: the targets decide."""

from collections.abc import Callable

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.data.structures import is_several
from tfloop_cli.engine.tasks.task import Task
from tfloop_cli.registry import Component, tasks


def decide_task(component: Component, spec: DataSpec, note: Callable[[str], None]) -> Component:
    """Returns the task of a config; in place of `auto` the one that suits the targets.

    Args:
        component: its name and arguments.
        spec: shape of the data.
        note: prints the decision.
    """
    if component.name != "auto" or is_several(spec.targets):  # for several targets a task of the user is needed
        return component
    name, targets = ("classification", "classes") if spec.classes else ("regression", "numbers")
    note(f"task: {name}, since the targets are {targets} (key `task`)")
    return Component(name, tasks.declaration(name, {}).defaults())


@tasks.register("auto")
def auto(spec: DataSpec) -> Task:
    """`classification` if the targets are classes, `regression` if they are numbers.

    Args:
        spec: shape of the data.
    """
    task: Task = tasks.build(Component("classification" if spec.classes else "regression"), spec)
    return task
