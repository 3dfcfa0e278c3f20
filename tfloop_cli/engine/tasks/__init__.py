"""Tasks: kinds of training. A task owns the loss, the metrics and the training step. One file per task."""

from tfloop_cli.engine.tasks.auto import decide_task
from tfloop_cli.engine.tasks.complete import build_task, evaluated_metrics, scores_of, sum_metrics_of, uses_autograph
from tfloop_cli.engine.tasks.task import Batch, MetricValues, SumMetric, Task

__all__ = [
    "Batch",
    "MetricValues",
    "SumMetric",
    "Task",
    "build_task",
    "decide_task",
    "evaluated_metrics",
    "scores_of",
    "sum_metrics_of",
    "uses_autograph",
]
