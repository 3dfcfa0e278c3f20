"""An ensemble of small networks for tables, with a linear model beside each."""

import keras
from keras import ops

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.models.member_layers import (
    CombineMembers,
    MemberCosines,
    MemberDense,
    MemberEmbedding,
    MemberScale,
)
from tfloop_cli.engine.models.table_inputs import codes_of, split_columns
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import models
from tfloop_cli.registry.argument_types import FractionBelowOne, PositiveInt

EMBEDDED_NUMBER = 4  # dimension of the embedding of a number
EMBEDDED_ID = 8  # dimension of the embedding of a category with many levels
MAX_EMBEDDED = 128  # numbers: with more, the cosines would take most of the time
LINEAR_RATE = 1.25
LAST_DEVIATION = 0.01  # of the last layer's initial kernel: the first predictions are close to 0

Blocks = list[keras.KerasTensor]


@models.register("tabular_ensemble")
def tabular_ensemble(
    spec: DataSpec,
    *,
    members: PositiveInt = 8,
    hidden: list[PositiveInt] = [128, 128],
    dropout: FractionBelowOne = 0.15,
) -> keras.Model:
    """Strong on tables of any size: small networks with weights of their own, and as many linear models.

    Each member is trained by its own loss, and without one fold of the training examples; see `validation`. A learned
    share decides how much the linear models count. Numbers that are codes, such as those of persons, have embeddings
    too. Sources: RealMLP (Holzmueller et al. 2024, arXiv:2407.04491) for the learned scale of each feature and the
    optimizer's settings, periodic embeddings of numbers (Gorishniy et al. 2022, arXiv:2203.05556), ensembles in one
    graph (TabM, Gorishniy et al. 2024, arXiv:2410.24210).

    Args:
        spec: shape of the data: a table, or vectors of numbers.
        members: the number of networks, and of linear models.
        hidden: units of each hidden layer.
        dropout: dropout rate after each hidden layer.
    """
    if len(spec.input_shape) != 1 or None in spec.input_shape:
        raise TfloopError(
            f"model `tabular_ensemble` needs a table; the inputs of this dataset have shape {spec.input_shape}",
            hint="save arrays as [examples, features], use another model, such as `mlp`, or a dataset like `table`",
        )
    inputs, features, ids = split_columns(spec)
    blocks: Blocks = []  # [members or 1, batch, features]
    linear: Blocks = []  # [members, batch, outputs]
    if features is not None:
        blocks.append(ops.expand_dims(features, 0))
        linear.append(MemberDense(members, spec.outputs, deviation=0.0, rate=LINEAR_RATE)(blocks[0]))
    if 0 < len(numbers := _numbers(spec)) <= MAX_EMBEDDED:
        blocks.append(MemberCosines(members, EMBEDDED_NUMBER)(ops.take(inputs, numbers, axis=1)))
    for count, feature in [*ids, *codes_of(spec, inputs)]:
        blocks.append(MemberEmbedding(members, count, EMBEDDED_ID)(feature))
        linear.append(MemberEmbedding(members, count, spec.outputs, deviation=0.0, rate=LINEAR_RATE)(feature))
    networks = _joined([MemberScale(members)(block) for block in blocks])
    for width in hidden:
        networks = keras.layers.Activation("mish")(MemberDense(members, width)(networks))
        networks = keras.layers.Dropout(dropout)(networks)
    networks = MemberDense(members, spec.outputs, deviation=LAST_DEVIATION)(networks)
    both = ops.concatenate([networks, keras.layers.add(linear) if len(linear) > 1 else linear[0]], axis=0)
    outputs = CombineMembers(spec.classes > 0)(ops.transpose(both, (1, 0, 2)))
    return keras.Model(inputs, outputs, name="tabular_ensemble")


def _numbers(spec: DataSpec) -> list[int]:
    """Returns which features are numbers; all, if the dataset does not describe them."""
    if not spec.columns:
        return list(range(spec.input_shape[0]))
    return [feature for one in spec.columns if one.kind == "number" for feature in range(one.start, one.stop)]


def _joined(blocks: Blocks) -> keras.KerasTensor:
    return keras.layers.concatenate(blocks) if len(blocks) > 1 else blocks[0]
