"""Export of trained models to other formats."""

from tfloop_cli.engine.exporting.export import MAX_DROP, Exported, Listener, export
from tfloop_cli.engine.exporting.formats import FORMATS

__all__ = ["FORMATS", "MAX_DROP", "Exported", "Listener", "export"]
