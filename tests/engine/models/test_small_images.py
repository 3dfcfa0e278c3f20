"""Batch normalization is ready for validation after few steps. `benchmarks/small_images.py` is the long form."""

import keras
import pytest

from benchmarks.small_images import REQUIRED_ACCURACY, made_images
from tfloop_cli.engine.data import DataSpec, from_arrays
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import Component, models

CONV_NET = {"name": "conv_net", "filters": [8, 16], "pool_every": 1, "batch_norm": True}
RESNET = {"name": "resnet", "depth": 8, "width": 8}


@pytest.mark.parametrize("model", [CONV_NET, RESNET], ids=lambda model: model["name"])
def test_small_set_of_images_is_learned(trainer, model: dict) -> None:
    """With Keras' momentum of 0.99, both stay below 0.3."""
    optimizer = {"name": "adam", "learning_rate": 0.003}
    dataset = from_arrays({"train": made_images(600, 16)})
    run = trainer(dataset, model=model, optimizer=optimizer, epochs=3, batch_size=32, validation=120)
    assert max(epoch.validation["accuracy"] for epoch in run.fit()) >= REQUIRED_ACCURACY


def momentums(name: str, **arguments: float) -> set[float]:
    """Returns the momentum of each batch normalization in a model for images; none if it has other inputs."""
    if any(one.name == "batch_norm" for one in models.declaration(name).parameters):
        arguments["batch_norm"] = True
    try:
        built = models.build(Component(name, arguments), DataSpec((8, 8, 3), "uint8", (), ("a", "b")))
    except TfloopError:
        return set()
    layers = [layer for model in (built.values() if isinstance(built, dict) else [built]) for layer in model.layers]
    return {layer.momentum for layer in layers if isinstance(layer, keras.layers.BatchNormalization)}


def test_momentum_of_batch_norm_is_an_argument_of_every_model_that_has_one() -> None:
    found = {name: momentum for name in models.names() if (momentum := momentums(name))}
    assert found == {"conv_net": {0.9}, "dcgan": {0.9}, "image_classifier": {0.9}, "resnet": {0.9}}
    for name in found:
        assert momentums(name, batch_norm_momentum=0.75) == {0.75}
