"""Which random changes a run makes, and that they are made to training images only."""

import keras
import numpy as np
import pytest
from networks import small

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.training import augmenting, inputs, recipes


def model_of(task=None):
    keras.utils.set_random_seed(0)
    return kt.build_model(small(), task or kt.tasks.Classification(3))


def arrays(images, labels=None, **options):
    labels = np.arange(len(images)) % 3 if labels is None else labels
    return kt.data.from_arrays(images, labels, validation=None, batch_size=4, **options)


COLOURED = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3)).astype("uint8")


def test_nothing_is_changed_unless_asked_for():
    assert augmenting.choose(None, model_of()) is None
    history = kt.fine_tune(model_of(), arrays(COLOURED), plan="head_only", verbose=0)
    assert history.record["augment"] is None


MASKS = (COLOURED[..., 0] > 128).astype("uint8")
SEGMENTATION = kt.tasks.Segmentation(2, width=4)


@pytest.mark.parametrize(
    ("task", "labels", "options", "views"),
    [
        (SEGMENTATION, MASKS, {}, 4),
        (SEGMENTATION, MASKS, {"views": 2}, 2),
        (SEGMENTATION, MASKS, {"augment": None}, None),
        (SEGMENTATION, MASKS, {"epochs": (1, 1)}, None),
        (SEGMENTATION, MASKS, {"stages": [kt.Stage(epochs=1)]}, None),
        (kt.tasks.Depth(width=4), MASKS + 1.0, {}, None),
        (kt.tasks.Classification(3), None, {}, None),
        (
            {"mask": SEGMENTATION, "a": kt.tasks.Classification(3)},
            {"mask": MASKS, "a": None},
            {},
            4,
        ),
        ({"mask": SEGMENTATION, "a": kt.tasks.Regression()}, {"mask": MASKS, "a": None}, {}, None),
    ],
)
def test_few_masks_get_light_changes(task, labels, options, views, monkeypatch):
    ids = np.arange(12) % 3
    if isinstance(labels, dict):
        labels = {name: ids if column is None else column for name, column in labels.items()}
    everything = {"augment": "auto", "views": None, "cache": "auto", "plan": "two_stage"}
    everything |= dict.fromkeys((*recipes.PLANNING, "stages", "refit", "seed")) | {
        "calibrate": True,
        "rate_rule": "none",
    }
    model, data = model_of(task), arrays(COLOURED, labels)
    recipe = recipes.decide(model, data, everything | options)
    expected = None if views is None else kt.data.Augment.of("light")
    assert (recipe.data.changes, recipe.views) == (expected, views or 1)
    assert any("augment='light'" in note for note in recipe.notes) == (views is not None)
    monkeypatch.setattr(augmenting, "FEW", 11)
    assert recipes.decide(model, data, everything | options).data.changes is None


@pytest.mark.parametrize(
    ("loss", "metrics"),
    [
        (None, ["accuracy"]),
        (None, [keras.metrics.SparseCategoricalAccuracy()]),
        ("sparse_categorical_crossentropy", []),
    ],
)
def test_labels_stay_ids_where_loss_or_metrics_need_them(loss, metrics):
    model = model_of()
    model.compile("adam", loss or model.loss, metrics=metrics)
    with pytest.raises(checks.InputError, match="loss and metrics must take shares of classes"):
        augmenting.choose(kt.data.Augment(mixup=0.2), model)
    assert augmenting.choose("light", model) == kt.data.Augment.of("light")


def test_smoothing_in_the_data_equals_smoothing_in_the_loss():
    data = arrays(COLOURED)
    results = []
    for task, augment in (
        (kt.tasks.Classification(3, label_smoothing=0.2), None),
        (kt.tasks.Classification(3), kt.data.Augment(label_smoothing=0.2)),
    ):
        model = model_of(task)
        stages = [kt.Stage(epochs=2, train="head", learning_rate=1e-2)]
        history = kt.fine_tune(model, data, stages=stages, augment=augment, seed=0, verbose=0)
        results.append((history.history["loss"], model.get_weights()))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-5)
    for one, other in zip(*(weights for _, weights in results), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_head_is_solved_for_smoothed_labels():
    data = arrays(COLOURED)
    results = []
    for task, augment in (
        (kt.tasks.Classification(3, label_smoothing=0.2), None),
        (kt.tasks.Classification(3), kt.data.Augment(label_smoothing=0.2)),
        (kt.tasks.Classification(3), None),
    ):
        model = model_of(task)
        kt.fine_tune(
            model, data, stages=[kt.Stage(solve=True, train="head")], augment=augment, verbose=0
        )
        results.append(np.asarray(model.get_layer("classification_logits").kernel))
    np.testing.assert_allclose(results[0], results[1], atol=1e-6)
    assert np.abs(results[0] - results[2]).max() > 1e-3


def test_several_tasks_are_mixed_by_name():
    data = kt.data.from_arrays(
        COLOURED,
        {"kind": np.arange(12) % 3, "size": np.arange(12.0)},
        validation=None,
        batch_size=4,
    )
    model = model_of({"kind": kt.tasks.Classification(3), "size": kt.tasks.Regression()})
    given = inputs.check(model, inputs.inputs(data))
    changed = augmenting.apply(kt.data.Augment(mixup=0.2), model, given, seed=0)
    assert changed.plain is given.train
    assert {name: spec.shape[1:] for name, spec in changed.train.element_spec[1].items()} == {
        "kind": (3,),
        "size": (),
    }


def test_bad_arguments():
    data, model = arrays(COLOURED), model_of()
    for wrong, message in (
        ("lihgt", "Close names: 'light'"),
        (3, "`augment` must be a `kt.data.Augment`"),
    ):
        with pytest.raises(checks.InputError, match=message):
            kt.fine_tune(model, data, epochs=(1, 1), augment=wrong, verbose=0)


def test_targets_with_places_must_have_a_form_that_can_be_moved():
    class Corner(kt.tasks.Regression):
        moves_with_image = True

    model = model_of(Corner())
    with pytest.raises(checks.InputError, match="must be boxes .* Set `augment=None`"):
        kt.fine_tune(model, arrays(COLOURED), epochs=(1, 1), augment="light", verbose=0)


def test_numbers_are_mixed_with_metrics_of_keras():
    found = augmenting.choose(kt.data.Augment(mixup=0.2), model_of(kt.tasks.Regression()))
    assert found.mixes
