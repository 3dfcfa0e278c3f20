"""Around a training step: state setup, gradient accumulation, non-finite guard, executor, early stopping."""
