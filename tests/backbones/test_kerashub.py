"""KerasHub presets: features are those of KerasHub's own pipeline, to the bit. The presets are saved here."""

import importlib
import json

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer import testing
from keras_transfer.backbones import kerashub
from keras_transfer.core import checks, optional

backbone = kt.backbone
SCALE, OFFSET = [1 / 50, 1 / 60, 1 / 70], [-1.0, -2.0, -0.5]


@pytest.fixture(scope="module")
def hub():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield pytest.importorskip("keras_hub")


def resnet(hub, **more):
    return hub.models.ResNetBackbone(
        input_conv_filters=[64], input_conv_kernel_sizes=[7], stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1], stackwise_num_strides=[1, 2], block_type="basic_block", **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def preset(hub, tmp_path_factory):
    folder = tmp_path_factory.mktemp("presets") / "small resnet"
    resnet(hub, use_pre_activation=True).save_to_preset(str(folder))
    hub.layers.ResNetImageConverter(image_size=(48, 40), scale=SCALE, offset=OFFSET).save_to_preset(
        str(folder)
    )
    return folder


def pixels(height=48, width=40, channels=3):
    return np.random.default_rng(0).integers(0, 256, (2, height, width, channels), dtype="uint8")


def run(model, images):
    """Eagerly: TensorFlow rearranges sums and products in the graphs of `predict`."""
    return np.asarray(model(images, training=False))


def theirs(hub, folder, images):
    """What KerasHub makes of images: its converter, then its network."""
    converter = hub.layers.ImageConverter.from_preset(str(folder))
    return run(hub.models.Backbone.from_preset(str(folder)), converter(images.astype("float32")))


def test_features_are_those_of_kerashubs_own_pipeline(hub, preset):
    expected = theirs(hub, preset, pixels())
    for source in (preset, f"kerashub:{preset}"):
        found = backbone(source)
        assert found.input_shape == (None, 48, 40, 3)
        np.testing.assert_array_equal(run(found, pixels().astype("float32")), expected)
    assert np.abs(expected).max() > 0


def test_contract(preset):
    found = backbone(preset)
    assert [block.name for block in found.blocks] == [
        "conv1_conv",
        "stack0_block0_2_conv",
        "stack1_block0_2_conv",
    ]
    assert found.levels == {"P2": "stack1_block0_pre_activation_relu", "P3": "post_relu"}
    assert found.source == {
        "name": "kerashub:small resnet", "weights": "pretrained", "arguments": {}, "image_size": [48, 40],
        "preprocessing": "Rescaling",
    }  # fmt: skip
    testing.check_backbone(found)


def test_another_size(hub, preset):
    found = backbone(preset, image_size=64)
    converter = keras.layers.Rescaling(SCALE, OFFSET)
    images = pixels(64, 64).astype("float32")
    np.testing.assert_array_equal(
        run(found, images), run(hub.models.Backbone.from_preset(str(preset)), converter(images))
    )


def test_weights(hub, preset, tmp_path):
    own = backbone(preset)
    random = backbone(preset, weights=None)
    assert random.source["weights"] is None
    assert np.abs(run(random, pixels()) - run(own, pixels())).max() > 0
    other = resnet(hub, use_pre_activation=True)
    other.save_weights(tmp_path / "other.weights.h5")
    found = backbone(preset, weights=tmp_path / "other.weights.h5")
    assert found.source["weights"] == "other.weights.h5"
    images = pixels().astype("float32")
    np.testing.assert_array_equal(
        run(found, images), run(other, keras.layers.Rescaling(SCALE, OFFSET)(images))
    )


def test_grey_pictures_give_the_features_of_their_rgb_copies(hub, tmp_path):
    resnet(hub).save_to_preset(str(tmp_path / "p"))
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    converter = hub.layers.ResNetImageConverter(
        image_size=(32, 32), scale=list(1 / 255 / deviation), offset=list(-mean / deviation)
    )
    converter.save_to_preset(str(tmp_path / "p"))
    grey = pixels(32, 32, 1)
    expected = theirs(hub, tmp_path / "p", np.repeat(grey, 3, axis=-1))
    found = run(backbone(tmp_path / "p", channels=1), grey)
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 1e-4


def test_other_channels_need_a_known_converter(preset):
    with pytest.raises(
        checks.InputError,
        match="`channels` must be 3 for a preset with an image converter of its own",
    ):
        backbone(preset, channels=1)


