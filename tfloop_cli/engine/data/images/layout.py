"""The layout of a folder of images: which files belong to which split, and what their classes are.

train/CLASS/..., test/CLASS/..., validation/CLASS/...    in each spelling of `split_names`, in any case
CLASS/...                                                one split, train
labels: FILE.csv                                         a table with a column of paths and one of classes
train-*.parquet, test-*.parquet                          a column of images, and one of classes
label_pattern: REGEX                                     the class is a part of the path

Tables are read with pyarrow, which is imported only then: it takes 0.2 s and 30 MB.
"""

import os
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from tfloop_cli.config.data_paths import split_tables
from tfloop_cli.engine.data.build_context import DATA, build_context
from tfloop_cli.engine.data.class_names import composed
from tfloop_cli.engine.data.images.files import Scanner
from tfloop_cli.engine.data.images.listing import Listing
from tfloop_cli.engine.data.invalid_examples import require_valid_examples
from tfloop_cli.engine.data.problems import refuse
from tfloop_cli.engine.data.split_names import SPLIT_NAMES, split_folders, split_of, split_within
from tfloop_cli.errors import TfloopError

_TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json")
Columns = tuple[str | None, str | None, str]  # of a table: paths, classes, splits; None: see `columns_of`
MAX_TRIED = 3  # tables beside folders of classes that are looked into
OUTSIDE = "outside of the folders of classes"
_CONTAINERS = (  # folders of images that are no classes
    "images", "image", "imgs", "img", "jpegimages", "pngimages", "pictures", "pics", "photos", "data", "files", "all",
    "masks", "mask", "annotations", "labels", "segmentationclass", "segmentationobject", "segmentations", "trimaps",
    "groundtruth", "raw",
)  # fmt: skip


@dataclass
class Layout:
    """The images of each split, and what the user should know about the folder.

    Attributes:
        splits: name of a split -> its images in order, with labels.
        folders: name of a split -> its folder.
        notes: what was found in the folder and is not used, one sentence each.
        columns: of a table of labels; empty if there is none.
    """

    splits: dict[str, Listing] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)


def find_images(root: Path, labels: Path | None, columns: Columns, pattern: str | None) -> Layout:
    """Lists the images in a folder, and finds their classes; only those of the splits that are needed.

    Other data (see `BuildContext.data`) is one split, whatever its folders are called.

    Args:
        root: the folder.
        labels: a table of paths and classes; None: folders or `pattern`.
        columns: names of its columns.
        pattern: a regular expression with a group `label`, which is searched for in each path; None: folders.

    Raises:
        TfloopError: the folder cannot be read or has no images with classes (exit code 4); the pattern is invalid, or
            used together with `labels` (exit code 2).
    """
    scanner, layout, context = Scanner(), Layout(), build_context()
    if labels:
        if pattern:
            raise TfloopError("`labels` and `label_pattern` are both set", hint="remove one of them")
        _read_labels(layout, root, labels, columns, scanner)
    elif not pattern and (tables := _tables_of(root)) and _read_packed(layout, tables, columns):
        return layout
    else:
        found = {DATA: root}
        if not context.data:
            found = _split_folders(root, scanner, layout.notes, bool(pattern), context.split is None)
        for folders in (context.needed(found), found):  # all, if the needed one has no classes
            if not layout.splits:
                layout.folders = dict(folders)
                _list_images(layout, pattern, scanner)
                if context.classes and not pattern and _is_unlabelled(layout):
                    _find_labels(layout, root, columns, scanner)
                _check_labels(layout)
    _note_files(layout, root, scanner, columns, used=bool(labels or pattern))
    return layout


def _read_labels(layout: Layout, root: Path, labels: Path, columns: Columns, scanner: Scanner) -> None:
    """Reads the images of a table; their paths are relative to the folder, the table, or the folder of all images.

    Raises:
        TfloopError: see `find_images`.
    """
    from tfloop_cli.engine.data.images.label_table import columns_of, read_label_table

    split = DATA if build_context().data else "train"
    if not labels.exists() and (root / labels.name).exists():
        labels = root / labels.name
    named = columns_of(labels, root, columns)
    if named is None and (images := scanner.images(split, root)):
        inner = Path(os.path.commonpath({Path(one.path).parent for one in images}))
        if named := columns_of(labels, inner, columns):
            root = inner
    if named and named[:2] != columns[:2]:
        found = f"classes by the column `{named[1]}` of {labels.name}, images by `{named[0]}`"
        layout.notes.append(f"{found} (keys `target`, `file_column`)")
    read_label_table(layout, root, split, labels, named or (columns[0] or "file", columns[1] or "label", columns[2]))


