"""Layouts of folders: splits in every spelling, classes by folder, table or pattern, and what is ignored."""

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from tfloop_cli.engine.data.images.layout import Layout, find_images
from tfloop_cli.engine.data.invalid_examples import collect_invalid_examples
from tfloop_cli.errors import ExitCode, TfloopError

PNG = b"\x89PNG\r\n\x1a\n"


def write(root: Path, *names: str, content: bytes = PNG) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def find(root: Path, labels: Path | None = None, pattern: str | None = None) -> Layout:
    return find_images(root, labels, ("file", "label", "split"), pattern)


def found(layout: Layout) -> dict[str, list[tuple[str, str]]]:
    return {split: [(one.name, one.label) for one in images] for split, images in layout.splits.items()}


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "val", "test"),
        ("training", "valid", "testing"),
        ("Train", "Validation", "Test"),
        ("TRAIN", "dev", "TEST"),
        ("Training", "eval", "Testing"),
    ],
)
def test_splits_have_every_usual_name(tmp_path: Path, train: str, validation: str, test: str) -> None:
    write(tmp_path, f"{train}/a/1.png", f"{validation}/a/2.png", f"{test}/a/3.png")
    layout = find(tmp_path)
    assert found(layout) == {"train": [("a/1.png", "a")], "validation": [("a/2.png", "a")], "test": [("a/3.png", "a")]}
    assert layout.notes == []


@pytest.mark.parametrize(
    ("train", "test"),
    [("seg_train", "seg_test"), ("training_set", "test_set"), ("train-images", "Test images"), ("trainset", "testset"),
     ("train2017", "test2017"), ("myTrainData", "myTestData")],
)  # fmt: skip
def test_splits_are_found_within_names(tmp_path: Path, train: str, test: str) -> None:
    layout = find(write(tmp_path, f"{train}/a/1.png", f"{train}/b/2.png", f"{test}/a/3.png", "other/4.png"))
    assert found(layout) == {"train": [("a/1.png", "a"), ("b/2.png", "b")], "test": [("a/3.png", "a")]}
    assert layout.notes[-1] == f"splits by the names of the folders: train is `{train}`, test is `{test}`"
    assert layout.notes[0].startswith("not used: `other`")


@pytest.mark.parametrize("names", [("freight_train", "bus"), ("test_a", "test_b"), ("train_a", "train_b", "test_a")])
def test_classes_may_contain_the_name_of_a_split(tmp_path: Path, names: tuple[str, ...]) -> None:
    layout = find(write(tmp_path, *(f"{name}/1.png" for name in names)))
    assert [label for _, label in found(layout)["train"]] == sorted(names)


def test_split_folder_in_a_folder_of_its_name_is_entered(tmp_path: Path) -> None:
    layout = find(
        write(tmp_path, "seg_train/seg_train/a/1.png", "seg_test/seg_test/a/2.png", "seg_pred/seg_pred/3.png")
    )
    assert found(layout) == {"train": [("a/1.png", "a")], "test": [("a/2.png", "a")]}


def test_folders_without_images_are_no_classes(tmp_path: Path) -> None:
    write(tmp_path, "images/train/a/1.png", "images/val/a/2.png", "labels/train/a/1.txt", "labels/val/a/2.txt")
    layout = find(tmp_path)
    assert found(layout) == {"train": [("a/1.png", "a")], "validation": [("a/2.png", "a")]}
    assert layout.notes[0] == "the images are in its only subfolder of images, `images`; not used: `labels`"


def test_folders_of_splits_in_each_class_are_splits(tmp_path: Path) -> None:
    layout = find(write(tmp_path, "a/train/1.png", "a/test/2.png", "b/train/1.png"))
    assert found(layout) == {
        "train": [("a/train/1.png", "a"), ("b/train/1.png", "b")],
        "test": [("a/test/2.png", "a")],
    }
    assert layout.notes == ["splits by the folders in each class: `test`, `train`"]


def test_two_folders_of_one_split_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, "train/a/1.png", "val/a/1.png", "dev/a/1.png")
    with pytest.raises(TfloopError, match="`dev` and `val` are both the validation split") as caught:
        find(tmp_path)
    assert caught.value.code == ExitCode.DATA


def test_split_folders_without_train_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(TfloopError, match="it has `test`, but no `train`"):
        find(write(tmp_path, "test/a/1.png"))


def test_folder_beside_the_splits_is_reported(tmp_path: Path) -> None:
    layout = find(write(tmp_path, "train/a/1.png", "extra/a/2.png", "unlabelled/3.png"))
    assert found(layout) == {"train": [("a/1.png", "a")]}
    assert layout.notes == ["not used: `extra`, `unlabelled`, beside `train`"]


