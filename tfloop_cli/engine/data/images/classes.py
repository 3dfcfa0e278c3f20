"""The classes of a folder of images, without TensorFlow: `tfloop init` looks for them, too."""

from tfloop_cli.engine.data.class_names import class_names
from tfloop_cli.engine.data.images.layout import OUTSIDE, Layout
from tfloop_cli.engine.data.problems import refuse


def classes_of(layout: Layout) -> tuple[str, ...]:
    """Returns the classes of the training split, in order.

    Raises:
        TfloopError: no image is in a folder of a class (exit code 4).
    """
    found = class_names(one.label for one in layout.splits["train"])
    if not found:
        hint = "each class has its own folder: train/CLASS/, or CLASS/; else use `labels` or `label_pattern`"
        notes = [note for note in layout.notes if OUTSIDE not in note]
        hint = "; ".join([hint, *sorted(notes, key=lambda note: not note.startswith("if "))])  # what to do comes first
        refuse(str(layout.folders["train"]), None, "it has no folders with images", hint=hint)
    return found
