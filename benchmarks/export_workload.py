"""What a workload is, for those who cannot ask tfloop: its arrays, its first weights, and what one example costs.

    python benchmarks/export_workload.py mnist.yaml [--set KEY=VALUE ...] [--arrays FILE.npz]
    python benchmarks/export_workload.py --pictures FOLDER --count 8000

Prints a JSON document: parameters, and multiply-adds of the layers that are matrix products. With `--pictures` it makes
a folder of JPEG and PNG files instead, for images.yaml.
"""

import argparse
import json
from pathlib import Path

import exported_workload
import keras_workload  # first: it says what Keras runs on
import numpy as np

import keras  # isort: skip
import tensorflow as tf  # isort: skip
from tfloop_cli.config.loading import to_mapping  # isort: skip

CLASSES, SIDE = 10, 96  # of made-up pictures


def multiply_adds(model: keras.Model) -> int:
    """Of the dense layers, convolutions and attentions for one example, forwards; all else counts nothing."""
    total = 0
    for layer in model._flatten_layers(include_self=False, recursive=False):
        if isinstance(layer, keras.layers.Conv2D):
            kernel, (_, height, width, _) = layer.kernel, layer.output.shape
            total += height * width * int(np.prod(kernel.shape))
        elif isinstance(layer, keras.layers.Dense):
            total += int(np.prod(layer.input.shape[1:])) * layer.units
        elif isinstance(layer, keras.layers.MultiHeadAttention):
            _, places, width = layer.output.shape
            total += 4 * places * width * width  # queries, keys, values, and what joins the heads
            total += 2 * places * places * width  # scores, and their use
    return total


def write_arrays(workload: keras_workload.Workload, model: keras.Model, path: Path) -> None:
    """All that `exported_workload.read` reads."""
    arrays = {"config": np.array(json.dumps(to_mapping(workload.config)))}
    for split, source in workload.splits.items():
        if isinstance(source, keras_workload.Pictures):
            inputs, targets = keras_workload.decoded(source).batch(len(source)).get_single_element()
        else:
            inputs, targets = source.gather(np.arange(len(source)))  # texts are filled up with 0
        arrays |= {f"{split}_inputs": inputs.numpy(), f"{split}_targets": targets.numpy()}
    arrays |= {f"weight_{number}": weight.numpy() for number, weight in enumerate(model.weights)}
    np.savez(path, **arrays)


def write_pictures(folder: Path, count: int) -> None:
    """Soft patterns under noise, one pattern a class; half of them JPEG, half PNG. A tenth as many for the test."""
    random = np.random.default_rng(0)
    patterns = tf.image.resize(random.uniform(size=(CLASSES, 6, 6, 3)), (SIDE, SIDE), "bicubic").numpy()
    for split, files in (("train", count), ("test", max(CLASSES, count // 10))):
        for label in range(CLASSES):
            (folder / split / f"class_{label}").mkdir(parents=True, exist_ok=True)
        for number in range(files):
            label = number % CLASSES
            pixels = patterns[label] + random.normal(0, 0.1, (SIDE, SIDE, 3))
            picture = tf.constant(np.clip(pixels * 255, 0, 255).astype(np.uint8))
            ending, encode = (("jpg", tf.io.encode_jpeg), ("png", tf.io.encode_png))[number // CLASSES % 2]
            path = folder / split / f"class_{label}" / f"{number:06}.{ending}"
            path.write_bytes(encode(picture).numpy())


def main() -> None:
    """Writes what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--arrays", type=Path)
    parser.add_argument("--pictures", type=Path, metavar="FOLDER")
    parser.add_argument("--count", type=int, default=8000, help="pictures to train on")
    options = parser.parse_args()

    if options.pictures:
        write_pictures(options.pictures, options.count)
        exported_workload.tell("pictures", folder=str(options.pictures))
    if options.config:
        workload = keras_workload.open_workload(options.config, options.set, 0)
        model = workload.model()
        if options.arrays:
            write_arrays(workload, model, options.arrays)
        exported_workload.tell("model", parameters=model.count_params(), multiply_adds=multiply_adds(model))


if __name__ == "__main__":
    main()