def test_classes_at_the_top_level_are_one_split(tmp_path: Path) -> None:
    layout = find(write(tmp_path, "cat/1.png", "dog/2.png", "dog/3.png"))
    assert found(layout) == {"train": [("cat/1.png", "cat"), ("dog/2.png", "dog"), ("dog/3.png", "dog")]}


def test_only_subfolder_is_entered_as_a_zip_file_unpacks(tmp_path: Path) -> None:
    layout = find(write(tmp_path, "set/train/a/1.png", "set/test/b/2.png", "__MACOSX/set/._1.png"))
    assert found(layout) == {"train": [("a/1.png", "a")], "test": [("b/2.png", "b")]}
    assert layout.notes[0] == "the images are in its only subfolder, `set`"


def test_folders_below_a_class_belong_to_it(tmp_path: Path) -> None:
    layout = find(write(tmp_path, "train/a/x/y/1.png", "train/a/2.png", "train/b/z/3.png"))
    assert found(layout)["train"] == [("a/2.png", "a"), ("a/x/y/1.png", "a"), ("b/z/3.png", "b")]


def test_link_to_a_folder_above_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path, "a/sub/1.png", "b/2.png")
    (tmp_path / "a/sub/again").symlink_to(tmp_path / "a/sub")
    assert found(find(tmp_path))["train"] == [("a/sub/1.png", "a"), ("b/2.png", "b")]


def test_other_files_are_ignored_and_counted_in_one_line(tmp_path: Path) -> None:
    write(tmp_path, "train/a/1.png", "train/b/2.png", "train/README.txt", "train/a/Thumbs.db", "train/b/desktop.ini",
          "train/b/._2.png", "train/a/.DS_Store", "train/.ipynb_checkpoints/1.png", "__MACOSX/train/a/1.png",
          "train/a/notes.TXT", "train/a/labels.csv")  # fmt: skip
    (tmp_path / "train/empty").mkdir()
    layout = find(tmp_path)
    assert found(layout) == {"train": [("a/1.png", "a"), ("b/2.png", "b")]}
    (note,) = layout.notes
    assert note == "ignored files and folders: 1 .csv, 2 .txt, 1 Thumbs.db, 1 __MACOSX, 1 desktop.ini, 3 hidden"


def test_images_outside_of_classes_are_reported(tmp_path: Path) -> None:
    layout = find(write(tmp_path, "train/a/1.png", "train/b/1.png", "train/loose.png", "test/1.png", "test/2.png"))
    assert list(layout.splits) == ["train"]
    assert layout.notes == [
        "not used: 1 image outside of the folders of classes in `train`, such as loose.png",
        "not used: 2 images outside of the folders of classes in `test`, such as 1.png",
        "there is no test split: `test` has no folders of classes",
    ]


def test_file_of_unknown_suffix_is_an_image_by_its_content(tmp_path: Path) -> None:
    assert found(find(write(tmp_path, "a/1", "a/2.image")))["train"] == [("a/1", "a"), ("a/2.image", "a")]


def test_files_that_are_no_images_are_ignored_and_counted(tmp_path: Path) -> None:
    write(tmp_path, "a/1.png", "b/1.png")
    write(tmp_path, "a/1.svg", "b/1.svg", "b/3.bin", "b/Makefile", content=b"no image")
    layout = find(tmp_path)
    assert found(layout) == {"train": [("a/1.png", "a"), ("b/1.png", "b")]}
    assert layout.notes == ["ignored files and folders: 1 .bin, 2 .svg, 1 without suffix"]


def test_format_of_images_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "a/1.png", "b/1.png")
    with pytest.raises(TfloopError, match=r"2\.ras: \.ras files cannot be read\n  convert it to PNG, or remove it"):
        find(write(tmp_path, "a/2.ras", content=b"no image"))


def test_table_names_paths_and_labels(tmp_path: Path) -> None:
    write(tmp_path, "all/1.png", "all/2.jpg", "all/3.png")
    (tmp_path / "all/labels.csv").write_text("label,file\ncat,1.png\ndog,2\n")
    expected = {"train": [("1.png", "cat"), ("2", "dog")]}
    assert found(find(tmp_path / "all", tmp_path / "all/labels.csv")) == expected
    assert found(find(tmp_path / "all", tmp_path / "labels.csv")) == expected  # found in the folder of the images
    assert [Path(one.path).name for one in find(tmp_path / "all", tmp_path / "labels.csv").splits["train"]] == [
        "1.png", "2.jpg",
    ]  # fmt: skip


