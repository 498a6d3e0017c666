"""The contract over every row of the table of schemes."""

import contextlib
import io

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.graphs import nodes
from keras_transfer.layers import marks
from keras_transfer.models import sharing as schemes
from keras_transfer.training import freezing
from keras_transfer.training.cache import frozen

SHARING = {
    "hard": "hard",
    "branched": {"age": "block2*"},
    "cross_stitch": kt.models.CrossStitched(),
    "experts": kt.models.Experts(count=2, width=8),
    "attention": kt.models.Attention(width=4),
}


def build(small, name, **options):
    return kt.build_model(small.network(), small.tasks(**options), sharing=SHARING[name])


def test_every_row_has_an_example():
    assert set(SHARING) == set(schemes.SHARING)


@pytest.mark.parametrize("name", SHARING)
def test_it_is_flat_and_reloads_equal(small, name, tmp_path):
    model = build(small, name)
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    names = [node.operation.name for node in nodes.nodes(model)]
    assert len(names) == len(set(names))
    model.run_eagerly = (
        name != "attention"
    )  # of the others a training step is traced in their own tests
    model.fit(small.pixels, small.targets, verbose=0)
    model.save(tmp_path / "m.keras")
    again = kt.load_model(tmp_path / "m.keras")
    for key, values in small.answers(model).items():
        np.testing.assert_array_equal(small.answers(again)[key], values)
    assert kt.models.blocks(again) == kt.models.blocks(model)
    assert freezing.head(again) == freezing.head(model)
    assert [tensor.shape for tensor in kt.models.shared(again)] == [
        t.shape for t in kt.models.shared(model)
    ]


@pytest.mark.parametrize("name", SHARING)
def test_gradients_reach_every_weight(small, name):
    model = build(small, name)
    found = [small.gradients(model, task) for task in ("kind", "age")]
    lost = [
        path
        for path in found[0]
        if all(each[path] is None or not each[path].any() for each in found)
    ]
    assert lost == []


@pytest.mark.parametrize("name", SHARING)
def test_the_head_stage_freezes_all_that_is_pretrained_and_nothing_else(small, name):
    model = build(small, name)
    kt.Stage(epochs=1, train="head").apply(model)
    copied = tuple(
        f"{prefix}{part}" for prefix in ("", "kind_", "age_") for part in ("stem", "block")
    )
    able = {row["path"] for row in kt.trainable_table(model, layers=True)} - {
        "age",
        "balance",
    }  # a unit, and a state
    pretrained = {path for path in able if path.startswith(copied)}
    assert {"block1_a", "kind_block1_a"} & pretrained
    assert small.trains(model) == able - pretrained
    freezing.set_trainable(model, freezing.pick(model, "all"), batch_norm="train")
    assert small.trains(model) == able


@pytest.mark.parametrize("name", SHARING)
def test_blocks_hold_the_trunk_once(small, name):
    model = build(small, name)
    blocks = kt.models.blocks(model)
    assert [block.name for block in blocks] == ["stem", "block1", "block2", "block3"]
    inside = [path for block in blocks for path in block.layers]
    assert len(inside) == len(set(inside))
    ends = [mark.name for mark in marks.representations(model)]
    assert set(freezing.list_layers(model)) == set(inside) | set(freezing.head(model)) | set(ends)


@pytest.mark.parametrize("name", SHARING)
def test_the_frozen_part_can_be_cut_off(small, name):
    """What `frozen` finds is all that stays, and what lies above it makes the same of it."""
    model = build(small, name)
    freezing.set_trainable(model, freezing.pick(model, "head"))
    part = frozen.find(model, frozen.candidates(model))
    order = nodes.nodes(model)
    names = {order[position].operation.name for position in part.lower}
    pretrained = {
        row["path"] for row in kt.trainable_table(model, layers=True) if not row["trainable"]
    }
    pretrained -= {"age", "balance"}
    behind_stitches = name == "cross_stitch"  # what reads a matrix that trains changes with it
    assert (pretrained <= names) != behind_stitches
    assert part.reason == ""
    below = keras.Model(model.inputs[0], list(part.crossing))(small.pixels)
    above = nodes.above(model, part.crossing)(tuple(below) if len(part.crossing) > 1 else below[0])
    for key, values in model(small.pixels).items():
        np.testing.assert_array_equal(np.asarray(above[key]), np.asarray(values))


