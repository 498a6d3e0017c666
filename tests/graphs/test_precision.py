import keras
import networks
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.graphs import compiling, precision

IMAGES = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), np.uint8)
LABELS = np.arange(32) % 2


def classifier(name):
    backbone = kt.backbone("tiny", weights=None, precision=name)
    return kt.build_model(backbone, kt.tasks.Classification(2, hidden=[8]), seed=0)


@pytest.mark.parametrize("name", ["mixed_bfloat16", "mixed_float16"])
def test_one_word_sets_trunk_and_heads_but_no_weights_and_no_other_layers(name):
    model = classifier(name)
    computes = {layer.compute_dtype for layer in model.layers if layer.weights}
    assert computes == {name.removeprefix("mixed_")}
    assert {str(weight.dtype) for weight in model.weights} <= {"float32", "uint32", "int32"}
    assert model.predict(IMAGES[:2], verbose=0).dtype == np.float32
    assert keras.config.dtype_policy().name == "float32"
    is_scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert is_scaled == (name == "mixed_float16")


def test_a_loaded_model_in_float16_still_scales_its_loss(tmp_path):
    """Keras would not: without scaling, small gradients in float16 are 0."""
    classifier("mixed_float16").save(tmp_path / "model.keras")
    model = kt.load_model(tmp_path / "model.keras")
    compiling.recompile(model, keras.optimizers.SGD(1e-3))
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    compiling.recompile(classifier("float32"), keras.optimizers.SGD(1e-3))
    assert not isinstance(classifier("float32").optimizer, keras.optimizers.LossScaleOptimizer)


def test_half_precision_learns_what_full_precision_learns():
    images = np.where(LABELS[:, None, None, None] > 0, IMAGES // 2, 128 + IMAGES // 2)
    losses = {}
    for name in ("float32", "mixed_bfloat16", "mixed_float16"):
        history = kt.fine_tune(
            classifier(name),
            (images.astype(np.uint8), LABELS),
            epochs=(2, 1),
            learning_rate=(1e-2, 1e-3),
            refit=False,
            seed=0,
            verbose=0,
        )
        losses[name] = history.history["loss"][-1]
    # bfloat16 has 8 bits of fraction, float16 11.
    assert losses["mixed_bfloat16"] == pytest.approx(losses["float32"], rel=0.1)
    assert losses["mixed_float16"] == pytest.approx(losses["float32"], rel=0.05)


def test_other_words_and_networks_that_are_made_already_are_refused():
    with pytest.raises(kt.InputError, match="`precision` must be one of"):
        kt.backbone("tiny", weights=None, precision="half")
    with pytest.raises(kt.InputError, match="`precision` must be left out"):
        networks.small(precision="mixed_bfloat16")
    assert precision.check(None) is None
