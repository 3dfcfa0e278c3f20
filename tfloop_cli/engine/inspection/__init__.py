"""What is in the data of a config, before it is trained on."""

from tfloop_cli.engine.inspection.inspecting import inspect
from tfloop_cli.engine.inspection.pictures import ImageRows, image_rows, pictures

__all__ = ["ImageRows", "image_rows", "inspect", "pictures"]