def _tables_of(root: Path) -> dict[str, list[Path]]:
    """Returns the .parquet files of each split; {} if these are other data, or there are none."""
    files = {"train": [root]} if root.is_file() else split_tables(root) if root.is_dir() else {}
    found = {split: files[split] for split in SPLIT_NAMES if split in files}
    if not found or any(path.suffix != ".parquet" for paths in found.values() for path in paths):
        return {}
    context = build_context()
    return {DATA: [path for paths in found.values() for path in paths]} if context.data else context.needed(found)


def _read_packed(layout: Layout, tables: dict[str, list[Path]], columns: Columns) -> bool:
    from tfloop_cli.engine.data.images.packed import read_packed

    return read_packed(layout, tables, columns)


def _find_labels(layout: Layout, root: Path, columns: Columns, scanner: Scanner) -> None:
    """Finds classes of images that are in no folders of classes.

    Raises:
        TfloopError: there are images in folders that are no classes, and nothing else has classes (exit code 4).
    """
    from tfloop_cli.engine.data.images.unlabelled import find_labels

    labels = sorted({one.label for listed in layout.splits.values() for one in listed})
    if not find_labels(layout, root, columns, scanner) and labels:
        problem = f"all images are in {_listing(labels)}, which is no class"
        one = "if it is one, `label_pattern: (?P<label>[^/]+)/`"
        hint = f"sort them into CLASS/, or name a table of their classes (`labels`); {one}"
        refuse(str(next(iter(layout.folders.values()))), None, problem, hint=hint)


def _note_files(layout: Layout, root: Path, scanner: Scanner, columns: Columns, used: bool) -> None:
    """Notes which files are ignored, and tables that name the images; `used`: whether folders are not the classes."""
    tables = [
        path for path in map(Path, scanner.ignored) if path.suffix.lower() in _TABLE_SUFFIXES and path.parent == root
    ]
    found_labels = {one.label for images in layout.splits.values() for one in images}
    if tables and not layout.columns and len(found_labels) < 2:
        layout.notes.append(
            f"if `{tables[0].name}` has the classes of the images: `--set dataset.labels={tables[0].name}`"
        )
    elif tables and not used and not layout.columns and DATA not in layout.splits:
        named = [table.name for table in tables[:MAX_TRIED] if _names_images(table, root, columns)]
        hint = "its classes: `--set dataset.labels="
        layout.notes += [
            f"`{name}` names the images, but the folders are their classes; for {hint}{name}`" for name in named
        ]
    if scanner.ignored:
        names = ", ".join(f"{count:,} {name}" for name, count in sorted(Counter(scanner.ignored.values()).items()))
        layout.notes.append(f"ignored files and folders: {names}")


def _names_images(table: Path, root: Path, columns: Columns) -> bool:
    """Whether a column of a table names the images."""
    from tfloop_cli.engine.data.images.label_table import columns_of

    try:
        return columns_of(table, root, (columns[0], columns[1] or "label", columns[2])) is not None
    except TfloopError:  # it is no table
        return False


def _list_images(layout: Layout, pattern: str | None, scanner: Scanner) -> None:
    """Lists the images of each split with a folder; splits without classes are removed."""
    for split, folder in layout.folders.items():
        if pattern:
            layout.splits[split] = by_pattern(split, folder, pattern, scanner, layout.notes)
        else:
            layout.splits[split] = _by_folder(split, folder, scanner, layout.notes)
        require_valid_examples(split, len(layout.splits[split]))
    if list(layout.splits) == ["train"] and not pattern:
        _split_classes(layout)


def _split_classes(layout: Layout) -> None:
    """Divides the images by the folders in each class, if all of them are called as splits: CLASS/train, CLASS/test."""
    listed = layout.splits["train"]
    inner = {one.name.split("/")[1] if one.name.count("/") > 1 else "" for one in listed}
    if "train" in map(split_of, inner) and all(map(split_of, inner)) and len(inner) > 1:
        folder, numbers = layout.folders["train"], dict[str, list[int]]()
        for number, one in enumerate(listed):
            numbers.setdefault(split_of(one.name.split("/")[1]) or "", []).append(number)
        layout.splits = {split: listed.subset(chosen) for split, chosen in numbers.items()}
        layout.folders = dict.fromkeys(numbers, folder)
        layout.notes.append(f"splits by the folders in each class: {_listing(sorted(inner))}")


def _is_unlabelled(layout: Layout) -> bool:
    """Whether no image is in a folder of a class: one called `images` or `train2017` is none, unless the run has it."""
    labels = {one.label for listed in layout.splits.values() for one in listed}
    if not labels.isdisjoint((build_context().encoders or {}).get("class_names", ())):
        return False
    return all(label.lower() in _CONTAINERS or (len(labels) == 1 and split_within(label)) for label in labels)