def test_the_tokens_of_a_vision_transformer_become_a_map(hub, tmp_path):
    """Its layers' configs do not make them again (KerasHub 0.32), so the network stays one layer."""
    network = hub.models.ViTBackbone(
        image_shape=(32, 24, 3),
        patch_size=8,
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=16,
        name="vit",
    )
    network.save_to_preset(str(tmp_path / "vit"))
    hub.layers.ViTImageConverter(image_size=(32, 24), scale=1 / 127.5, offset=-1.0).save_to_preset(
        str(tmp_path / "vit")
    )
    found = backbone(tmp_path / "vit")
    tokens = theirs(hub, tmp_path / "vit", pixels(32, 24))
    np.testing.assert_array_equal(
        run(found, pixels(32, 24).astype("float32")), tokens[:, 1:].reshape(2, 4, 3, 16)
    )
    assert [block.name for block in found.blocks] == ["vit"]
    found.save(tmp_path / "vit.keras")
    np.testing.assert_array_equal(
        run(kt.load_model(tmp_path / "vit.keras"), pixels(32, 24)), run(found, pixels(32, 24))
    )
    with pytest.raises(
        checks.InputError, match="must suit 'vit_map'.*'vit' within it takes \\(32, 24, 3\\)"
    ):
        backbone(tmp_path / "vit", image_size=64)
    with pytest.raises(checks.InputError, match="must suit 'vit_map'.*Given: \\(32, 24, 1\\)"):
        backbone(tmp_path / "vit", channels=1)


def test_the_deepest_level_of_several_outputs(hub):
    whole = resnet(hub, use_pre_activation=True)
    network = keras.Model(
        whole.inputs, {"one": whole.outputs[0], "two": whole.pyramid_outputs["P2"]}
    )
    network.pyramid_outputs = whole.pyramid_outputs
    assert kerashub._with_a_map(network).outputs[0] is whole.pyramid_outputs["P3"]


def test_arguments_are_checked_by_name(hub, preset):
    assert backbone(preset, image_shape=(56, 56, 3), image_size=56).input_shape == (None, 56, 56, 3)
    with pytest.raises(
        checks.InputError,
        match="an argument of ResNetBackbone must be known. Given: 'alpha'.*image_shape",
    ):
        backbone(preset, alpha=0.5)


def test_a_preset_of_text(hub, tmp_path):
    text = hub.models.BertBackbone(
        vocabulary_size=10,
        num_layers=1,
        num_heads=2,
        hidden_dim=4,
        intermediate_dim=4,
        max_sequence_length=8,
    )
    text.save_to_preset(str(tmp_path / "text"))
    with pytest.raises(
        checks.InputError, match="must be of a network that takes images alone.*a BertBackbone"
    ):
        backbone(tmp_path / "text")


def test_a_preset_without_a_converter(hub, tmp_path):
    resnet(hub).save_to_preset(str(tmp_path / "p"))
    with pytest.raises(checks.InputError, match="must have an image converter.*preprocess="):
        backbone(tmp_path / "p")
    network = hub.models.Backbone.from_preset(str(tmp_path / "p"))
    assert backbone(network, preprocess="torch", image_size=32).output.shape == (None, 4, 4, 64)


@pytest.mark.parametrize(
    "name", ["no_such_preset", "resnet_18_imagenet", "gs://no-such-bucket/preset"]
)
@pytest.mark.usefixtures("hub")
def test_presets_that_cannot_be_had(name, monkeypatch):
    """KerasHub's own loading code, with only the connection replaced."""

    def unreachable(*_, **__):
        raise OSError("Name or service not known")

    monkeypatch.setattr("kagglehub.model_download", unreachable)
    monkeypatch.setattr("tensorflow.io.gfile.copy", lambda *_: (_ for _ in ()).throw(_no_bucket()))
    with pytest.raises(
        checks.InputError, match="`source` must be a KerasHub preset.*Offline: download it"
    ) as raised:
        backbone(f"kerashub:{name}")
    assert "\n" not in str(raised.value)


def _no_bucket():
    import tensorflow as tf

    return tf.errors.FailedPreconditionError(None, None, "Could not resolve host")


@pytest.mark.usefixtures("hub")
def test_a_damaged_preset(preset, tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps({"class_name": "Nothing", "config": {}, "module": "nowhere"})
    )
    (tmp_path / "metadata.json").write_text("{}")
    with pytest.raises(checks.InputError) as raised:
        backbone(tmp_path)
    assert "\n" not in str(raised.value)


def test_kerashub_is_absent(preset, monkeypatch):
    def absent(name, *arguments):
        if name == "keras_hub":
            raise ModuleNotFoundError("No module named 'keras_hub'")
        return real(name, *arguments)

    real = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(
        optional.MissingExtraError, match=r'pip install "keras-transfer\[kerashub\]"'
    ):
        backbone(preset)


def test_what_a_preset_is(preset, tmp_path):
    assert kerashub.is_preset(preset)
    assert not kerashub.is_preset(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert not kerashub.is_preset(tmp_path)


def test_kerashub_is_not_imported_before_it_is_asked_for(run_code):
    code = "import sys\nfrom keras_transfer.backbones import kerashub\nassert 'keras_hub' not in sys.modules"
    done = run_code(code)
    assert done.returncode == 0, done.stderr


def test_a_loaded_backbone_needs_no_preset(preset, tmp_path):
    found = backbone(preset)
    found.save(tmp_path / "b.keras")
    again = kt.load_model(tmp_path / "b.keras")
    np.testing.assert_array_equal(run(again, pixels()), run(found, pixels()))
