"""Trains every built-in image classifier on a small set of images: each must reach a validation accuracy of 0.5.

python benchmarks/small_images.py [--epochs 10] [CONFIG ...]

The set has 1,500 images of 32x32 pixels in 10 classes, so that chance is 0.1, and a fifth of them is held out for
validation. Moving statistics of batch normalization that need hundreds of steps leave validation at chance.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

CONFIGS = ("images.yaml", "resnet.yaml", "mnist.yaml", "mnist_best.yaml", "vit.yaml")
EXAMPLES, SIDE, CLASSES = 1500, 32, 10
REQUIRED_ACCURACY = 0.5


def made_images(examples: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns gray images with one faint pattern of colored squares per class, below noise.

    Args:
        examples: number of images; each class has the same number.
        side: height and width in pixels, a multiple of 4.

    Returns:
        Pixels, uint8 [examples, side, side, 3], and labels, int32 [examples].
    """
    random = np.random.Generator(np.random.Philox(key=0))
    squares = random.standard_normal((CLASSES, side // 4, side // 4, 3))
    patterns = squares.repeat(4, axis=1).repeat(4, axis=2)
    labels = np.arange(examples, dtype=np.int32) % CLASSES
    pixels = 128 + 20 * patterns[labels] + 30 * random.standard_normal((examples, side, side, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8), labels


def write_images(folder: Path) -> None:
    """Writes the set as FOLDER/train/CLASS/*.png."""
    import tensorflow as tf

    for number, (pixels, label) in enumerate(zip(*made_images(EXAMPLES, SIDE), strict=True)):
        file = folder / "train" / f"class_{label}" / f"{number:04d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(tf.io.encode_png(pixels).numpy())


def validation_accuracies(config: str, images: Path, epochs: int) -> list[float]:
    """Trains a built-in config on the images, with its own settings; returns the accuracy after each epoch."""
    command = [sys.executable, "-m", "tfloop_cli", "train", config, "--json", "--quiet", "--epochs", str(epochs)]
    for change in (
        f"dataset={{name: images, path: {images}}}",
        "test=0",
        "validation=0.2",
        f"runs_dir={images.parent / 'runs'}",
    ):
        command += ["--set", change]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    documents = [json.loads(line) for line in output.splitlines()]
    return [one["validation"]["accuracy"] for one in documents if one["event"] == "epoch"]


def main() -> int:
    """Prints one row per config; returns 1 if one stays below the required accuracy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="*", default=CONFIGS, metavar="CONFIG")
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()

    failed = False
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        write_images(images)
        print(f"{'config':16} {'best':>5}  validation accuracy after each epoch; chance is {1 / CLASSES}")
        for config in options.configs:
            accuracies = validation_accuracies(config, images, options.epochs)
            row = " ".join(f"{accuracy:.2f}" for accuracy in accuracies)
            enough = max(accuracies) >= REQUIRED_ACCURACY
            failed |= not enough
            print(f"{config:16} {max(accuracies):5.2f}  {row}{'' if enough else '  too low'}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
