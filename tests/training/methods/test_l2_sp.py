import numpy as np
import pytest
from keras import ops

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.graphs import paths
from keras_transfer.training import methods

RNG = np.random.default_rng(0)
RATE, ALPHA, BETA = 0.05, 0.3, 0.7
TASK = {"task": kt.tasks.Classification(3, hidden=[5]), "train": "block2_conv", "rate": RATE}


def weights(model):
    return {
        path: ops.convert_to_numpy(each).astype("float64")
        for path, each in paths.variables(model).items()
    }


def penalised(model):
    """Paths of the kernels that train, written out."""
    trunk = ["block2_conv/kernel", "block2_end/kernel"]
    head = ["classification_hidden_1/kernel", "classification_logits/kernel"]
    assert all(paths.variables(model)[path].trainable for path in trunk + head)
    return trunk, head


def test_equals_the_definition(build, images):
    model = build(**TASK)
    found = weights(model)
    start = {path: value + RNG.normal(0, 0.1, value.shape) for path, value in found.items()}
    trunk, head = penalised(model)
    expected = sum(ALPHA / 2 * np.sum((found[path] - start[path]) ** 2) for path in trunk)
    expected += sum(BETA / 2 * np.sum(found[path] ** 2) for path in head)
    with methods.L2SP(ALPHA, BETA).attached(model, reference=start) as training_model:
        training_model(images, training=True)
        np.testing.assert_allclose(float(training_model.losses[0]), expected, rtol=1e-5)


def test_a_step_moves_by_the_gradient_of_the_definition(build, images, labels):
    """What it adds to a step of SGD is -rate * alpha * (w - w0) for the trunk, -rate * beta * w for the head."""
    plain, model = build(**TASK), build(**TASK)
    before = weights(model)
    start = {path: value + RNG.normal(0, 0.1, value.shape) for path, value in before.items()}
    trunk, head = penalised(model)
    plain.fit(images, labels, verbose=0)
    with methods.L2SP(ALPHA, BETA).attached(model, reference=start) as training_model:
        training_model.fit(images, labels, verbose=0)
    for path, value in weights(model).items():
        pull = np.zeros_like(value)
        if path in trunk:
            pull = -RATE * ALPHA * (before[path] - start[path])
        elif path in head:
            pull = -RATE * BETA * before[path]
        np.testing.assert_allclose(value - weights(plain)[path], pull, atol=1e-6, err_msg=path)


def test_at_the_pretrained_weights_there_is_no_pull(build, images):
    with methods.L2SP(1.0, beta=0).attached(build(train="all")) as training_model:
        training_model(images, training=True)
        assert float(training_model.losses[0]) == 0.0


def test_it_keeps_the_weights_nearer(build, images, labels):
    distances = []
    for alpha in (0.0, 10.0):
        model = build(**TASK)
        before = weights(model)
        with methods.L2SP(alpha, beta=0).attached(model) as training_model:
            training_model.fit(images, labels, epochs=5, verbose=0)
        after = weights(model)
        distances.append(
            sum(np.sum((after[path] - before[path]) ** 2) for path in penalised(model)[0])
        )
    assert 0 < distances[1] < 0.5 * distances[0]


@pytest.mark.parametrize("arguments", [{"alpha": -1}, {"beta": np.nan}])
def test_bad_arguments(arguments):
    with pytest.raises(checks.InputError):
        methods.L2SP(**arguments)
