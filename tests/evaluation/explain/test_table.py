"""Every method of the table, on every kind of model and task."""

import keras
import networks
import numpy as np
import pytest
from errors import told

import keras_transfer as kt
from keras_transfer.evaluation.explain import subject

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype="uint8")
QUICK = {
    "scorecam": kt.evaluation.ScoreCAM(channels=3),
    "integrated_gradients": kt.evaluation.IntegratedGradients(steps=4),
    "smoothgrad": kt.evaluation.SmoothGrad(samples=2),
    "occlusion": kt.evaluation.Occlusion(patch=16),
    "rise": kt.evaluation.RISE(masks=6, grid=3),
}
METHODS = [name for name in kt.evaluation.EXPLAINERS if name != "rollout"]


def two_tasks():
    tasks = {"kind": kt.tasks.Classification(3), "tags": kt.tasks.MultiLabel(["a", "b"])}
    return kt.build_model(networks.small(), tasks, balancing="pcgrad"), "tags"


def regression():
    return kt.build_model(networks.small(), kt.tasks.Regression()), None


def stopped():
    return kt.build_model(networks.small(), kt.tasks.Classification(2, stop_gradient=True)), None


def dense():
    tasks = {"boxes": kt.tasks.Detection(["a", "b"], width=8), "depth": kt.tasks.Depth(width=8)}
    return kt.build_model(networks.small(), tasks), "boxes"


def masks():
    return kt.build_model(networks.small(), kt.tasks.Segmentation(["a", "b"], width=8)), None


def nested():
    top = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, activation="softmax")]
    return keras.Sequential([keras.Input((32, 32, 3)), networks.small(), *top]), None


def plain():
    return kt.to_keras(kt.build_model(networks.small(), kt.tasks.Classification(3))), None


MODELS = {
    make.__name__: make for make in (two_tasks, regression, stopped, dense, masks, nested, plain)
}


@pytest.mark.parametrize("name", MODELS)
def test_all_methods_explain_every_kind_of_model(name):
    model, task = MODELS[name]()
    for method in METHODS:
        explanation = kt.explain(model, PIXELS, method=QUICK.get(method, method), task=task)
        assert explanation.maps.shape == (2, 32, 32), method
        assert np.isfinite(explanation.maps).all(), method
        if method not in ("gradcam", "gradcam++", "scorecam", "hirescam", "layercam"):
            assert explanation.maps.std(axis=(1, 2)).min() > 0, method  # maps of relu may be 0


def test_all_methods_explain_a_reloaded_model_and_one_on_a_savedmodel(module_folders, tmp_path):
    model = kt.build_model(networks.small(), kt.tasks.Classification(3), seed=0)
    model.save(tmp_path / "model.keras")
    again = kt.load_model(tmp_path / "model.keras")
    backbone = kt.backbone(module_folders["plain"], preprocess="tf", image_size=32, trust=True)
    hub = kt.build_model(backbone, kt.tasks.Classification(3))
    for method in METHODS:
        chosen = QUICK.get(method, method)
        maps = kt.explain(model, PIXELS, method=chosen).maps
        np.testing.assert_array_equal(kt.explain(again, PIXELS, method=chosen).maps, maps, method)
        assert np.isfinite(kt.explain(hub, PIXELS, method=chosen).maps).all()


def linear():
    """A model whose evidence is a weighted sum of pixels."""
    model = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    weights = np.random.default_rng(2).normal(size=(32 * 32 * 3, 2)).astype("float32")
    model.set_weights([weights, np.ones(2, "float32")])
    return model, weights.reshape(32, 32, 3, 2)


def test_integrated_gradients_of_a_linear_model_are_what_pixels_add():
    model, weights = linear()
    found = kt.explain(model, PIXELS, method="integrated_gradients", target=1).maps
    np.testing.assert_allclose(found, (PIXELS * weights[..., 1]).sum(-1), rtol=1e-3, atol=1e-2)


def test_integrated_gradients_are_complete():
    model, _ = two_tasks()
    asked = subject.Subject(model, task="kind", has_places=False)
    target = np.array([0, 2])
    maps = kt.evaluation.IntegratedGradients().explain(asked, PIXELS, target)
    change = asked.of_targets(PIXELS, target) - asked.of_targets(0 * PIXELS, target)
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), change, rtol=0.02)


