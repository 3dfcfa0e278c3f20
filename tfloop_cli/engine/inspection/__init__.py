"""What is in the data of a config, before it is trained on."""

from tfloop_cli.engine.inspection.images import ImageRows, image_rows, thumbnails
from tfloop_cli.engine.inspection.inspecting import inspect

__all__ = ["ImageRows", "image_rows", "inspect", "thumbnails"]