def _check_labels(layout: Layout) -> None:
    """Removes splits without classes.

    Raises:
        TfloopError: other data has no classes, or no image is in a folder of a class (exit code 4).
    """
    if not layout.splits.get(DATA, True):
        refuse(str(layout.folders[DATA]), None, "it has no folders of classes", hint="images belong in CLASS/")
    _drop_unlabelled_splits(layout)


def _split_folders(root: Path, scanner: Scanner, notes: list[str], flat: bool, training: bool) -> dict[str, Path]:
    """Returns the folder of each split; the folder itself is `train` if none is named as a split."""
    folders = [Path(entry.path) for entry in scanner.folders(root)]
    if found := split_folders(root, [one.name for one in folders], training, may_have_no_train=flat):
        if unused := [folder.name for folder in folders if folder not in found.values()]:
            notes.append(f"not used: {_listing(unused)}, beside {_listing([one.name for one in found.values()])}")
        if named := [f"{split} is `{one.name}`" for split, one in found.items() if not split_of(one.name)]:
            notes.append(f"splits by the names of the folders: {', '.join(named)}")
        return {split: _inner(folder, scanner) for split, folder in found.items()}
    used = folders if len(folders) < 2 or flat else [one for one in folders if scanner.may_have_images(one)]
    if len(used) == 1 and not flat and scanner.folders(used[0]):  # as a zip file unpacks
        rest = [one.name for one in folders if one not in used]
        beside = f"; not used: {_listing(rest)}" if rest else ""
        notes.append(f"the images are in its only subfolder{' of images' if rest else ''}, `{used[0].name}`{beside}")
        return _split_folders(used[0], scanner, notes, flat, training)
    return {"train": root}


def _inner(folder: Path, scanner: Scanner) -> Path:
    """Returns the folder of a split, or its only subfolder if that has the same name, as some archives unpack."""
    inner = scanner.folders(folder)
    return Path(inner[0].path) if len(inner) == 1 and inner[0].name == folder.name else folder


def _by_folder(split: str, folder: Path, scanner: Scanner, notes: list[str]) -> Listing:
    """Returns the images in the folders of classes, by class and name."""
    found = Listing(folder)
    for kind in scanner.folders(folder):
        label, images = composed(kind.name), scanner.images(split, Path(kind.path))
        found.extend(replace(one, name=f"{kind.name}/{one.name}", label=label) for one in images)
    if loose := scanner.images(split, folder, deep=False):
        notes.append(
            f"not used: {len(loose):,} image{'s' if len(loose) > 1 else ''} {OUTSIDE} in `{folder.name}`, such as "
            f"{loose[0].name}"
        )
    return found


def by_pattern(
    split: str, folder: Path, pattern: str, scanner: Scanner, notes: list[str], required: bool = True
) -> Listing:
    """Returns the images whose path matches the pattern, by path; unless `required`, there may be none."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise TfloopError(f"`label_pattern` is no regular expression: {error}") from error
    if "label" not in compiled.groupindex:
        raise TfloopError("`label_pattern` has no group `label`", hint="for example (?P<label>[a-z]+)_[0-9]+")
    images = scanner.images(split, folder)
    matches = ((one, match["label"]) for one in images if (match := compiled.search(one.name)) and match["label"])
    found = Listing(folder, (replace(one, label=composed(label)) for one, label in matches))
    if not found and required:
        first = f"; the first of {len(images):,} is {images[0].name}" if images else ""
        refuse(str(folder), None, f"`label_pattern` matches no image{first}")
    if rest := len(images) - len(found):
        notes.append(f"not used: {rest:,} of {len(images):,} images in `{folder.name}`, which `label_pattern` misses")
    return found


def _drop_unlabelled_splits(layout: Layout) -> None:
    """Removes splits without a class, which cannot be evaluated: their images are reported as not used.

    Images without a class are often in one folder, such as test/unknown/, since Keras and others need one.
    """
    known = {one.label.casefold() for one in layout.splits.get("train", ())}
    for split in [split for split in layout.splits if split != "train"]:
        found, name = {one.label for one in layout.splits[split]}, layout.folders[split].name
        if not found:
            layout.notes.append(f"there is no {split} split: `{name}` has no folders of classes")
        elif len(known) > 1 and len(found) == 1 and known.isdisjoint(map(str.casefold, found)):
            only = f"{len(layout.splits[split]):,} images of `{name}` are in one folder, {_listing(sorted(found))}"
            layout.notes.append(f"there is no {split} split: the {only}, which is no class of the training split")
        else:
            continue
        del layout.splits[split], layout.folders[split]


def _listing(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
