"""A JAX loop on the tutorial's net, whole epochs under `lax.scan`, for comparison. Needs jax, optax and numpy only.

python benchmarks/jax_scan.py --epochs 3
"""

import argparse
import gzip
import json
import time
from pathlib import Path

STARTED = time.perf_counter()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402

DATA = Path(__file__).parent.parent / "tfloop_cli" / "assets" / "mnist"


def read(name: str, header: int) -> np.ndarray:
    """The bytes of a shipped MNIST file behind its header, uint8."""
    return np.frombuffer(gzip.decompress((DATA / f"{name}.gz").read_bytes()), np.uint8, offset=header)


def logits_of(weights: dict[str, jax.Array], pictures: jax.Array) -> jax.Array:
    """uint8 [batch, 28, 28, 1] -> float32 [batch, 10]."""
    x = pictures.astype(jnp.float32) / 255
    x = jax.lax.conv_general_dilated(x, weights["kernel"], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    x = jax.nn.relu(x + weights["bias"]).reshape(x.shape[0], -1)
    return x @ weights["dense"] + weights["dense_bias"]


def main() -> None:
    """Trains, tests, and prints what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=128)
    options = parser.parse_args()

    images, labels = read("train-images-idx3-ubyte", 16).reshape(-1, 28, 28, 1), read("train-labels-idx1-ubyte", 8)
    images, labels = jnp.asarray(images), jnp.asarray(labels.astype(np.int32))
    glorot = jax.nn.initializers.glorot_uniform()
    keys = jax.random.split(jax.random.key(options.seed), 3)
    weights = {
        "kernel": glorot(keys[0], (3, 3, 1, 32)),
        "bias": jnp.zeros(32),
        "dense": glorot(keys[1], (26 * 26 * 32, 10)),
        "dense_bias": jnp.zeros(10),
    }
    optimizer = optax.adam(0.001, eps=1e-7)

    def loss_of(weights: dict[str, jax.Array], pictures: jax.Array, answers: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits = logits_of(weights, pictures)
        return optax.softmax_cross_entropy_with_integer_labels(logits, answers).mean(), logits

    def step(carry: tuple, index: jax.Array) -> tuple[tuple, jax.Array]:
        weights, state = carry
        (_, logits), gradients = jax.value_and_grad(loss_of, has_aux=True)(weights, images[index], labels[index])
        updates, state = optimizer.update(gradients, state)
        return (optax.apply_updates(weights, updates), state), (logits.argmax(1) == labels[index]).sum()

    @jax.jit
    def epoch(carry: tuple, key: jax.Array) -> tuple[tuple, jax.Array]:
        order = jax.random.permutation(key, len(images))
        whole = len(images) // options.batch_size * options.batch_size
        carry, hits = jax.lax.scan(step, carry, order[:whole].reshape(-1, options.batch_size))
        if whole < len(images):
            carry, rest = step(carry, order[whole:])
            return carry, hits.sum() + rest
        return carry, hits.sum()

    carry, seconds = (weights, optimizer.init(weights)), []
    for key in jax.random.split(keys[2], options.epochs):
        started = time.perf_counter()
        carry, hits = epoch(carry, key)
        hits.block_until_ready()
        seconds.append(time.perf_counter() - started)
    pictures = jnp.asarray(read("t10k-images-idx3-ubyte", 16).reshape(-1, 28, 28, 1))
    answers = jnp.asarray(read("t10k-labels-idx1-ubyte", 8).astype(np.int32))
    accuracy = float((logits_of(carry[0], pictures).argmax(1) == answers).mean())
    print(json.dumps({"epoch_seconds": seconds, "accuracy": accuracy, "seconds": time.perf_counter() - STARTED}))


if __name__ == "__main__":
    main()
