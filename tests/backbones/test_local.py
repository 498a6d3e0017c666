import pytest

from keras_transfer import backbones
from keras_transfer.backbones import local


@pytest.mark.parametrize(
    ("file", "network"),
    [
        ("mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5", "MobileNetV2"),
        ("mobilenet_1_0_224_tf_no_top.h5", "MobileNet"),
        ("weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5", "MobileNetV3Small"),
        ("resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5", "ResNet50V2"),
        ("inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5", "InceptionResNetV2"),
        ("efficientnetv2-b0_notop.h5", "EfficientNetV2B0"),
        ("convnext_tiny_notop.h5", "ConvNeXtTiny"),
        ("NASNet-mobile-no-top.h5", "NASNetMobile"),
        (
            "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5",
            None,
        ),  # not the default
        ("resnet50_weights_tf_dim_ordering_tf_kernels.h5", None),  # with a head
        ("notes.h5", None),
    ],
)
def test_files_of_keras_tell_their_network(tmp_path, monkeypatch, file, network):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert local.on_this_machine() == ["tiny"]
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / file).touch()
    assert set(local.on_this_machine()) == {"tiny", network or "tiny"}
    assert set(local.on_this_machine()) <= set(backbones.names())
