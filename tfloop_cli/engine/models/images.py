"""What the image models ask of the data."""

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.errors import TfloopError


def require_image(spec: DataSpec, model: str) -> None:
    """Raises TfloopError unless one input is an image: [height, width, channels]."""
    if len(spec.input_shape) != 3:
        raise TfloopError(
            f"model `{model}` needs images, [height, width, channels]; this dataset's inputs are {spec.input_shape}",
            hint="take `linear` or `mlp`, or another dataset",
        )
