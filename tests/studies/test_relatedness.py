import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.studies import relatedness


def model_of(tasks, **options):
    keras.utils.set_random_seed(0)
    return kt.build_model(kt.backbone("tiny", weights=None), tasks, **options)


def batch(count=8):
    draw = np.random.default_rng(0)
    images = draw.uniform(0, 255, (count, 32, 32, 3)).astype("float32")
    return images, {"kind": draw.integers(0, 3, count), "other": draw.integers(0, 3, count)}


def tasks():
    return {name: kt.tasks.Classification(3) for name in ("kind", "other")}


@pytest.mark.parametrize("balancing", [None, "uncertainty", "pcgrad"])
def test_products_are_those_of_gradients_one_by_one(balancing):
    model = model_of(tasks(), balancing=balancing)
    images, targets = batch()
    found = relatedness.Similarity(model, [(images, targets)])
    found.on_epoch_end(0)
    trunk = [
        each for each in model.trainable_variables if not each.path.startswith(("kind", "other"))
    ]
    rows = []
    for name in ("kind", "other"):
        if balancing == "pcgrad":  # its layer would take this for a training step
            model.get_layer("balance").settle(learning=False)
        with tf.GradientTape() as tape:
            loss = tasks()[name].loss()(targets[name], model(images, training=False)[name])
        rows.append(
            np.concatenate(
                [np.ravel(each) for each in tape.gradient(loss, [v.value for v in trunk])]
            )
        )
    cosine = rows[0] @ rows[1] / np.linalg.norm(rows[0]) / np.linalg.norm(rows[1])
    assert found.mean()[0][1] == pytest.approx(cosine, abs=1e-4)  # float32 sums in another order


def test_looking_changes_nothing():
    model = model_of(tasks(), balancing="gradnorm")
    before = [each.copy() for each in model.get_weights()]
    similarity = relatedness.Similarity(model, [batch()])
    similarity.on_epoch_end(0)
    assert all(
        np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True)
    )
    assert not model.get_layer("balance").is_idle
    model.fit(*batch(), epochs=1, verbose=0)
    factors = np.asarray(model.get_layer("balance").state["weights"])
    assert not np.array_equal(
        factors, np.ones(2)
    )  # training does move the balancer, looked at or not


def test_the_same_task_twice_is_alike():
    model = model_of(tasks())
    model.get_layer("other_logits").set_weights(model.get_layer("kind_logits").get_weights())
    images, targets = batch()
    similarity = relatedness.Similarity(
        model, [(images, {"kind": targets["kind"], "other": targets["kind"]})]
    )
    similarity.on_epoch_end(0)
    assert similarity.mean()[0][1] == pytest.approx(1.0, abs=1e-5)


def test_tasks_that_never_meet_have_no_similarity():
    model = model_of(tasks())
    images, targets = batch()
    weights = {"kind": np.ones(8, "float32"), "other": np.zeros(8, "float32")}
    similarity = relatedness.Similarity(model, [(images, targets, weights)])
    similarity.on_epoch_end(0)
    assert similarity.mean() == [[pytest.approx(1.0), None], [None, None]]


def test_branches_share_what_lies_below_them():
    model = model_of(tasks(), sharing={"other": "block2*"})
    similarity = relatedness.Similarity(model, [batch()])
    similarity.on_epoch_end(0)
    assert similarity.mean()[0][1] is not None


@pytest.mark.parametrize(
    ("cosines", "expected"),
    [
        ([[1, 0.1, 0.1], [0.1, 1, 0.1], [0.1, 0.1, 1]], [["a", "b", "c"]]),
        ([[1, -0.1, -0.1], [-0.1, 1, -0.1], [-0.1, -0.1, 1]], [["a"], ["b"], ["c"]]),
        ([[1, -0.5, 0.4], [-0.5, 1, -0.5], [0.4, -0.5, 1]], [["a", "c"], ["b"]]),
        ([[1, None, 0.4], [None, 1, None], [0.4, None, 1]], [["a", "b", "c"]]),
        ([[1, 0.05, 0.02], [0.05, 1, 0.01], [0.02, 0.01, 1]], [["a", "b", "c"]]),
    ],
)
def test_groups(cosines, expected):
    assert relatedness.groups(["a", "b", "c"], cosines) == expected


def test_many_tasks_are_merged_by_likeness():
    cosines = np.full((10, 10), -0.5)
    for rows in (range(4), range(4, 9)):
        cosines[np.ix_(rows, rows)] = 0.5
    names = [str(at) for at in range(10)]
    assert relatedness.groups(names, cosines) == [names[:4], names[4:9], names[9:]]
    assert relatedness.groups(names, np.abs(cosines)) == [names]
    assert relatedness.groups(names, -np.abs(cosines)) == [[name] for name in names]
    few = relatedness._merge(cosines[:7, :7])
    assert [[names[at] for at in part] for part in few] == relatedness.groups(
        names[:7], cosines[:7, :7]
    )


def test_all_groupings_are_looked_at():
    # Bell's numbers.
    assert [len(list(relatedness._partitions(list(range(size))))) for size in range(6)] == [
        1,
        1,
        2,
        5,
        15,
        52,
    ]
