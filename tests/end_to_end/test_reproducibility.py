"""The promise: the same config gives the same bits, whatever the pace, and another seed gives others."""

import json
from pathlib import Path

RANDOM = {
    "model": {"name": "conv_net", "filters": [4], "batch_norm": True, "hidden": [8], "dropout": 0.3},
    "augment": ["flip", {"name": "affine", "degrees": 20.0}],
    "validation": 10,
    "epochs": 2,
}


def test_two_processes_end_with_equal_bits(finished, rerun) -> None:
    """The second one trained from the config that the first one left in its run folder."""
    first, second = (json.loads((Path(run.folder) / "summary.json").read_text()) for run in (finished, rerun))
    assert first["run"] != second["run"]
    assert first["weights_sha256"] == second["weights_sha256"]
    assert len(first["weights_sha256"]) == 64
    for part in ("final", "best", "evaluations"):
        assert first[part] == second[part]


def test_this_process_ends_with_the_same_bits(finished, trainer) -> None:
    """Dropout and augmentation are in that config, and a model was built before this one."""
    from tfloop_cli.config.loading import load, to_mapping

    config = to_mapping(load([str(Path(finished.folder) / "config.yaml")]).config)
    assert config["model"]["dropout"] > 0
    assert config["augment"]
    trainer(**RANDOM)
    run = trainer(**config)
    run.fit()
    summary = json.loads((Path(finished.folder) / "summary.json").read_text())
    assert run.state.weights_sha256() == summary["weights_sha256"]


def test_the_pace_changes_no_bit_and_the_seed_does(trainer) -> None:
    """Not in the weights, nor in any other variable, nor in a number that the table shows."""
    ends, tables = [], []
    for seed, pace in ((0, 1), (0, 7), (0, "auto"), (1, "auto")):
        run = trainer(**RANDOM, seed=seed, steps_per_execution=pace)
        tables.append([(epoch.train, epoch.validation, epoch.best) for epoch in run.fit()])
        ends.append((run.state.weights_sha256(), {name: value.tobytes() for name, value in run.everything().items()}))
    assert ends[0] == ends[1] == ends[2]
    assert tables[0] == tables[1] == tables[2]
    assert ends[2][0] != ends[3][0]


def test_what_adds_up_many_tensors_is_summed_in_one_order(trainer) -> None:
    """TensorFlow may make one operation of several sums, which adds in the order in which its terms are ready."""
    import keras
    import tensorflow as tf

    class Branches(keras.layers.Layer):
        def build(self, shape) -> None:
            self.kernels = [self.add_weight(shape=(shape[-1], shape[-1]), name=f"kernel{n}") for n in range(5)]

        def call(self, inputs):
            a, b, c, d, e = (tf.tanh(inputs @ kernel) for kernel in self.kernels)
            return (a + b) + (c + d) + e

    ends = set()
    for _ in range(4):
        keras.utils.set_random_seed(0)  # before the weights are drawn, as tfloop does
        layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), Branches(), keras.layers.Dense(3)]
        run = trainer(net=keras.Sequential(layers), epochs=1)
        run.fit()
        ends.add(run.state.weights_sha256())
    assert len(ends) == 1
    assert tf.config.optimizer.get_experimental_options()["arithmetic_optimization"] is False
