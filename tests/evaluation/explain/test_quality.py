"""Whether maps show what answers stand on, on models where that is known."""

import keras
import networks
import numpy as np
import pytest
from errors import told

import keras_transfer as kt
from keras_transfer.evaluation.explain import quality

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 60, (6, 32, 32, 3), dtype="uint8")
EVIDENCE = np.zeros((6, 32, 32), "bool")
for number in range(6):  # a bright square, each time elsewhere
    EVIDENCE[number, 4 * number : 4 * number + 8, 8:16] = True
IMAGES[EVIDENCE] += 180


class Truth(kt.evaluation.Explainer):
    """The square, or all else."""

    def __init__(self, sign):
        self.sign = sign

    def explain(self, model, images, target):
        return self.sign * (images.mean(axis=-1) - 127)


@pytest.fixture(scope="module")
def model():
    """Answers with the mean of the image, squared: only bright places count."""
    image = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(1, 1, use_bias=False, activation="relu", name="conv")(image)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Multiply()([x, x]))
    made = keras.Model(image, keras.layers.Dense(1)(x))
    made.get_layer("conv").kernel.assign(np.full((1, 1, 3, 1), 0.1))
    made.layers[-1].kernel.assign([[1.0]])
    return made


def test_the_true_map_beats_its_opposite(model):
    right = kt.evaluation.assess_explanation(model, IMAGES, method=Truth(1), evidence=EVIDENCE)
    wrong = kt.evaluation.assess_explanation(model, IMAGES, method=Truth(-1), evidence=EVIDENCE)
    assert right["pointing"] == 1
    assert wrong["pointing"] == 0
    assert right["insertion"] > 0.9 > 0.3 > wrong["insertion"]
    assert right["deletion"] < 0.1 < 0.7 < wrong["deletion"]
    assert right["average_drop"] < 0.3 < wrong["average_drop"]


def test_deletion_is_the_mean_of_what_is_left(model):
    """With the map that hides rows from the top, by a loop over the definition."""

    class Rows(kt.evaluation.Explainer):
        def explain(self, model, images, target):
            return np.broadcast_to(32.0 - np.arange(32)[:, None], (len(images), 32, 32))

    images = IMAGES[:1]
    found = kt.evaluation.assess_explanation(model, images, method=Rows())
    blank = images.mean(axis=(1, 2), keepdims=True)

    def ask(pixels):
        return float(model(pixels.astype("float32")).numpy()[0, 0])

    left = []
    for step in range(11):
        hidden = images.astype("float64").reshape(1, -1, 3).copy()
        hidden[:, : int(np.ceil(step / 10 * 1024))] = blank[:, 0]
        left.append(ask(hidden.reshape(1, 32, 32, 3)))
    expected = (np.array(left) - left[-1]) / (left[0] - left[-1])
    assert found["deletion"] == pytest.approx(expected.mean(), rel=0.01)


def test_maps_that_see_the_image_only_are_told_and_weights_come_back():
    model = kt.build_model(networks.small(), kt.tasks.Classification(3))
    before = model.get_weights()
    found = kt.evaluation.assess_explanation(model, IMAGES, method=Truth(1))
    assert found["random_weights"] == pytest.approx(1)
    assert "random weights" in str(found).splitlines()[-1]
    assert found.to_html().count('class="warning"') == 1
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)
    gradients = kt.evaluation.SmoothGrad(samples=4)
    honest = kt.evaluation.assess_explanation(model, IMAGES, method=gradients)
    assert honest["random_weights"] < 0.9
    assert set(quality.MEANINGS) - set(honest) == {"pointing"}


def test_evidence_must_fit(model):
    told(lambda: kt.evaluation.pointing_game(np.zeros((2, 3, 3)), np.zeros((2, 3))), "(2, 3, 3)")
    told(lambda: kt.evaluation.pointing_game(np.zeros((2, 3, 3)), np.zeros((2, 3, 3))), "none")
