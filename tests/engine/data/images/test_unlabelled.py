"""Images that are in no folders of classes: tables, names of files, annotations; and images in .parquet files."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from tfloop_cli.engine.data.build_context import BuildContext, use_context
from tfloop_cli.engine.data.images.contents import open_image
from tfloop_cli.engine.data.images.layout import Columns, Layout, find_images
from tfloop_cli.engine.data.images.name_patterns import pattern_of
from tfloop_cli.engine.data.images.packed import paths_in
from tfloop_cli.engine.data.invalid_examples import collect_invalid_examples
from tfloop_cli.errors import ExitCode, TfloopError

PNG = b"\x89PNG\r\n\x1a\n"
AUTO: Columns = (None, None, "split")


def write(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(PNG)
    return root


def labels(layout: Layout, split: str = "train") -> dict[str, str]:
    return {Path(one.path).name: one.label for one in layout.splits[split]}


def refused(root: Path, columns: Columns = AUTO) -> str:
    with pytest.raises(TfloopError) as caught:
        find_images(root, None, columns, None)
    assert caught.value.code == ExitCode.DATA
    return str(caught.value)


@pytest.mark.parametrize(
    ("images", "table", "text"),
    [
        ("{}.png", "labels.csv", "id,label\n1,cat\n2,dog\n"),
        ("images/{}.png", "labels.csv", "id,breed\n1,cat\n2,dog\n"),
        ("train/{}.png", "train_labels.csv", ",file_name,class\n0,1.png,cat\n1,2.png,dog\n"),
        ("train/{}.png", "train/metadata.csv", "file_name,label\n1.png,cat\n2.png,dog\n"),
        ("train_images/{}.png", "train.tsv", "image_id\tdiagnosis\n1.png\tcat\n2.png\tdog\n"),
        ("data/images/{}.png", "data/list.csv", "file,target\nimages/1.png,cat\nimages/2.png,dog\n"),
    ],
)
def test_table_beside_images_has_their_classes(tmp_path: Path, images: str, table: str, text: str) -> None:
    write(tmp_path, images.format(1), images.format(2))
    (tmp_path / table).write_text(text)
    layout = find_images(tmp_path, None, AUTO, None)
    assert labels(layout) == {"1.png": "cat", "2.png": "dog"}
    columns = text.split("\n")[0].replace("\t", ",").split(",")[-2:]
    note = f"train: classes by the column `{columns[1]}` of {Path(table).name}, images by `{columns[0]}` (keys "
    assert any(one.startswith(note) for one in layout.notes)


def test_folder_that_is_a_class_of_the_run_is_one_whatever_its_name(tmp_path: Path) -> None:
    write(tmp_path, "photos/1.png", "photos/2.png")
    assert "`photos`, which is no class" in refused(tmp_path)
    with use_context(BuildContext(data=tmp_path, encoders={"class_names": ["drawings", "photos"]})):
        assert labels(find_images(tmp_path, None, AUTO, None), "data") == {"1.png": "photos", "2.png": "photos"}


def test_other_images_of_one_class_in_their_names(tmp_path: Path) -> None:
    write(tmp_path, "cat.1.jpg", "cat.2.jpg")
    with use_context(BuildContext(data=tmp_path, encoders={"class_names": ["cat", "dog"]})):
        assert set(labels(find_images(tmp_path, None, AUTO, None), "data").values()) == {"cat"}


def test_test_images_without_classes_are_no_split(tmp_path: Path) -> None:
    write(tmp_path, "train/1.png", "train/2.png", "test/3.png")
    (tmp_path / "train.csv").write_text("id,label\n1,cat\n2,dog\n")
    (tmp_path / "test.csv").write_text("id\n3\n")
    layout = find_images(tmp_path, None, AUTO, None)
    assert list(layout.splits) == ["train"]
    assert "there is no test split: `test` has no folders of classes" in layout.notes


def test_each_split_may_have_a_table(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write(tmp_path, f"{split}/1.png", f"{split}/2.png")
        (tmp_path / split / "metadata.csv").write_text("file_name,label\n1.png,cat\n2.png,dog\n")
    layout = find_images(tmp_path, None, AUTO, None)
    assert labels(layout, "test") == labels(layout) == {"1.png": "cat", "2.png": "dog"}


def test_table_of_several_columns_needs_the_one_of_classes(tmp_path: Path) -> None:
    write(tmp_path, "images/1.png", "images/2.png")
    (tmp_path / "list.csv").write_text("id,age,sex\n1,5,m\n2,6,f\n")
    problem = "which column has the classes of the images?\n  `--target COLUMN`, one of `age`, `sex`"
    assert problem in refused(tmp_path)
    layout = find_images(tmp_path, None, (None, "sex", "split"), None)
    assert labels(layout) == {"1.png": "m", "2.png": "f"}
    layout = find_images(tmp_path, tmp_path / "list.csv", (None, "sex", "split"), None)
    assert labels(layout) == {"1.png": "m", "2.png": "f"}


@pytest.mark.parametrize(
    ("names", "first"),
    [
        (["cat.0.jpg", "cat.1.jpg", "dog.0.jpg", "dog.1.jpg"], "cat"),
        (["images/great_dane_1.jpg", "images/great_dane_2.jpg", "images/Pug_1.jpg", "images/Pug_12.jpg"], "great_dane"),
        (["rain1.jpg", "rain2.jpg", "shine (1).jpg", "shine (2).jpg"], "rain"),
        (["001-café.png", "002-café.png", "003-bar.png", "004-bar.png"], "café"),
    ],
)  # fmt: skip
def test_names_of_files_have_classes(tmp_path: Path, names: list[str], first: str) -> None:
    layout = find_images(write(tmp_path, *names), None, AUTO, None)
    assert labels(layout)[Path(names[0]).name] == first
    assert len(set(labels(layout).values())) == 2
    (note,) = (note for note in layout.notes if "label_pattern" in note)
    one = layout.splits["train"][0]
    assert note == f"classes by the names of the files: {one.name} is `{one.label}` (key `label_pattern`)"


@pytest.mark.parametrize(
    "names",
    [
        ["IMG_1.jpg", "IMG_2.jpg", "DSC_1.jpg", "DSC_2.jpg"],
        ["1.jpg", "2.jpg"],
        ["cat.1.jpg", "cat.2.jpg"],
        ["cat.1.jpg", "cat.2.jpg", "dog.1.jpg"],
        ["cat.1.jpg", "cat.2.jpg", "dog.1.jpg", "dog.2.jpg", "x.jpg"],
    ],
)
def test_names_that_are_no_classes(tmp_path: Path, names: list[str]) -> None:
    assert pattern_of(names) is None
    write(tmp_path, *(f"images/{name}" for name in names))
    assert "all images are in `images`, which is no class\n  sort them into CLASS/" in refused(tmp_path)
    with use_context(BuildContext(classes=False)):  # a GAN
        assert set(labels(find_images(tmp_path, None, AUTO, None)).values()) == {"images"}


@pytest.mark.parametrize(
    ("names", "annotations", "what"),
    [
        (["train2017/1.png"], {"annotations/instances_train2017.json": '{"images": [], "annotations": []}'}, "(COCO)"),
        (["train/1.png", "valid/2.png"], {"train/_annotations.coco.json": "{}"}, "(COCO)"),
        (["images/train/1.png", "images/val/2.png"], {"labels/train/1.txt": "0 0.5 0.5 0.1 0.1\n"}, "(YOLO)"),
        (["JPEGImages/1.png"], {"Annotations/1.xml": "<annotation><object/></annotation>"}, "(Pascal VOC)"),
        (["images/1.png", "masks/1.png"], {}, "masks of segmentation"),
    ],
)
def test_boxes_and_masks_are_refused(tmp_path: Path, names: list[str], annotations: dict[str, str], what: str) -> None:
    write(tmp_path, *names)
    for name, text in annotations.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    message = refused(tmp_path)
    assert "the images have " in message
    assert f"{what}, and no classes\n  images are classified as a whole: sort them into CLASS/" in message


def images(count: int) -> list[dict[str, object]]:
    return [{"bytes": PNG + bytes([number]), "path": f"{number}.png"} for number in range(count)]


def test_images_in_parquet_files_are_read(tmp_path: Path) -> None:
    features = {"info": {"features": {"label": {"names": ["cat", "dog"]}}}}
    table = pa.table({"image": images(5), "label": [0, 1, 1, 0, None]})
    table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    (tmp_path / "data").mkdir()
    parquet.write_table(table, tmp_path / "data/train-00000-of-00001.parquet", row_group_size=2)
    parquet.write_table(table.slice(0, 2), tmp_path / "data/test-00000-of-00001.parquet")
    with collect_invalid_examples(True) as found:
        layout = find_images(tmp_path, None, AUTO, None)
    assert [one.label for one in layout.splits["train"]] == ["cat", "dog", "dog", "cat"]
    assert [one.label for one in layout.splits["test"]] == ["cat", "dog"]
    assert found.counts == {"train": 1}
    assert [open_image(one.path).read()[-1] for one in layout.splits["train"]] == [0, 1, 2, 3]
    assert layout.notes == ["images in the column `image`, classes in `label` (keys `file_column`, `target`)"]
    assert paths_in(tmp_path / "data/test-00000-of-00001.parquet") == [one.path for one in layout.splits["test"]]
    one = tmp_path / "cat::image::0"  # of another dataset in the same process
    one.write_bytes(PNG + b"9")
    with open_image(str(one)) as file:
        assert file.read() == PNG + b"9"
    with collect_invalid_examples(True), use_context(BuildContext(data=tmp_path)):
        assert len(find_images(tmp_path, None, AUTO, None).splits["data"]) == 6


def test_parquet_file_of_bytes_and_several_columns(tmp_path: Path) -> None:
    table = pa.table({"age": ["5", "6"], "png": [PNG, None], "sex": ["m", "f"]})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert "which column has the classes of the images?" in refused(tmp_path / "a.parquet")
    layout = find_images(tmp_path / "a.parquet", None, (None, "sex", "split"), None)
    assert [one.label for one in layout.splits["train"]] == ["m", "f"]
    with pytest.raises(OSError, match="the row has no image"):
        open_image(layout.splits["train"][1].path)
