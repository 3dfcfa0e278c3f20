"""Around a training step: state setup, gradient accumulation, non-finite guard, executor, early stopping.

The step itself is the `train_step` of a task, in `engine/tasks/`.
"""
