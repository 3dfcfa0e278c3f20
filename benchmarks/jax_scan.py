"""Trains a small CNN (the model of mnist.yaml) in JAX, with `lax.scan` over whole epochs. Requires only jax and optax.

python benchmarks/export_workload.py mnist.yaml --arrays mnist.npz && python benchmarks/jax_scan.py mnist.npz --epochs 3
"""

import exported_workload
import jax
import jax.numpy as jnp
import optax

Weights = tuple[jax.Array, ...]  # filters and bias of the convolution, kernel and bias of the dense layer


def forward(weights: Weights, images: jax.Array) -> jax.Array:
    """Returns logits: uint8 [batch, height, width, channels] -> float32 [batch, classes]."""
    filters, bias, kernel, dense_bias = weights
    x = images.astype(jnp.float32) / 255
    x = jax.lax.conv_general_dilated(x, filters, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    x = jax.nn.relu(x + bias).reshape(x.shape[0], -1)
    return x @ kernel + dense_bias


def loss_and_logits(weights: Weights, images: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the mean cross entropy, and the logits."""
    logits = forward(weights, images)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), logits


def main() -> None:
    """Trains, and evaluates the test split."""
    options = exported_workload.parse_arguments(__doc__)
    work = exported_workload.read(options.data)
    images, labels = (jnp.asarray(work.arrays[f"train_{part}"]) for part in ("inputs", "targets"))
    labels, size = labels.astype(jnp.int32), work.config["batch_size"]
    arguments = work.config["optimizer"]
    optimizer = optax.adam(arguments["learning_rate"], eps=arguments["epsilon"])
    gradient_fn = jax.value_and_grad(loss_and_logits, has_aux=True)

    def step(carry: tuple, indices: jax.Array) -> tuple[tuple, jax.Array]:
        weights, state = carry
        (_, logits), gradients = gradient_fn(weights, images[indices], labels[indices])
        updates, state = optimizer.update(gradients, state)
        return (optax.apply_updates(weights, updates), state), (logits.argmax(1) == labels[indices]).sum()

    @jax.jit
    def epoch(carry: tuple, key: jax.Array) -> tuple[tuple, jax.Array]:
        order = jax.random.permutation(key, len(images))
        full = len(images) // size * size  # examples in batches of full size
        carry, correct = jax.lax.scan(step, carry, order[:full].reshape(-1, size))
        if full < len(images):
            carry, last = step(carry, order[full:])
            return carry, correct.sum() + last
        return carry, correct.sum()

    weights = tuple(map(jnp.asarray, work.weights))
    carry, timer = (weights, optimizer.init(weights)), exported_workload.EpochTimer(len(images))
    for key in jax.random.split(jax.random.key(options.seed), options.epochs):
        carry, correct = epoch(carry, key)
        correct.block_until_ready()
        timer.stop()
    test_labels = jnp.asarray(work.arrays["test_targets"]).astype(jnp.int32)
    loss, logits = loss_and_logits(carry[0], jnp.asarray(work.arrays["test_inputs"]), test_labels)
    accuracy = (logits.argmax(1) == test_labels).mean()
    exported_workload.emit("evaluation", split="test", metrics={"loss": float(loss), "accuracy": float(accuracy)})


if __name__ == "__main__":
    main()
