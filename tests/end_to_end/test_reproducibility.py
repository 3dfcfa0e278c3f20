"""Guarantee: one config gives bitwise equal weights in every process, for any steps_per_execution."""

RANDOM_CONFIG = {
    "model": {"name": "conv_net", "filters": [4], "batch_norm": True, "hidden": [8], "dropout": 0.3},
    "augment": ["flip", {"name": "affine", "degrees": 20.0}],
    "validation": 10,
    "epochs": 2,
}


def test_two_processes_end_with_equal_weights(finished, rerun) -> None:
    """The second process trains from the config in the run folder of the first."""
    first, second = (run.read("summary.json") for run in (finished, rerun))
    assert first["run"] != second["run"]
    assert first["weights_sha256"] == second["weights_sha256"]
    assert len(first["weights_sha256"]) == 64
    for part in ("final", "best", "evaluations"):
        assert first[part] == second[part]


def test_this_process_ends_with_the_weights_of_another(finished, trainer) -> None:
    """The config has dropout and augmentation, and this process has built another model before."""
    from tfloop_cli.config.loading import load, to_mapping

    config = to_mapping(load([str(finished.folder / "config.yaml")]).config)
    assert config["model"]["dropout"] > 0
    assert config["augment"]
    trainer(**RANDOM_CONFIG)
    run = trainer(**config)
    run.fit()
    assert run.state.weights_sha256() == finished.read("summary.json")["weights_sha256"]


def test_steps_per_execution_does_not_change_the_result_and_the_seed_does(trainer) -> None:
    """Compares weights, all other variables and all metrics of each epoch."""
    states, metrics = [], []
    for seed, steps_per_execution in ((0, 1), (0, 7), (0, "auto"), (1, "auto")):
        run = trainer(**RANDOM_CONFIG, seed=seed, steps_per_execution=steps_per_execution)
        metrics.append([(epoch.train, epoch.validation, epoch.best) for epoch in run.fit()])
        states.append((run.state.weights_sha256(), {name: value.tobytes() for name, value in run.everything().items()}))
    assert states[0] == states[1] == states[2]
    assert metrics[0] == metrics[1] == metrics[2]
    assert states[2][0] != states[3][0]


def test_sums_of_several_tensors_have_a_fixed_order(trainer) -> None:
    """TensorFlow's arithmetic optimizer may replace several sums by one that adds terms as they become available."""
    import keras
    import tensorflow as tf

    class Branches(keras.layers.Layer):
        def build(self, shape) -> None:
            self.kernels = [self.add_weight(shape=(shape[-1], shape[-1]), name=f"kernel{n}") for n in range(5)]

        def call(self, inputs):
            a, b, c, d, e = (tf.tanh(inputs @ kernel) for kernel in self.kernels)
            return (a + b) + (c + d) + e

    checksums = set()
    for _ in range(4):
        keras.utils.set_random_seed(0)  # before the weights are initialized, as tfloop does
        layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), Branches(), keras.layers.Dense(3)]
        run = trainer(net=keras.Sequential(layers), epochs=1)
        run.fit()
        checksums.add(run.state.weights_sha256())
    assert len(checksums) == 1
    assert tf.config.optimizer.get_experimental_options()["arithmetic_optimization"] is False
