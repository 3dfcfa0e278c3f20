"""Whether higher or lower values of a metric are better, by its name."""

from collections.abc import Mapping

# The name of a metric -> its mode.
NAMES: Mapping[str, str] = {"rmse": "min", "mae": "min", "mse": "min", "r2": "max"}
# A word in the name of a metric -> its mode.
MODES: Mapping[str, str] = {
    "accuracy": "max",
    "auc": "max",
    "f1": "max",
    "precision": "max",
    "recall": "max",
    "loss": "min",
    "error": "min",
}


def mode_of(metric: str) -> str | None:
    """Returns "max" or "min", the mode that the name of a metric shows; None if it shows none, or both."""
    if metric in NAMES:
        return NAMES[metric]
    modes = {mode for word, mode in MODES.items() if word in metric.lower()}
    return modes.pop() if len(modes) == 1 else None
