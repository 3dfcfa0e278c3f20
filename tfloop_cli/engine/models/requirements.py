"""What models require of the data."""

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.data.structures import is_several
from tfloop_cli.engine.data.text_source import has_weighted_ids
from tfloop_cli.errors import TfloopError


def require_image(spec: DataSpec, model: str) -> None:
    """Raises TfloopError unless one input is an image: [height, width, channels]."""
    refuse_texts(spec, model, "images")
    if len(spec.input_shape) != 3:
        raise TfloopError(
            f"model `{model}` needs images, [height, width, channels]; "
            f"the inputs of this dataset have shape {spec.input_shape}",
            hint="use `linear` or `mlp`, or another dataset",
        )


def refuse_texts(spec: DataSpec, model: str, needed: str) -> None:
    """Raises TfloopError if the inputs are texts.

    Args:
        spec: shape of the data.
        model: its name.
        needed: the inputs that the model needs, in words.
    """
    if has_weighted_ids(spec) or (not is_several(spec.inputs) and spec.vocabulary):
        right = "text_linear" if has_weighted_ids(spec) else "text_classifier"
        raise TfloopError(
            f"model `{model}` needs {needed}; the inputs of this dataset are texts", hint=f"use `model: {right}`"
        )


def require_texts(spec: DataSpec, model: str) -> None:
    """Raises TfloopError unless the inputs are texts: ids of words, or weighted n-grams."""
    if has_weighted_ids(spec):
        return
    if not spec.vocabulary or len(spec.input_shape) != 1:
        raise TfloopError(
            f"model `{model}` needs texts; the inputs of this dataset have shape {spec.input_shape}",
            hint="use another model, or a dataset like `text`",
        )
