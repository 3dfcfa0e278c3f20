"""Exports a workload for scripts without tfloop: its arrays, its initial weights, and the cost of one example.

    python benchmarks/export_workload.py mnist.yaml [--set KEY=VALUE ...] [--arrays FILE.npz]
    python benchmarks/export_workload.py --images FOLDER --count 8000

Prints a JSON document: the number of parameters, and the multiply-adds of those layers that are matrix products. With
`--images` it writes a folder of JPEG and PNG files instead, for images.yaml.
"""

import argparse
import json
from pathlib import Path

import exported_workload
import keras_workload  # before keras: it sets the backend
import numpy as np

import keras  # isort: skip
import tensorflow as tf  # isort: skip
from tfloop_cli.config.loading import to_mapping  # isort: skip

CLASSES, SIDE = 10, 96  # of synthetic images


def multiply_adds(model: keras.Model) -> int:
    """Returns the multiply-adds of the forward pass of one example, in dense layers, convolutions and attention."""
    total = 0
    for layer in model._flatten_layers(include_self=False, recursive=False):
        if isinstance(layer, keras.layers.Conv2D):
            kernel, (_, height, width, _) = layer.kernel, layer.output.shape
            total += height * width * int(np.prod(kernel.shape))
        elif isinstance(layer, keras.layers.Dense):
            total += int(np.prod(layer.input.shape[1:])) * layer.units
        elif isinstance(layer, keras.layers.MultiHeadAttention):
            _, positions, dimension = layer.output.shape
            total += 4 * positions * dimension * dimension  # the projections to queries, keys, values and outputs
            total += 2 * positions * positions * dimension  # scores, and weighted sums of values
    return total


def write_arrays(workload: keras_workload.Workload, model: keras.Model, path: Path) -> None:
    """Writes the file that `exported_workload.read` reads."""
    arrays = {"config": np.array(json.dumps(to_mapping(workload.config)))}
    for split, source in workload.splits.items():
        if isinstance(source, keras_workload.ImageFiles):
            inputs, targets = keras_workload.decoded_images(source).batch(len(source)).get_single_element()
        else:
            inputs, targets = source.gather(np.arange(len(source)))  # texts are padded with 0
        arrays |= {f"{split}_inputs": inputs.numpy(), f"{split}_targets": targets.numpy()}
    arrays |= {f"weight_{number}": weight.numpy() for number, weight in enumerate(model.weights)}
    np.savez(path, **arrays)


def write_images(folder: Path, count: int) -> None:
    """Writes synthetic images: a smooth pattern per class, with noise; half of them are JPEG, half PNG files.

    Args:
        folder: contains train/CLASS and test/CLASS afterwards.
        count: number of training images; the test split has a tenth of it.
    """
    random = np.random.default_rng(0)
    patterns = tf.image.resize(random.uniform(size=(CLASSES, 6, 6, 3)), (SIDE, SIDE), "bicubic").numpy()
    for split, files in (("train", count), ("test", max(CLASSES, count // 10))):
        for label in range(CLASSES):
            (folder / split / f"class_{label}").mkdir(parents=True, exist_ok=True)
        for number in range(files):
            label = number % CLASSES
            pixels = patterns[label] + random.normal(0, 0.1, (SIDE, SIDE, 3))
            image = tf.constant(np.clip(pixels * 255, 0, 255).astype(np.uint8))
            suffix, encode = (("jpg", tf.io.encode_jpeg), ("png", tf.io.encode_png))[number // CLASSES % 2]
            path = folder / split / f"class_{label}" / f"{number:06}.{suffix}"
            path.write_bytes(encode(image).numpy())


def main() -> None:
    """Writes the requested files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--arrays", type=Path)
    parser.add_argument("--images", type=Path, metavar="FOLDER")
    parser.add_argument("--count", type=int, default=8000, help="number of training images")
    options = parser.parse_args()

    if options.images:
        write_images(options.images, options.count)
        exported_workload.emit("images", folder=str(options.images))
    if options.config:
        workload = keras_workload.open_workload(options.config, options.set, 0)
        model = workload.model()
        if options.arrays:
            write_arrays(workload, model, options.arrays)
        exported_workload.emit("model", parameters=model.count_params(), multiply_adds=multiply_adds(model))


if __name__ == "__main__":
    main()
