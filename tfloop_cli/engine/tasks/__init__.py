"""Tasks: what one batch means. A task owns the loss, the metrics and the training step."""

from tfloop_cli.engine.tasks.task import Batch, Task, Values, wants_autograph

__all__ = ["Batch", "Task", "Values", "wants_autograph"]
