"""Tasks: kinds of training. A task owns the loss, the metrics and the training step. One file per task."""

from tfloop_cli.engine.tasks.task import Batch, MetricValues, Task, uses_autograph

__all__ = ["Batch", "MetricValues", "Task", "uses_autograph"]
