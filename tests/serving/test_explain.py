"""The signature that answers with maps."""

import networks
import numpy as np
import pytest
import tensorflow as tf
from errors import told

import keras_transfer as kt

pytestmark = pytest.mark.compiled


def test_an_export_explains_as_kt_explain_does(tmp_path):
    tasks = {"kind": kt.tasks.Classification(["cat", "dog"]), "age": kt.tasks.Regression()}
    model = kt.build_model(networks.small(), tasks)
    kt.export(model, tmp_path / "1", explain="layercam")
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype="uint8")
    answers = loaded.signatures["explain"](images=tf.constant(pixels))
    assert set(answers) == {
        f"{task}/{key}" for task in tasks for key in ("map", "target", "evidence")
    }
    for task in tasks:
        expected = kt.explain(model, pixels, method="layercam", task=task)
        found = answers[f"{task}/map"].numpy()
        np.testing.assert_allclose(found, expected.maps, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(answers[f"{task}/evidence"], expected.evidence, rtol=1e-3)
        assert [name.decode() for name in answers[f"{task}/target"].numpy()] == expected.targets
    assert set(kt.verify(tmp_path / "1", model)["signatures"]) >= {"pixels", "features"}


def test_only_methods_of_one_pass_are_exported(tmp_path):
    model = kt.build_model(networks.small(), kt.tasks.Classification(2))
    told(lambda: kt.export(model, tmp_path / "1", explain="rise"), "`explain`", "'gradcam'")
    told(lambda: kt.export(model, tmp_path / "1", explain="gradcma"), "`explain`", "'gradcam'")
    assert not (tmp_path / "1").exists()