def test_missing_image_of_a_table_is_an_invalid_example(tmp_path: Path) -> None:
    write(tmp_path, "1.png")
    (tmp_path / "labels.csv").write_text("file,label\n1.png,cat\nmissing.png,dog\n")
    with pytest.raises(TfloopError, match=r"missing\.png: this image cannot be used"):
        find(tmp_path, tmp_path / "labels.csv")
    with collect_invalid_examples(skip=True) as skipped:
        assert len(find(tmp_path, tmp_path / "labels.csv").splits["train"]) == 1
    assert skipped.counts == {"train": 1}


def test_table_of_labels_is_read_as_any_table(tmp_path: Path) -> None:
    write(tmp_path, "1.png", "2.png", "3.png")
    expected = {"train": [("1.png", "1"), ("2.png", "2")]}
    parquet.write_table(pa.table({"file": ["1.png", "2.png"], "label": [1, 2]}), tmp_path / "a.parquet")
    (tmp_path / "a.tsv").write_text('"label"\t"file"\n"1"\t"1.png"\n"2"\t"2.png"\n')
    (tmp_path / "a.json").write_text('[{"file": "1.png", "label": 1}, {"file": "2.png", "label": 2}]')
    (tmp_path / "a.csv").write_text("file;label\n1.png;1\n2.png;2\n3.png;\n")  # the last one has no class
    with collect_invalid_examples(skip=False) as skipped:
        for name in ("a.parquet", "a.tsv", "a.json", "a.csv"):
            assert found(find(tmp_path, tmp_path / name)) == expected
    assert skipped.counts == {"train": 1}


def test_table_of_labels_in_latin_1_is_noted_without_a_key(tmp_path: Path) -> None:
    write(tmp_path, "1.png", "2.png")
    (tmp_path / "a.csv").write_bytes("file,label\n1.png,größe\n2.png,x\n".encode("latin-1"))
    layout = find(tmp_path, tmp_path / "a.csv")
    assert found(layout) == {"train": [("1.png", "größe"), ("2.png", "x")]}
    assert layout.notes == [f"{tmp_path}/a.csv: not UTF-8, read as cp1252"]


@pytest.mark.parametrize(
    "written", [r"sub\1.png", r".\sub\1.png", r"C:\data\sub\1.png", "/home/other/sub/1.png", " sub/1.png ", "sub/1"]
)
def test_paths_of_another_machine_are_found(tmp_path: Path, written: str) -> None:
    write(tmp_path, "sub/1.png", "1.png")  # the more parts agree, the better
    table = tmp_path / "labels.csv"
    table.write_text(f'file,label\n"{written}",a\n')
    layout = find(tmp_path, table)
    assert [one.path for one in layout.splits["train"]] == [str(tmp_path / "sub/1.png")]
    moved = f"1 paths of another folder in the table: their last parts are in {tmp_path.name}/"
    assert (moved in layout.notes) == written.startswith(("C:", "/"))


def test_column_of_splits_is_used(tmp_path: Path) -> None:
    write(tmp_path, *(f"{number}.png" for number in range(4)))
    table = tmp_path / "labels.csv"
    table.write_text("file,label,split\n0.png,a,Train\n1.png,b,train\n2.png,a,val\n3.png,b,test\n")
    layout = find(tmp_path, table)
    assert found(layout) == {
        "train": [("0.png", "a"), ("1.png", "b")], "validation": [("2.png", "a")], "test": [("3.png", "b")],
    }  # fmt: skip
    assert layout.notes == ["splits by the column `split` of the table (key `split_column`)"]
    table.write_text("file,label,split\n0.png,a,Train\n1.png,b,other\n")
    assert list(find(tmp_path, table).splits) == ["train"]


def test_numbers_of_many_values_are_no_classes(tmp_path: Path) -> None:
    write(tmp_path, *(f"{number}.png" for number in range(12)))
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["file,label", *(f"{number}.png,{number / 4}" for number in range(12))]))
    with pytest.raises(TfloopError, match="the column `label` has 12 different numbers, which are no classes"):
        find(tmp_path, table)
    table.write_text("\n".join(["file,label", *(f"{number}.png,{number % 2 / 2}" for number in range(12))]))
    assert {label for _, label in found(find(tmp_path, table))["train"]} == {"0.0", "0.5"}
    table.write_text("\n".join(["file,label", *(f"{number}.png,{number}.0" for number in range(12))]))
    assert len({label for _, label in found(find(tmp_path, table))["train"]}) == 12  # as pandas writes classes


