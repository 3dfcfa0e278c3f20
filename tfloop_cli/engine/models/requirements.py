"""What models require of the data."""

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.errors import TfloopError


def require_image(spec: DataSpec, model: str) -> None:
    """Raises TfloopError unless one input is an image: [height, width, channels]."""
    if len(spec.input_shape) != 3:
        raise TfloopError(
            f"model `{model}` needs images, [height, width, channels]; "
            f"the inputs of this dataset have shape {spec.input_shape}",
            hint="use `linear` or `mlp`, or another dataset",
        )
