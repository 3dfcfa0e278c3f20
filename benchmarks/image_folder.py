"""Trains on 20,000 JPEG files of 96x96 pixels, beside Keras' `image_dataset_from_directory(...).cache(file)`.

    python benchmarks/image_folder.py [--images 20000] [--rounds 3]

Both train the same small CNN for two epochs, each in a process of its own, in turns. The first start decodes the files,
the second one finds them decoded in a cache on disk. Printed are the medians of the seconds of whole processes, their
CPU seconds and their peak memory, and how many times as fast tfloop is (the median of pairs). Exit code 1 if a ratio is
below 1.3, or if tfloop needs more memory.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import psutil

REQUIRED_RATIO = 1.3
CLASSES, SIDE, BATCH, EPOCHS = 10, 96, 32, 2
FILTERS = (8, 16)
SAMPLE_SECONDS = 0.05  # between two looks at the memory of a process and of those it started


@dataclass(frozen=True)
class Cost:
    """What a process needed, with those that it started: wall seconds, CPU seconds, bytes of memory at the peak."""

    seconds: float
    cpu: float
    peak: int


def main() -> int:
    """Prints one line per start; returns 1 if tfloop misses a bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the images are, or are to be made; a temporary one")
    parser.add_argument("--keras", type=Path, nargs=2, help=argparse.SUPPRESS)  # in the process of Keras
    options = parser.parse_args()
    if options.keras:
        train_with_keras(*options.keras)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        images = options.folder or Path(folder) / "images"
        if not images.exists():
            write_images(images, options.images)
        return compare(images, Path(folder), options.rounds)


def compare(images: Path, folder: Path, rounds: int) -> int:
    """Measures both in turns; returns 1 if tfloop misses a bar."""
    costs: dict[tuple[str, str], list[Cost]] = {}
    for number in range(rounds):
        for start in ("first", "second"):
            names = ("tfloop", "keras") if number % 2 == 0 else ("keras", "tfloop")
            for name in names:
                cache = folder / f"{name}{number}"
                cache.mkdir(exist_ok=True)
                command = tfloop_command(images, cache) if name == "tfloop" else keras_command(images, cache)
                costs.setdefault((start, name), []).append(run(command, cache))
    missed = False
    for start in ("first", "second"):
        ours, keras = costs[start, "tfloop"], costs[start, "keras"]
        ratio = median(b.seconds / a.seconds for a, b in zip(ours, keras, strict=True))
        of_cpu = median(b.cpu / a.cpu for a, b in zip(ours, keras, strict=True))
        peaks = [median(one.peak for one in side) for side in (ours, keras)]
        failed = ratio < REQUIRED_RATIO or peaks[0] > peaks[1]
        missed |= failed
        print(
            f"{start:6} start: {shown(ours)} beside {shown(keras)} of Keras: {ratio:.2f} times as fast "
            f"(CPU {of_cpu:.2f}), memory {peaks[0] / peaks[1]:.2f}{'  MISSED' if failed else ''}",
            flush=True,
        )
    return int(missed)


def shown(costs: list[Cost]) -> str:
    """Returns the medians of several runs."""
    seconds, cpu, peak = (median(getattr(one, name) for one in costs) for name in ("seconds", "cpu", "peak"))
    return f"{seconds:.1f} s (CPU {cpu:.1f} s, {peak / 1e9:.2f} GB)"


def write_images(folder: Path, count: int) -> None:
    """Writes FOLDER/CLASS/*.jpg: smooth random shapes on a class's own pattern, with noise, always the same."""
    import tensorflow as tf

    random = np.random.Generator(np.random.Philox(key=0))
    patterns = tf.image.resize(random.uniform(0, 255, (CLASSES, 6, 6, 3)), (SIDE, SIDE), "bicubic").numpy()
    for number in range(count):
        label = number % CLASSES
        shape = tf.image.resize(random.uniform(-60, 60, (12, 12, 3)), (SIDE, SIDE), "bicubic").numpy()
        pixels = patterns[label] + shape + 6 * random.standard_normal((SIDE, SIDE, 3))
        file = folder / f"class_{label}" / f"{number:06}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(tf.io.encode_jpeg(np.clip(pixels, 0, 255).astype(np.uint8), quality=90).numpy())


def tfloop_command(images: Path, cache: Path) -> list[str]:
    """Returns the training of tfloop; its cache follows from the environment of `run`."""
    sets = (
        f"dataset={{name: images, path: {images}}}",
        f"model={{name: conv_net, filters: {list(FILTERS)}, pool_every: 1}}",
        "optimizer={name: adam, learning_rate: 0.001}",
        f"batch_size={BATCH}",
        f"epochs={EPOCHS}",
        "validation=0",
        "test=0",
        f"runs_dir={cache / 'runs'}",
    )
    return [sys.executable, "-m", "tfloop_cli", "train", *(part for one in sets for part in ("--set", one))]


def keras_command(images: Path, cache: Path) -> list[str]:
    """Returns the training of Keras."""
    return [sys.executable, __file__, "--keras", str(images), str(cache / "decoded")]


def train_with_keras(images: Path, cache: Path) -> None:
    """Trains as Keras' documentation does it."""
    import keras
    import tensorflow as tf

    data = keras.utils.image_dataset_from_directory(images, image_size=(SIDE, SIDE), batch_size=BATCH, seed=0)
    layers = [keras.Input((SIDE, SIDE, 3)), keras.layers.Rescaling(1 / 255)]
    for filters in FILTERS:
        layers.append(keras.layers.Conv2D(filters, 3, padding="same", activation="relu"))
        layers.append(keras.layers.MaxPooling2D())
    model = keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(CLASSES)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(0.001), loss=loss, metrics=["accuracy"])
    model.fit(data.cache(str(cache)).prefetch(tf.data.AUTOTUNE), epochs=EPOCHS, verbose=2)


def run(command: list[str], cache: Path) -> Cost:
    """Runs a command, and measures it with the processes that it starts."""
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "TFLOOP_CACHE": str(cache), "TF_CPP_MIN_LOG_LEVEL": "3"}
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        ended, peaks = threading.Event(), [0]
        sampler = threading.Thread(target=sample_memory, args=(process.pid, ended, peaks))
        sampler.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        ended.set()
        sampler.join()
        if process.returncode:
            output.seek(0)
            raise SystemExit(output.read().decode(errors="replace")[-4000:])
    return Cost(seconds, usage.ru_utime + usage.ru_stime, max(usage.ru_maxrss * 1024, *peaks))


def sample_memory(pid: int, ended: threading.Event, peaks: list[int]) -> None:
    """Appends the memory of a process and of those it started, until it has ended."""
    tree = psutil.Process(pid)
    command = tree.cmdline()
    while not ended.wait(SAMPLE_SECONDS):
        with suppress(psutil.Error):  # it has ended, or one of its children has
            # A child that has not begun its own program yet shares all memory with its parent.
            children = [one for one in tree.children(recursive=True) if one.cmdline() != command]
            peaks.append(sum(one.memory_info().rss for one in [tree, *children]))


if __name__ == "__main__":
    sys.exit(main())
