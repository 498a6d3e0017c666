"""Dense networks of KerasHub compute below our heads what they do in KerasHub's own tasks. Presets are saved here."""

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer import models
from keras_transfer.core import checks
from keras_transfer.models.sharing import base

hub = pytest.importorskip("keras_hub")
pytestmark = pytest.mark.filterwarnings("ignore:.*structure of `inputs`")  # KerasHub's own calls
SIZE = {"depth": 98}
CLASSES = 4
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 98, 98, 3)).astype("float32")


def encoder():
    return hub.models.ResNetBackbone(
        input_conv_filters=[64], input_conv_kernel_sizes=[7], stackwise_num_filters=[64, 8, 8, 8],
        stackwise_num_blocks=[1] * 4, stackwise_num_strides=[1, 2, 2, 2], block_type="basic_block",
        use_pre_activation=True,
    )  # fmt: skip


def retinanet():
    backbone = hub.models.RetinaNetBackbone(encoder(), min_level=3, max_level=6, use_p5=False)
    converter = hub.layers.RetinaNetImageConverter(image_size=(64, 64), scale=1 / 255)
    return hub.models.RetinaNetObjectDetector(
        backbone,
        num_classes=CLASSES,
        bounding_box_format="xyxy",
        preprocessor=hub.models.RetinaNetObjectDetectorPreprocessor(converter),
    )


def d_fine():
    stages = [[8, 8, 16, 1, 3, 3], [16, 8, 32, 1, 3, 3], [32, 16, 64, 1, 3, 5], [64, 16, 64, 1, 3, 5]]  # fmt: skip
    trunk = hub.models.HGNetV2Backbone(
        stem_channels=[3, 8, 8], stackwise_stage_filters=stages, apply_downsample=[False, True, True, True],
        use_lightweight_conv_block=[False, False, True, True], depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 64, 64],
        embedding_size=8, use_learnable_affine_block=True, hidden_act="relu", image_shape=(None, None, 3),
        out_features=["stage3", "stage4"],
    )  # fmt: skip
    backbone = hub.models.DFineBackbone(
        backbone=trunk, decoder_in_channels=[16, 16], encoder_hidden_dim=16, num_denoising=0, num_labels=CLASSES,
        hidden_dim=16, learn_initial_query=False, num_queries=10, anchor_image_size=(64, 64), feat_strides=[16, 32],
        num_feature_levels=2, encoder_in_channels=[64, 64], encode_proj_layers=[1], num_attention_heads=2,
        encoder_ffn_dim=32, num_encoder_layers=1, hidden_expansion=0.34, depth_multiplier=0.5, eval_idx=-1,
        num_decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=32, decoder_n_points=[2, 2],
        lqe_hidden_dim=8, num_lqe_layers=2, out_features=["stage3", "stage4"], seed=0,
    )  # fmt: skip
    converter = hub.layers.DFineImageConverter(image_size=(64, 64), scale=1 / 255)
    return hub.models.DFineObjectDetector(
        backbone,
        num_classes=CLASSES,
        bounding_box_format="xyxy",
        preprocessor=hub.models.DFineObjectDetectorPreprocessor(converter),
    )


def segformer():
    trunk = hub.models.MiTBackbone(
        layerwise_depths=[1] * 4, image_shape=(64, 64, 3), hidden_dims=[8, 12, 16, 20], num_layers=4,
        layerwise_num_heads=[1, 1, 2, 2], layerwise_sr_ratios=[8, 4, 2, 1], max_drop_path_rate=0.1,
        layerwise_patch_sizes=[7, 3, 3, 3], layerwise_strides=[4, 2, 2, 2],
    )  # fmt: skip
    backbone = hub.models.SegFormerBackbone(image_encoder=trunk, projection_filters=16)
    converter = hub.layers.SegFormerImageConverter(image_size=(64, 64), scale=1 / 255)
    preprocessor = hub.models.SegFormerImageSegmenterPreprocessor(converter)
    return hub.models.SegFormerImageSegmenter(
        backbone, num_classes=CLASSES, preprocessor=preprocessor
    )


def deeplab():
    backbone = hub.models.DeepLabV3Backbone(
        encoder(),
        low_level_feature_key="P2",
        spatial_pyramid_pooling_key="P5",
        upsampling_size=8,
        dilation_rates=[6, 12],
    )
    converter = hub.layers.DeepLabV3ImageConverter(image_size=(64, 64), scale=1 / 255)
    preprocessor = hub.models.DeepLabV3ImageSegmenterPreprocessor(converter)
    return hub.models.DeepLabV3ImageSegmenter(
        backbone, num_classes=CLASSES, preprocessor=preprocessor
    )


def depth():
    trunk = hub.models.DINOV2Backbone(
        patch_size=14, num_layers=4, hidden_dim=16, num_heads=2, intermediate_dim=32, image_shape=(98, 98, 3),
        position_embedding_shape=(98, 98),
    )  # fmt: skip
    backbone = hub.models.DepthAnythingBackbone(
        image_encoder=trunk,
        reassemble_factors=[4, 2, 1, 0.5],
        neck_hidden_dims=[8] * 4,
        fusion_hidden_dim=16,
        head_hidden_dim=8,
        head_in_index=-1,
        feature_keys=["stage1", "stage2", "stage3", "stage4"],
    )
    converter = hub.layers.DepthAnythingImageConverter(image_size=(98, 98), scale=1 / 255)
    preprocessor = hub.models.DepthAnythingDepthEstimatorPreprocessor(converter)
    return hub.models.DepthAnythingDepthEstimator(
        backbone, depth_estimation_type="relative", preprocessor=preprocessor
    )


