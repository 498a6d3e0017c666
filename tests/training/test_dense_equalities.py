"""What the package promises of every task, for boxes and masks: the same result in two ways.

That reloading changes no answer, `kt.testing.check_task` asks of each task; exports are in tests/serving.
"""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import small

import keras_transfer as kt
from keras_transfer.graphs import paths

SCENES = kt.data.render_scenes(12, image_size=32, max_objects=2)
HAS = np.arange(12) % 3 != 1
HEAD = kt.Stage(epochs=2, train="head", learning_rate=1e-2)
UPPER = kt.Stage(epochs=2, train="block3*", learning_rate=1e-3, schedule="cosine")


def boxes(*, wrong=()):
    """The boxes of each scene as users give them; those of `wrong` scenes cover the whole image."""
    columns = []
    for number, (rows, ids) in enumerate(zip(SCENES["boxes"], SCENES["box_classes"], strict=True)):
        shown = rows[ids >= 0].tolist()
        if number in wrong:
            shown = [[0, 0, 32, 32]]
        columns.append({"boxes": shown, "labels": ["shape"] * len(shown)})
    return columns


def masks(*, wrong=()):
    shapes = (SCENES["masks"] > 0).astype("uint8")
    for number in wrong:
        shapes[number] = 1 - shapes[number]
    return shapes


def arrays(labels, **options):
    """Batches of 5, with 10 images for training and 2 for validation."""
    common = {"validation": 1 / 6, "batch_size": 5, "seed": 0}
    return kt.data.from_arrays(SCENES["images"], labels, **{**common, **options})


def both():
    return arrays({"boxes": boxes(), "mask": masks()})


def tasks():
    return {
        "boxes": kt.tasks.Detection(["shape"], width=6, depth=1, bins=4),
        "mask": kt.tasks.Segmentation(["ground", "shape"], width=6),
    }


def model_of(task=None, **options):
    keras.utils.set_random_seed(0)
    if task is None:
        task, options = tasks(), {"balancing": "uncertainty", **options}
    return kt.build_model(small(), task, seed=0, **options)


def weights(model):
    return dict(zip(paths.variables(model), model.get_weights(), strict=True))


def same(one, other):
    assert sorted(one) == sorted(other)
    for path, value in one.items():
        np.testing.assert_array_equal(value, other[path], err_msg=path)


def train(model, data, **options):
    return kt.fine_tune(
        model, data, **{"stages": [HEAD, UPPER], "seed": 0, "verbose": 0, "watch": (), **options}
    )


@pytest.fixture(scope="module")
def on_images():
    """A model that trained without kept maps, and its losses."""
    model = model_of()
    history = train(model, both(), cache="off")
    assert not history.record.get("cache")
    return model, history.history["loss"]


def test_maps_that_are_kept_on_disk_train_as_images_do(on_images, tmp_path):
    """Of two levels at two boundaries; a second run finds them on disk."""
    trained, kept = [weights(on_images[0])], []
    on_disk = kt.training.Cache(where="disk", folder=tmp_path)
    for cache in (on_disk, on_disk):
        model = model_of()
        history = train(model, both(), cache=cache)
        trained.append(weights(model))
        kept.append([facts["layers"] for facts in history.record.get("cache", [])])
    for other in trained[1:]:
        same(trained[0], other)
    assert kept[0] == kept[1] != []


@pytest.mark.parametrize("name", ["boxes", "mask"])
def test_one_task_in_a_dict_is_that_task_alone(name):
    labels = {"boxes": boxes(), "mask": masks()}[name]
    alone = model_of(tasks()[name])
    within = model_of({name: tasks()[name]}, balancing="sum")
    plan = {"stages": [UPPER]}
    histories = train(alone, arrays(labels), **plan), train(within, arrays({name: labels}), **plan)
    kind = tasks()[name].kind
    found = {
        path.replace(kind, name): value
        for path, value in weights(alone).items()
        if not path.startswith("balance")
    }
    expected = {
        path: value for path, value in weights(within).items() if not path.startswith("balance")
    }
    assert sorted(found) == sorted(expected)
    for path, value in expected.items():
        np.testing.assert_allclose(found[path], value, rtol=1e-4, atol=1e-5, err_msg=path)
    losses = [history.history["loss"] for history in histories]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_a_broken_run_goes_on_bit_equal(tmp_path):
    """Broken in the second stage, with kept views whose boxes and masks moved with the pictures."""
    changes = kt.data.Augment(flip=True, crop=0.8)
    plan = [dataclasses.replace(HEAD, epochs=1), UPPER]
    options = {"stages": plan, "augment": changes, "views": 2, "cache": "memory"}
    unbroken = model_of()
    history = train(unbroken, both(), **options)
    assert history.record["cache"][0]["of"] == "views"

    def stop(epoch, logs):
        if epoch == 2:
            raise KeyboardInterrupt

    stopper = keras.callbacks.LambdaCallback(on_epoch_begin=stop)
    with pytest.raises(KeyboardInterrupt):
        train(model_of(), both(), run_dir=tmp_path / "run", callbacks=[stopper], **options)
    broken = model_of()
    train(broken, both(), run_dir=tmp_path / "run", resume=True, **options)
    same(weights(unbroken), weights(broken))


def test_mixed_precision_trains_near_float32(on_images):
    whole, exact = on_images
    expected = whole.predict(SCENES["images"], verbose=0)
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    model = model_of()
    near = train(model, both()).history["loss"]
    answers = model.predict(SCENES["images"], verbose=0)
    assert near[-1] < near[0]
    np.testing.assert_allclose(near, exact, rtol=0.02)
    for name, values in answers.items():
        assert values.dtype == "float32"
        assert np.isfinite(values).all(), name
    gaps = np.abs(expected["mask"] - answers["mask"])
    assert 0 < gaps.mean() < 0.02


def test_what_lies_where_a_label_is_missing_changes_nothing():
    """Boxes and masks of weight 0 may be anything, and losses are those of the other images."""
    missing = np.flatnonzero(~HAS)
    trained = []
    for wrong in ((), missing):
        batches = both_with_weights(wrong)
        model = model_of()
        kt.compile(model, optimizer=keras.optimizers.SGD(0.05))
        model.fit(batches, epochs=2, shuffle=False, verbose=0)
        trained.append(weights(model))
    same(*trained)

    images, targets, given = next(iter(batches.unbatch().batch(12)))
    has = np.asarray(given["boxes"]) > 0
    few = {name: np.asarray(values)[has] for name, values in targets.items()}
    all_losses = model.evaluate(images, targets, sample_weight=given, return_dict=True, verbose=0)
    own_losses = model.evaluate(np.asarray(images)[has], few, return_dict=True, verbose=0)
    for name in ("boxes_loss", "mask_loss"):
        assert all_losses[name] == pytest.approx(own_losses[name], rel=1e-5)


def both_with_weights(wrong):
    """Batches in which a third of the labels has the weight 0."""
    data = arrays({"boxes": boxes(wrong=wrong), "mask": masks(wrong=wrong)}, validation=None)
    has = {name: HAS.astype("float32") for name in ("boxes", "mask")}
    rows = {name: np.asarray(column) for name, column in data.targets["train"].items()}
    return tf.data.Dataset.from_tensor_slices((SCENES["images"], rows, has)).batch(4)
