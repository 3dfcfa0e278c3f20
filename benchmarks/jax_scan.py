"""A JAX loop on the tutorial's net, whole epochs under `lax.scan`, for comparison. Needs jax, optax and numpy only.

python benchmarks/export_workload.py mnist.yaml --arrays mnist.npz && python benchmarks/jax_scan.py mnist.npz --epochs 3
"""

import exported_workload
import jax
import jax.numpy as jnp
import optax

Weights = tuple[jax.Array, ...]  # filters, their bias, the dense layer, its bias


def logits_of(weights: Weights, pictures: jax.Array) -> jax.Array:
    """uint8 [batch, height, width, channels] -> float32 [batch, classes]."""
    kernel, bias, dense, dense_bias = weights
    x = pictures.astype(jnp.float32) / 255
    x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    x = jax.nn.relu(x + bias).reshape(x.shape[0], -1)
    return x @ dense + dense_bias


def loss_of(weights: Weights, pictures: jax.Array, answers: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean cross entropy, and the logits."""
    logits = logits_of(weights, pictures)
    return optax.softmax_cross_entropy_with_integer_labels(logits, answers).mean(), logits


def main() -> None:
    """Trains and tests."""
    options = exported_workload.options(__doc__)
    work = exported_workload.read(options.data)
    images, labels = (jnp.asarray(work.arrays[f"train_{what}"]) for what in ("inputs", "targets"))
    labels, size = labels.astype(jnp.int32), work.config["batch_size"]
    wanted = work.config["optimizer"]
    optimizer = optax.adam(wanted["learning_rate"], eps=wanted["epsilon"])

    def step(carry: tuple, index: jax.Array) -> tuple[tuple, jax.Array]:
        weights, state = carry
        (_, logits), gradients = jax.value_and_grad(loss_of, has_aux=True)(weights, images[index], labels[index])
        updates, state = optimizer.update(gradients, state)
        return (optax.apply_updates(weights, updates), state), (logits.argmax(1) == labels[index]).sum()

    @jax.jit
    def epoch(carry: tuple, key: jax.Array) -> tuple[tuple, jax.Array]:
        order = jax.random.permutation(key, len(images))
        whole = len(images) // size * size
        carry, hits = jax.lax.scan(step, carry, order[:whole].reshape(-1, size))
        if whole < len(images):
            carry, rest = step(carry, order[whole:])
            return carry, hits.sum() + rest
        return carry, hits.sum()

    weights = tuple(map(jnp.asarray, work.weights))
    carry, epochs = (weights, optimizer.init(weights)), exported_workload.Epochs(len(images))
    for key in jax.random.split(jax.random.key(options.seed), options.epochs):
        carry, hits = epoch(carry, key)
        hits.block_until_ready()
        epochs.done()
    answers = jnp.asarray(work.arrays["test_targets"]).astype(jnp.int32)
    loss, logits = loss_of(carry[0], jnp.asarray(work.arrays["test_inputs"]), answers)
    accuracy = (logits.argmax(1) == answers).mean()
    exported_workload.tell("evaluation", split="test", metrics={"loss": float(loss), "accuracy": float(accuracy)})


if __name__ == "__main__":
    main()
