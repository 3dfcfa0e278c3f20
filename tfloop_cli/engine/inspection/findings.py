"""What is likely to be wrong with data."""

from collections.abc import Mapping, Sequence

import numpy as np

from tfloop_cli.data_summary import Finding, SplitSummary
from tfloop_cli.engine.data import Data
from tfloop_cli.engine.data.structures import is_several
from tfloop_cli.engine.data.tables.encoders import TableEncoders
from tfloop_cli.engine.inspection.scanning import Scan, blocks, is_tabular

MAX_NAMES = 5  # of classes in a line


def invalid_examples(data: Data, messages: Sequence[str]) -> list[Finding]:
    """Returns a finding for each split with examples that cannot be read or used.

    Args:
        data: has their numbers.
        messages: what `build_data` warned of.
    """
    return [
        Finding("invalid_examples", message, split, count=count, places=tuple(data.skipped_places[split]))
        for (split, count), message in zip(data.skipped.items(), messages, strict=True)
    ]


def missing_classes(splits: Sequence[SplitSummary]) -> list[Finding]:
    """Returns a finding for each split that lacks classes: of those with a name in training, else of those of others.

    A single class is a finding too.
    """
    counted = [split for split in splits if split.classes is not None]
    found = []
    for split in counted:
        classes = split.classes or {}
        known = [name for name in classes if split.name == "train" or any((one.classes or {})[name] for one in counted)]
        if missing := [name for name in known if not classes[name]]:
            shown = ", ".join(f"`{name}`" for name in missing[:MAX_NAMES])
            more = ", ..." if len(missing) > MAX_NAMES else ""
            what = "the class" if len(missing) == 1 else f"{len(missing):,} of {len(known):,} classes:"
            message = f"{split.name}: no example of {what} {shown}{more}"
            found.append(Finding("missing_class", message, split.name, count=len(missing)))
    if counted and len(names := list(counted[0].classes or {})) == 1:
        message = f"the data has a single class, `{names[0]}`: every prediction is right"
        found.append(Finding("single_class", message))
    return found


def constant_columns(data: Data) -> list[Finding]:
    """Returns a finding for each column, or feature of a vector, that has the same value in all training rows."""
    if isinstance(data.encoders, TableEncoders):
        constant = [column for column in data.encoders.columns if column.is_constant]
        values = {column.name: "all values are equal" if column.distinct else "it has no values" for column in constant}
        return [
            Finding("constant_column", f"column `{name}`: {value}; it is ignored", column=name)
            for name, value in values.items()
        ]
    if is_several(data.spec.inputs) or data.spec.vocabulary or len(data.spec.input_shape) != 1:
        return []
    bounds = [(values.numpy().min(axis=0), values.numpy().max(axis=0)) for values, _ in blocks(data, "train")]
    lowest, highest = np.min([low for low, _ in bounds], axis=0), np.max([high for _, high in bounds], axis=0)
    numbers = np.flatnonzero(lowest == highest).tolist()
    if not numbers:
        return []
    shown = ", ".join(map(str, numbers[:MAX_NAMES])) + (", ..." if len(numbers) > MAX_NAMES else "")
    text = f"the feature {shown} has" if len(numbers) == 1 else f"{len(numbers):,} features have"
    message = f"{text} the same value in all training examples" + (f": {shown}" if len(numbers) > 1 else "")
    return [Finding("constant_column", message, column=str(numbers[0]) if len(numbers) == 1 else None)]


def duplicates(data: Data, scans: Mapping[str, Scan]) -> list[Finding]:
    """Returns a finding for each two splits that share examples, as the model sees them.

    Args:
        data: its splits.
        scans: of each split; in an earlier one an example belongs, in a later one it is a duplicate.
    """
    pairs = [(first, second) for number, second in enumerate(scans) for first in list(scans)[:number]]
    return [found for first, second in pairs if (found := _shared(data, first, second, scans))]


def _shared(data: Data, first: str, second: str, scans: Mapping[str, Scan]) -> Finding | None:
    hashes, others = scans[second].hashes, scans[first].hashes
    shared = scans[second].shared(scans[first])
    count = int(shared.sum())
    if not count or hashes is None:
        return None
    position = int(np.argmax(shared))
    names = _name(data, first, int(np.argmax(others == hashes[position]))), _name(data, second, position)
    such = f", such as {names[0]} and {names[1]}" if all(names) else ""
    what = "images" if not is_tabular(data.spec) and not data.spec.vocabulary else "texts"
    how = "with the same pixels" if what == "images" else "as the model sees them"
    if is_tabular(data.spec):
        what, how = "rows", "with the same target"
    verb = "is" if count == 1 else "are"
    message = f"{second}: {count:,} of {len(hashes):,} {what} {verb} in {first} too, {how}{such}"
    return Finding("duplicates", message, second, count=count)


def _name(data: Data, split: str, position: int) -> str:
    """Returns what messages call an example of a split; "" if it has no name."""
    held_out = {one.split for one in data.run_splits.held_out}
    names = data.names.get("train" if split in held_out else split)
    own = "train" if split in held_out else split
    return f"{own}/{names[data.split(split)[1][position]]}" if names else ""
