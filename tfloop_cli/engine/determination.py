"""R2, the coefficient of determination: one definition for training, evaluation, reports and exports; NumPy alone."""

import numpy as np

CONSTANT = 1e-12  # of the sum of squares: a target with less variation is constant, but for rounding


def r2_of_sums(sums: np.ndarray, examples: float) -> float:
    """Returns 1 - residual / total sum of squares, the mean over the numbers of a target, as scikit-learn does.

    For a constant target it is 1 if each prediction is equal to it, else 0. It is NaN for fewer than two examples.

    Args:
        sums: over the examples, float64 [3 * numbers]: of squared errors, of targets, of squared targets.
        examples: their number.
    """
    residual, total, squares = sums.reshape(3, -1)
    if examples < 2:
        return float("nan")
    variation = squares - total**2 / examples
    constant = variation <= CONSTANT * squares
    of_constant = np.where(np.isnan(residual), residual, np.where(residual == 0, 1.0, 0.0))
    return float(np.mean(np.where(constant, of_constant, 1 - residual / np.where(constant, 1.0, variation))))


def r2(targets: np.ndarray, predictions: np.ndarray) -> float:
    """Returns R2 as `r2_of_sums` has it, from arrays [examples, numbers]."""
    shifted = targets.astype(np.float64) - targets[:1]  # squares of 2024 hide differences
    sums = np.stack([np.square(predictions - targets), shifted, np.square(shifted)]).sum(axis=1)
    return r2_of_sums(sums, len(targets))
