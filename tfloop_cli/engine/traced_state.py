"""The state of a traced training step: the variables that it uses, and operations whose state a checkpoint lacks."""

from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from tfloop_cli.user_code import called_by_tfloop, is_user_file

CALLS = {"PartitionedCall", "StatefulPartitionedCall", "If", "While", "Case", "XlaLaunch"}  # of nested functions
HARMLESS = {"Assert", "PrintV2", "Print", "NoOp", "Placeholder", "Timestamp", *CALLS}
# Operations whose state is in a resource that is no variable.
ITERATORS = {"IteratorGetNext", "IteratorGetNextSync"}
ASSIGNMENTS = {"AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp"}
TABLES = {"LookupTableInsertV2", "LookupTableRemoveV2", "LookupTableImportV2"}
PYTHON_CODE = {"PyFunc": "`tf.numpy_function`", "EagerPyFunc": "`tf.py_function`"}
NAMES = {  # operation -> the function that users call
    "RandomStandardNormal": "tf.random.normal", "RandomUniform": "tf.random.uniform",
    "RandomUniformInt": "tf.random.uniform", "TruncatedNormal": "tf.random.truncated_normal",
    "RandomShuffle": "tf.random.shuffle", "Multinomial": "tf.random.categorical", "RandomGamma": "tf.random.gamma",
    "RandomPoissonV2": "tf.random.poisson",
}  # fmt: skip
USE_STATELESS = (
    "use `keras.random` with a `keras.random.SeedGenerator`, or functions such as `tf.random.stateless_normal` with "
    "the seed `[state.seed, state.step]`"
)
USE_SEED = "use functions such as `tf.random.stateless_normal` with the `seed` that an augmentation receives"
USE_TENSORFLOW = "write it with operations of TensorFlow, and keep what it remembers in a `tf.Variable`"


def captured_variables(graph: tf.Graph) -> list[tf.Variable]:
    """Returns the variables that a traced function and its nested functions use, in the order of their first use.

    The order is the same in every process. That of `graph.variables` is not: they come from a set.
    """
    by_handle = {id(variable.handle): variable for variable in graph.variables}
    return [by_handle[id(tensor)] for tensor, _ in graph.captures if id(tensor) in by_handle]


def unsaved_states(graph: tf.Graph, own_iterators: int = 0, *, loads_batches: bool = False) -> list[str]:
    """Returns one line for each operation of a traced function whose state is not in a checkpoint.

    A line has the operation, the place in the user's code if it is known, and what to use instead.

    Args:
        graph: of a training step, or of a function that loads and augments its batches.
        own_iterators: how many iterators return the training batches; the graph uses them first.
        loads_batches: whether it loads batches in a pipeline: only user code is examined, and its variables are not
            saved.
    """
    lines: dict[str, None] = {}  # an ordered set
    iterators = 0
    for operation in _operations(graph):
        kind = operation.type
        iterators += kind in ITERATORS
        if kind in PYTHON_CODE:
            name, advice = PYTHON_CODE[kind], USE_TENSORFLOW
        elif kind in TABLES:
            name, advice = "a mutable lookup table", "use a `tf.Variable`"
        elif kind in ITERATORS and iterators > own_iterators:
            name, advice = "an iterator over a dataset", "register a dataset that has these inputs too"
        elif kind in ASSIGNMENTS and loads_batches:
            name, advice = "a variable", USE_SEED
        elif operation.op_def.is_stateful and not _is_harmless(operation):
            name, advice = f"`{NAMES.get(kind, kind)}`", USE_SEED if loads_batches else USE_STATELESS
        else:
            continue
        place = _place(operation)  # reads the disk: only for operations that may be named
        if loads_batches and not place:
            continue
        has = "may have" if kind in PYTHON_CODE else "has"
        lines[
            f"{name}{place} {has} a state that checkpoints do not contain, so that a resumed run differs from an "
            f"uninterrupted one; {advice}"
        ] = None
    return list(lines)


def _is_harmless(operation: tf.Operation) -> bool:
    """Whether an operation that TensorFlow calls stateful has no state of its own.

    The state of some is in a variable, or in something else that has a handle. Keras' LSTM and GRU on a GPU are random
    only with dropout, which Keras does not use with them.
    """
    if operation.type.startswith("CudnnRNN"):
        return bool(operation.get_attr("dropout") == 0)
    return operation.type in HARMLESS or any(tensor.dtype in (tf.resource, tf.variant) for tensor in operation.inputs)


def _operations(graph: tf.Graph) -> Iterator[tf.Operation]:
    """Yields the operations of a graph and of its nested functions, each function once."""
    waiting, names = [graph], set()
    while waiting:
        current = waiting.pop(0)
        for operation in current.get_operations():
            yield operation
            for name in _called_functions(operation):
                if name not in names and (function := current._get_function(name)) is not None:
                    waiting.append(function.graph)
                names.add(name)


def _called_functions(operation: tf.Operation) -> Iterator[str]:
    for attribute in operation.op_def.attr:
        if attribute.type == "func":
            yield operation.get_attr(attribute.name).name
        elif attribute.type == "list(func)":
            yield from (function.name for function in operation.get_attr(attribute.name))


def _place(operation: tf.Operation) -> str:
    """Returns " (FILE:LINE)" of the user's code that made an operation; "" if no such code is known."""
    for frame in reversed(called_by_tfloop(operation.traceback or ())):
        if Path(frame.filename).is_file() and is_user_file(frame.filename):
            return f" ({frame.filename}:{frame.lineno})"
    return ""
