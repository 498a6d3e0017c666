"""A number for every pixel: built, trained beside other tasks, measured, exported."""

import numpy as np
import pytest

import keras_transfer as kt


@pytest.fixture(scope="module")
def rendered():
    scenes = kt.data.render_scenes(32, image_size=32)
    return scenes["images"], scenes["depth"][..., None], scenes["class"]


def build(task=None):
    return kt.build_model(
        kt.backbone("tiny", weights=None), task or kt.tasks.Depth(width=8), seed=0
    )


def test_the_unit_is_that_of_the_logarithms(rendered):
    """In another unit the model learns the same: its answers are those times the factor."""
    images, depths, _ = rendered
    answers = []
    for factor in (1.0, 1000.0):
        model = build()
        stage = kt.Stage(epochs=2, train="head", learning_rate=1e-2)
        kt.fine_tune(model, (images, depths * factor), stages=[stage], seed=0, verbose=0, watch=())
        answers.append(model.predict(images[:4], verbose=0))
    np.testing.assert_allclose(answers[1], 1000 * answers[0], rtol=1e-3)
    assert (answers[0] > 0).all()


def test_class_and_depth_from_one_trunk(rendered):
    images, depths, classes = rendered
    tasks = {"kind": kt.tasks.Classification(8), "depth": kt.tasks.Depth(width=8)}
    model = build(tasks)
    data = (images, {"kind": classes, "depth": depths})
    stage = kt.Stage(epochs=3, train="all", learning_rate=3e-3)
    history = kt.fine_tune(model, data, stages=[stage], seed=0, verbose=0, watch=())
    assert history.history["depth_loss"][-1] < history.history["depth_loss"][0]
    report = kt.evaluate(model, data, verbose=0)
    truth, answers = depths, model.predict(images, verbose=0)["depth"]
    expected = np.mean(np.abs(answers - truth) / truth, axis=(1, 2, 3)).mean()
    assert report["depth"]["abs_rel"] == pytest.approx(expected, rel=1e-4)
    page = report.to_html()
    assert "wrong by" in page
    assert (
        page.count("<figcaption>given</figcaption>")
        == page.count("<figcaption>true</figcaption>")
        > 0
    )


@pytest.mark.parametrize("task", [kt.tasks.Depth(width=4), kt.tasks.ImageToImage(scale=2, width=4)])
def test_targets_of_another_size_are_told_before_training(rendered, task):
    images, depths, _ = rendered
    targets = depths[:, ::2] if task.kind == "depth" else images
    stage = kt.Stage(epochs=1, train="head")
    with pytest.raises(kt.InputError, match="pixels, as the model's answers. Given: (16|32) x 32"):
        kt.fine_tune(build(task), (images, targets), stages=[stage], verbose=0)


def test_bad_maps():
    with pytest.raises(kt.InputError, match="maps of numbers"):
        kt.tasks.Depth().encode(np.zeros((2, 4, 4, 3)))
    with pytest.raises(kt.InputError, match="known depth"):
        kt.tasks.Depth().spread(np.zeros((2, 4, 4, 1)))


def test_the_best_single_depth_is_what_chance_is():
    rng = np.random.default_rng(0)
    truth = rng.uniform(1, 8, (5, 6, 6, 1)).astype("float32")
    truth[1, :3], truth[2] = 0, np.nan  # half a map, and a whole one, that nobody knows
    scorer = kt.tasks.Depth(unit="m").scorer()
    scorer.add(truth, np.full_like(truth, 3.0))
    maps = [each[np.isfinite(each) & (each > 0)] for each in truth]
    constants = np.linspace(1, 8, 400)
    errors = []
    for constant in constants:
        of_maps = [np.mean(abs(constant - known) / known) for known in maps if known.size]
        errors.append(np.mean(of_maps))
    found = scorer.baseline()
    assert found["scores"]["abs_rel"] == pytest.approx(min(errors), rel=0.03)
    assert float(found["answer"].removesuffix(" m")) == pytest.approx(
        constants[np.argmin(errors)], rel=0.1
    )
    assert not found["is_beaten"]
    right = kt.tasks.Depth().scorer()
    right.add(truth, np.nan_to_num(truth, nan=1.0) + 0.01)
    assert right.baseline()["is_beaten"]
