"""The splits in a folder of tables that can be trained and evaluated on."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tfloop_cli.engine.data.tables.preview import column_names
from tfloop_cli.errors import short_path


def labelled_splits(found: Mapping[str, list[Path]], targets: Sequence[str]) -> tuple[dict[str, list[Path]], list[str]]:
    """Returns the splits whose files have the targets, and notes about the others.

    Competitions publish a `test.csv` without the targets: it is there to be predicted.

    Args:
        found: name of a split -> its files, see `find_splits`.
        targets: names of the columns to predict.
    """
    if "train" not in found:
        return dict(found), []
    known = set(column_names(str(found["train"][0]), targets))
    kept, notes = {}, []
    for split, files in found.items():
        names = column_names(str(files[0]), targets) if split != "train" else list(known)
        lacking = [name for name in targets if name in known and name not in names]
        if lacking and known.intersection(names):
            file = short_path(files[0])
            notes.append(
                f"{file} is not the {split} split, since it has no column `{lacking[0]}`: `tfloop predict last {file}` "
                "predicts it"
            )
        else:
            kept[split] = files
    return kept, notes
