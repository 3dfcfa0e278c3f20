"""The names of arrays: which are inputs and which are targets, and of which split, in the spellings of other tools."""

import re
from collections.abc import Mapping
from typing import TypeVar

from tfloop_cli.config.data_paths import split_of

Array = TypeVar("Array")
_ROLES = {
    "x": ("x", "inputs", "input", "images", "image", "imgs", "img", "features", "feature", "data", "samples"),
    "y": ("y", "targets", "target", "labels", "label", "lbl", "lbls", "classes", "class"),
}
_FILLERS = ("set", "arr", "array")


def usual_names(found: Mapping[str, Array]) -> dict[str, str]:
    """Returns `x_train`, `y_test`, `x`, ... -> the name of the array that has that role, for other spellings of it.

    Such as `X_train`, `train_images` and `labels`, or the two arrays of `np.savez(path, x, y)`.

    Args:
        found: the arrays by their names.

    Returns:
        {} if there are names of the usual form, no inputs, or two arrays for one role and split.
    """
    if any(re.fullmatch("(x|inputs)(_[a-z]+)?", name) for name in found):
        return {}
    if list(found) == ["arr_0", "arr_1"]:
        return {"x": "arr_0", "y": "arr_1"}
    names: dict[str, str] = {}
    for name in found:
        usual = usual_name(name)
        if usual in names:
            return {}
        if usual:
            names[usual] = name
    return names if any(usual.startswith("x") for usual in names) else {}


def usual_name(name: str) -> str:
    """Returns the usual form of a name; "" if it is no name of inputs or targets, alone or with a split."""
    words = re.findall("[a-z]+", re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower())
    words = [word for word in words if word not in _FILLERS]
    splits = [split for word in words if (split := split_of(word))]
    roles = [role for word in words for role, known in _ROLES.items() if word in known]
    if len(roles) != 1 or len(splits) > 1 or len(words) != len(roles) + len(splits):
        return ""
    return "_".join([*roles, *splits])