MAKERS = {maker.__name__: maker for maker in (retinanet, d_fine, segformer, deeplab, depth)}
COSTLY = pytest.mark.slow


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """Makes a preset once, with weights that all matter, and returns its folder and KerasHub's own model."""
    made = {}

    def make(name):
        if name not in made:
            keras.utils.set_random_seed(1)
            theirs = MAKERS[name]()
            for weight in theirs.weights:
                if "moving_variance" not in weight.path:
                    weight.assign_add(0.05 * keras.random.normal(weight.shape, seed=2))
            folder = tmp_path_factory.mktemp("presets") / name
            theirs.save_to_preset(str(folder))
            made[name] = folder, theirs
        return made[name]

    return make


def pixels(name):
    side = SIZE.get(name, 64)
    return PIXELS[:, :side, :side]


def task(name):
    if name in ("retinanet", "d_fine"):
        return kt.tasks.Detection(["cat", "dog"], width=8, depth=1, bins=4)
    if name == "depth":
        return kt.tasks.Depth()
    return kt.tasks.Segmentation(CLASSES)


@pytest.mark.parametrize("name", ["retinanet", pytest.param("d_fine", marks=COSTLY)])
def test_levels_are_the_maps_of_kerashubs_own_pyramid(name, preset):
    folder, theirs = preset(name)
    ours = kt.backbone(folder)
    taps = keras.Model(ours.inputs, [base.level_end(ours, level) for level in ours.levels])
    found = taps(pixels(name), training=False)
    network = theirs.backbone
    outputs = network(pixels(name) / 255, training=False)
    if name == "retinanet":
        assert list(ours.levels) == ["P3", "P4", "P5", "P6"]
        expected = [outputs[level] for level in ours.levels]
    else:
        assert list(ours.levels) == ["P4", "P5"]
        maps = network.encoder._inbound_nodes[0].output_tensors[:2]
        expected = keras.Model(network.inputs, maps)(pixels(name) / 255, training=False)
    for one, other in zip(found, expected, strict=True):
        assert np.abs(other).max() > 0
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["deeplab", "segformer", pytest.param("depth", marks=COSTLY)])
def test_with_the_weights_of_its_last_layer_the_answers_are_kerashubs(name, preset):
    folder, theirs = preset(name)
    model = kt.build_model(f"kerashub:{folder}", task(name))
    last = {"deeplab": "output_conv", "segformer": "output_segmentation_head"}.get(name)
    layer = theirs.backbone.head.conv3 if name == "depth" else getattr(theirs, last)
    weights = layer.get_weights()
    model.layers[-2 if name == "depth" else -3].set_weights(
        [*weights, *[np.zeros(CLASSES)][len(weights) - 1 :]]
    )
    logits = keras.Model(model.inputs, model.layers[-1].input)(pixels(name), training=False)
    expected = theirs(pixels(name) / 255, training=False)
    if name == "depth":
        expected = theirs.backbone(pixels(name) / 255, training=False)
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["retinanet", "deeplab"])
def test_a_saved_model_answers_alike_and_keeps_its_decoder(name, preset, tmp_path):
    model = kt.build_model(preset(name)[0], task(name))
    model.save(tmp_path / "m.keras")
    again = kt.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again(pixels(name)), model(pixels(name)))
    config = again.layers[-1].task.get_config()
    assert config.get("decoder", config.get("pyramid")) == "own"


def test_a_task_that_does_not_fit_is_told(preset):
    with pytest.raises(
        checks.InputError, match="needs a backbone with several levels.*decoder's map, P2"
    ):
        kt.build_model(preset("deeplab")[0], kt.tasks.Detection(2))
    with pytest.raises(checks.InputError, match="needs a backbone without a decoder"):
        kt.build_model(preset("deeplab")[0], kt.tasks.ImageToImage())
    with pytest.raises(checks.InputError, match="`decoder` must be another.*'own'"):
        kt.build_model("tiny", kt.tasks.Segmentation(2, decoder="own"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["d_fine", "segformer"])
def test_data_stages_report_and_export_are_ours(name, preset, tmp_path):
    is_detector = name == "d_fine"
    targets = "boxes" if is_detector else "mask"
    data = kt.data.scenes(
        n=12, image_size=64, validation=0.25, test=0.25, batch_size=4, targets=targets
    )
    kind = kt.tasks.Segmentation(data.class_names)
    if is_detector:
        kind = kt.tasks.Detection(data.class_names, width=8, depth=1, bins=4)
    model = kt.build_model(preset(name)[0], kind)
    before = {weight.path: np.array(weight) for weight in model.weights}
    history = kt.fine_tune(model, data, epochs=(1, 1), cache="off", watch=(), verbose=0)
    assert [stage["name"] for stage in history.record["stages"]] == ["head", "all"]
    part = "hybrid_encoder" if is_detector else "linear_"
    moved = [
        np.abs(before[each.path] - each).max()
        for each in model.trainable_weights
        if part in each.path
    ]
    assert moved
    assert max(moved) > 0
    assert models.representation(model).source["name"] == f"kerashub:{name}"
    kt.evaluate(model, data, verbose=0).save(tmp_path / "report.html")
    kt.export(model, tmp_path / "1")
    kt.verify(tmp_path / "1", model, data.test)
