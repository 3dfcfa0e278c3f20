"""Out of memory: one message for the errors of TensorFlow, NumPy and Python."""

import re

from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.user_code import original

_TENSOR = re.compile(r"tensor with shape\s*\[([\d,]*)\] and type (\w+)")
_TOO_LARGE = re.compile(r"Shape \[.*\] would have more than 2\*\*63 - 1 elements|^array is too big")
_OPERATION = re.compile(r"Detected at node (\S+)|\[Op:(\w+)\]")


def out_of_memory(error: BaseException) -> TfloopError | None:
    """Returns the error to show if a failed allocation is the cause of an exception (exit code 8), else None.

    Its message names the tensor, if the exception does.
    """
    first = original(error)
    text = str(first)
    # TensorFlow's error by its name: this module is used without TensorFlow too.
    exhausted = isinstance(first, MemoryError) or type(first).__name__ == "ResourceExhaustedError"
    if not exhausted and not _TOO_LARGE.search(text):
        return None
    if tensor := _TENSOR.search(text):
        what = f"a tensor of shape [{tensor[1].replace(',', ', ')}] and type {tensor[2]} does not fit"
        if operation := _OPERATION.search(text):
            what += f" (operation `{operation[1] or operation[2]}`)"
    else:
        lines = (line.strip() for line in re.sub(r"\{\{function_node .*?\}\}", "", text).splitlines())
        words = ("llocat", "emory", "elements", "too big")
        what = next((line for line in lines if any(word in line for word in words)), "an allocation failed")
    return TfloopError(
        f"out of memory: {what}",
        hint="a smaller `batch_size` needs less memory, and so does a smaller `micro_batch_size` with the same batch "
        "size (gradient accumulation), or a smaller model or dataset",
        code=ExitCode.OUT_OF_MEMORY,
    )