def test_smoothgrad_of_a_linear_model_is_its_weights():
    model, weights = linear()
    found = kt.explain(model, PIXELS, method=QUICK["smoothgrad"], target=0).maps
    expected = np.broadcast_to(np.abs(weights[..., 0]).mean(-1), found.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_occlusion_is_the_fall_where_patches_are_hidden():
    model, _ = linear()
    explainer = kt.evaluation.Occlusion(patch=12, stride=8, fill=7)
    found = kt.explain(model, PIXELS[:1], method=explainer, target=1).maps[0]
    drops, counts = np.zeros((32, 32)), np.zeros((32, 32))
    whole = model.predict(PIXELS[:1], verbose=0)[0, 1]
    for top in (0, 8, 16, 20):
        for left in (0, 8, 16, 20):
            hidden = PIXELS[:1].astype("float32")
            hidden[0, top : top + 12, left : left + 12] = 7
            drop = whole - model.predict(hidden, verbose=0)[0, 1]
            drops[top : top + 12, left : left + 12] += drop
            counts[top : top + 12, left : left + 12] += 1
    np.testing.assert_allclose(found, drops / counts, rtol=1e-3, atol=0.05)


def test_rise_is_the_mean_evidence_of_the_masks_that_show_a_place():
    model, weights = linear()
    explainer = kt.evaluation.RISE(masks=9, grid=4, fill=0)
    found = kt.explain(model, PIXELS[:1], method=explainer, target=0).maps[0]
    masks = np.stack([explainer.mask(number, (32, 32)) for number in range(9)])
    assert 0 <= masks.min() < 0.01
    assert 0.99 < masks.max() <= 1
    evidence = (masks[..., None] * PIXELS[0] * weights[..., 0]).sum((1, 2, 3))
    expected = ((evidence - evidence.mean())[:, None, None] * masks).sum(0) / masks.sum(0)
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=0.5)


def test_score_cam_weighs_channels_by_what_they_show():
    keras.utils.set_random_seed(1)
    model, _ = nested()
    asked = subject.Subject(model)
    target = np.array([1, 1])
    features = keras.ops.convert_to_numpy(asked.features(PIXELS)[0])
    found = kt.evaluation.ScoreCAM(channels=None).explain(asked, PIXELS, target)
    for image, map_of, channels in zip(PIXELS, found, features, strict=True):
        scores = []
        for k in range(channels.shape[-1]):
            mask = channels[..., k] - channels[..., k].min()
            mask = mask / (mask.max() or 1)
            shown = keras.ops.image.resize(mask[..., None], (32, 32), interpolation="bilinear")
            scores.append(asked.of_targets(image[None] * shown.numpy(), target[:1])[0])
        weights = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose(map_of, (channels * weights).sum(-1), rtol=1e-4)


def transformer():
    """Two layers of attention over patches and a class token in front of them."""
    image = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(6, 16, strides=16)(image)
    x = keras.layers.Reshape((4, 6))(x)
    x = keras.layers.ZeroPadding1D((1, 0))(x)
    rows = []
    for _ in range(2):
        rows.append(x)
        x = x + keras.layers.MultiHeadAttention(2, 3)(x, x)
    return keras.Model(image, keras.layers.Dense(2)(x[:, 0])), rows


def test_rollout_multiplies_what_layers_look_at():
    model, rows = transformer()
    found = kt.explain(model, PIXELS, method="rollout").maps
    flow = np.eye(5)
    attending = [layer for layer in model.layers if "attention" in layer.name]
    for layer, row in zip(attending, rows, strict=True):
        tokens = keras.Model(model.input, row)(PIXELS.astype("float32"))
        _, scores = layer(tokens, tokens, return_attention_scores=True)
        flow = (scores.numpy().mean(axis=1) / 2 + np.eye(5) / 2) @ flow
    expected = flow[:, 0, 1:].reshape(2, 2, 2)
    np.testing.assert_allclose(found[:, ::31, ::31], expected, rtol=1e-4)
    assert not any("_compute_attention" in vars(layer) for layer in attending)
    told(lambda: kt.explain(model, PIXELS), "places", "tokens", "'rollout'")
    told(lambda: kt.explain(nested()[0], PIXELS, method="rollout"), "attention", "'occlusion'")