def test_table_beside_images_without_classes_is_suggested(tmp_path: Path) -> None:
    write(tmp_path, "1.png")
    (tmp_path / "train.csv").write_text("file,label\n")
    assert "if `train.csv` has the classes of the images: `--set dataset.labels=train.csv`" in find(tmp_path).notes


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("a.zip", "unpack it: unzip -q"),
        ("a.csv", "--set dataset.labels=a.csv"),
        ("a.png", "images belong in"),
    ],
)
def test_file_in_place_of_a_folder_is_an_error_with_a_hint(tmp_path: Path, name: str, hint: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(TfloopError, match=r"this is (an archive|a file, not a folder of images)") as caught:
        find(tmp_path / name)
    assert hint in str(caught.value)


def test_missing_column_of_a_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,label\n1.png,cat\n")
    with pytest.raises(TfloopError, match="there is no column `file`"):
        find(tmp_path, tmp_path / "labels.csv")


def find_columns(root: Path, labels: Path | None = None) -> Layout:
    """As with a config that names no columns."""
    return find_images(root, labels, (None, None, "split"), None)


def test_files_of_a_table_are_found_in_several_subfolders(tmp_path: Path) -> None:
    write(tmp_path, *(f"part_{number % 2}/images/00{number}.jpg" for number in range(6)))
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["id,breed", *(f"00{number},{'ab'[number % 3 > 0]}" for number in range(6))]))
    layout = find_columns(tmp_path, table)
    assert [Path(one.path).relative_to(tmp_path).as_posix() for one in layout.splits["train"]] == [
        f"part_{number % 2}/images/00{number}.jpg" for number in range(6)
    ]
    assert layout.notes[0] == (
        "classes by the column `breed` of labels.csv, images by `id` (keys `target`, `file_column`)"
    )
    note = "`labels.csv` names the images, but the folders are their classes; for its classes: `--set dataset.labels="
    assert any(one.startswith(note) for one in find_columns(tmp_path).notes)  # part_0 and part_1 are classes
    write(tmp_path, "part_1/images/000.jpg")  # which of the two?
    with pytest.raises(TfloopError, match="there is no column `file`"):
        find_columns(tmp_path, table)


def test_files_of_a_table_are_training_images_if_names_occur_twice(tmp_path: Path) -> None:
    write(tmp_path, "train/1.jpg", "train/2.jpg", "test/1.jpg", "test/3.jpg")
    (tmp_path / "labels.csv").write_text("id,breed\n1,07\n2,7\n")
    layout = find_columns(tmp_path, tmp_path / "labels.csv")
    assert found(layout) == {"train": [("1", "07"), ("2", "7")]}  # classes as they are written
    assert [Path(one.path).parent.name for one in layout.splits["train"]] == ["train", "train"]


def test_unlabelled_images_in_one_folder_are_no_test_split(tmp_path: Path) -> None:
    write(tmp_path, "train/a/1.png", "train/b/1.png", "test/unknown/1.png", "test/unknown/2.png")
    layout = find(tmp_path)
    assert list(layout.splits) == ["train"]
    assert layout.notes == [
        "there is no test split: the 2 images of `test` are in one folder, `unknown`, "
        "which is no class of the training split"
    ]
    write(tmp_path, "test/other/1.png")
    assert list(find(tmp_path).splits) == ["train", "test"]  # its classes are reported as unknown


def test_pattern_finds_labels_in_paths(tmp_path: Path) -> None:
    write(tmp_path, "cat_1.png", "dog_2.png", "sub/cat_3.png", "4.png")
    layout = find(tmp_path, pattern=r"(?P<label>[a-z]+)_\d+\.png$")
    assert found(layout) == {"train": [("cat_1.png", "cat"), ("dog_2.png", "dog"), ("sub/cat_3.png", "cat")]}
    assert layout.notes[0].startswith("not used: 1 of 4 images")


def test_pattern_is_searched_in_each_split(tmp_path: Path) -> None:
    write(tmp_path, "train/cat_1.png", "test/dog_2.png")
    layout = find(tmp_path, pattern="^(?P<label>[a-z]+)_")
    assert found(layout) == {"train": [("cat_1.png", "cat")], "test": [("dog_2.png", "dog")]}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(", "no regular expression"), ("[a-z]+", "no group `label`"), ("(?P<label>x)", "matches no image; the first")],
)
def test_wrong_pattern_is_an_error(tmp_path: Path, pattern: str, message: str) -> None:
    with pytest.raises(TfloopError, match=message):
        find(write(tmp_path, "cat_1.png"), pattern=pattern)