@pytest.mark.compiled
@pytest.mark.parametrize("name", ["cross_stitch", "experts"])
def test_it_exports(small, name, tmp_path):
    model = build(small, name)
    with contextlib.redirect_stdout(io.StringIO()):
        kt.verify(kt.export(model, tmp_path / "1"), model, small.pixels)


@pytest.mark.parametrize("name", SHARING)
def test_it_computes_in_the_policys_type(small, name):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    model = build(small, name)
    starts = [layer.input for layer in model.layers if layer.name in ("kind_pool", "age_pool")]
    assert [tensor.dtype for tensor in starts] == ["bfloat16"] * 2
    assert all(np.isfinite(values).all() for values in small.answers(model).values())


@pytest.mark.parametrize("name", ["hard", "cross_stitch", "experts", "attention"])
def test_a_task_that_stops_its_gradient_leaves_the_trunk_alone(small, name):
    """Of cross-stitch the other tasks' trunks, too; of experts these as well."""
    model = build(small, name, stop_gradient=True)
    found = small.gradients(model, "age")
    learns = {path for path, gradient in found.items() if gradient is not None and gradient.any()}
    assert learns
    assert all(path.startswith(("age_logits", "age_gate", "age_mask")) for path in learns), learns
    assert kt.models.shared(model) == []
    other = small.gradients(model, "kind")
    assert any(
        gradient is not None and gradient.any()
        for path, gradient in other.items()
        if "block1_a" in path
    )


def test_hard_is_the_default(small):
    keras.utils.set_random_seed(1)
    plain = kt.build_model(small.network(), small.tasks())
    keras.utils.set_random_seed(1)
    named = kt.build_model(small.network(), small.tasks(), sharing="hard")
    for key, values in small.answers(plain).items():
        np.testing.assert_array_equal(small.answers(named)[key], values)


@pytest.mark.parametrize(
    ("sharing", "message"),
    [
        (
            "cross_stich",
            "`sharing` must be a known name. Given: 'cross_stich'. Close names: 'cross_stitch'",
        ),
        ("branched", 'sharing={"age": "block_13'),
        ({}, "a dict of tasks and the blocks"),
        (3, "a name, a scheme of kt.models, or a dict"),
        ({"age": 3}, "a pattern for each task"),
        ({"ages": "block2*"}, "Close names: 'age'"),
        (
            {"age": "blok2*"},
            "`sharing` must match a block or layer. Given: 'blok2.'. Close: 'block2'",
        ),
    ],
)
def test_bad_sharing(small, sharing, message):
    with pytest.raises(checks.InputError, match=message):
        kt.build_model(small.network(), small.tasks(), sharing=sharing)


@pytest.mark.parametrize("task", [kt.tasks.Regression(), {"age": kt.tasks.Regression()}])
def test_a_single_task_has_nothing_to_share(small, task):
    with pytest.raises(
        checks.InputError, match="`sharing` must be left out for a single task. Given: 'experts'"
    ):
        kt.build_model(small.network(), task, sharing="experts")


@pytest.mark.parametrize("name", ["cross_stitch", "experts", "attention"])
def test_levels_are_for_hard_sharing_and_branches(small, name):
    with pytest.raises(
        checks.InputError, match="`level` must be left out with .* Given: 'P2' of task 'age'"
    ):
        build(small, name, level="P2")


def test_names_that_clash_are_an_error(small):
    with pytest.raises(
        checks.InputError, match='layers must have different names.*"age_logits" is used 2 times'
    ):
        kt.build_model(small.network(), {**small.tasks(), "age_logits": kt.tasks.Regression()})
