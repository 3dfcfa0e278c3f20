"""What surrounds a training step: state setup, optimizer, gradient accumulation, non-finite values, early stopping."""
