"""Files of models with one task: plain Keras reads them; keras_transfer brings its own layers back."""

import json
import subprocess
import sys
import zipfile

import keras
import networks
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.optimizers import OneCycle

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype="uint8")
IDS = np.array([0, 1, 2, 0])

PLAIN = """
import sys, zipfile
import keras, numpy as np

folder = sys.argv[1]
saved = dict(np.load(f"{folder}/answers.npz"))
pixels = saved.pop("pixels")
for name, answers in saved.items():
    model = keras.models.load_model(f"{folder}/{name}.keras")
    np.testing.assert_allclose(model.predict(pixels, verbose=0), answers, rtol=1e-5, atol=1e-5)
    assert all(type(layer).__module__.startswith("keras.") for layer in model.layers), name
    print(name, type(model.optimizer).__name__, type(model.loss).__name__)
try:
    keras.models.load_model(f"{folder}/joint.keras")
except Exception as error:
    print(str(error).splitlines()[0])
print("keras_transfer" in sys.modules)
"""


def backbone(preprocess):
    images = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 3, strides=4, name="block1_conv")(images)
    return kt.backbone(
        keras.Model(images, keras.layers.ReLU(name="block1_relu")(x)), preprocess=preprocess
    )


def classification(preprocess="tf", **options):
    model = kt.build_model(backbone(preprocess), kt.tasks.Classification(3, **options))
    model.fit(PIXELS, IDS, verbose=0)
    return model


def regression():
    model = kt.build_model(backbone("tf"), kt.tasks.Regression(2))
    next(iter(kt.models.outputs(model).values())).take_unit(np.array([[1.0, 50], [3, 90]]))
    return model


MODELS = {
    "tf": classification,
    "torch": lambda: classification("torch", hidden=[4], dropout=0.1, pooling="concat"),
    "caffe": lambda: classification("caffe"),
    "stopped": lambda: kt.build_model(
        backbone("torch"), kt.tasks.Classification(2, stop_gradient=True)
    ),
    "smoothed": lambda: classification("0-1", label_smoothing=0.1),
    "numbers": regression,
    "tags": lambda: kt.build_model(backbone("inside"), kt.tasks.MultiLabel(["red", "round"])),
}


@pytest.fixture(scope="module")
def models():
    return {name: make() for name, make in MODELS.items()}


def test_plain_keras_gives_the_same_answers_in_a_process_without_the_package(tmp_path, models):
    answers = {}
    for name, model in models.items():
        model.save(tmp_path / f"{name}.keras")
        answers[name] = model.predict(PIXELS, verbose=0)
    np.savez(tmp_path / "answers.npz", pixels=PIXELS, **answers)
    tasks = {"kind": kt.tasks.Classification(3), "age": kt.tasks.Regression()}
    kt.build_model(backbone("tf"), tasks, balancing="pcgrad").save(tmp_path / "joint.keras")

    command = [sys.executable, "-c", PLAIN, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)

    *lines, refusal, is_imported = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr[-2000:]
    assert is_imported == "False"
    assert "import keras_transfer first" in refusal
    assert "kt.to_keras(model)" in refusal
    assert "tf Adam SparseCategoricalCrossentropy" in lines
    assert "smoothed Adam NoneType" in lines, "no other loss than the model's own"
    assert "tags Adam BinaryCrossentropy" in lines


@pytest.mark.filterwarnings("ignore:.*Skipping variable loading:UserWarning")  # never trained
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("load", [kt.load_model, keras.models.load_model])
def test_layers_task_loss_and_optimizer_come_back_where_the_package_is_imported(
    name, load, models, tmp_path
):
    model = models[name]
    model.save(tmp_path / "m.keras")

    again = load(tmp_path / "m.keras")

    assert type(again) is type(model)
    ours, theirs = (next(iter(kt.models.outputs(each).values())).task for each in (model, again))
    assert type(ours) is type(theirs)
    assert ours.get_config() == theirs.get_config()
    np.testing.assert_array_equal(
        again.predict(PIXELS, verbose=0), model.predict(PIXELS, verbose=0)
    )
    assert type(again.loss) is type(model.loss)
    assert again.loss.get_config() == model.loss.get_config()
    if int(model.optimizer.iterations):  # else it has no slots to load
        assert int(again.optimizer.iterations) == int(model.optimizer.iterations)


def test_a_file_without_compilation_and_copies_keep_the_task(models, tmp_path):
    model = models["torch"]
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras", compile=False)
    assert not loaded.compiled
    for copy in (
        loaded,
        keras.models.clone_model(model),
        type(model).from_config(model.get_config()),
    ):
        assert list(kt.models.outputs(copy)) == ["classification"]
        assert kt.models.representation(copy) is not None


def test_the_own_schedule_comes_back_and_plain_keras_has_its_highest_rate():
    model = kt.build_model(backbone("tf"), kt.tasks.Classification(3))
    kt.compile(model, optimizer=keras.optimizers.Adam(OneCycle(0.1, steps=10)))
    plain = keras.saving.deserialize_keras_object(model.get_compile_config())
    assert float(plain["optimizer"].learning_rate) == pytest.approx(0.1)
    again = type(model).from_config(model.get_config())
    again.compile_from_config(model.get_compile_config())
    assert type(again.optimizer._learning_rate) is OneCycle


def test_what_keras_cannot_replace_is_refused_with_a_hint(tmp_path):
    @keras.saving.register_keras_serializable("test_task_model")
    def halved(pixels):
        return pixels / 2

    model = kt.build_model(backbone(halved), kt.tasks.Classification(2))
    model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        config = json.loads(archive.read("config.json"))
    with pytest.raises(ValueError, match=r"^.*import keras_transfer first.*PreprocessFunction"):
        # As where keras_transfer is not imported.
        keras.saving.deserialize_keras_object({**config, "registered_name": "unknown"})
    assert kt.models.outputs(kt.load_model(tmp_path / "m.keras"))


def test_class_ids_out_of_range_are_an_error_before_fit_starts(models):
    model = models["tf"]
    with pytest.raises(checks.InputError, match=r"`y` must hold class ids in \[0, 3\).*3 at index"):
        model.fit(PIXELS, np.array([0, 1, 3, 0]), verbose=0)
    with pytest.raises(checks.InputError, match=r"`validation_data\[1\]` must"):
        model.fit(PIXELS, IDS, validation_data=(PIXELS, IDS - 1), verbose=0)
    loss = model.fit(PIXELS, IDS[:, None], sample_weight=np.array([1, 1, 0, 1]), verbose=0)
    assert np.isfinite(loss.history["loss"]).all()


def test_the_same_of_several_tasks():
    tasks = {"kind": kt.tasks.Classification(3), "age": kt.tasks.Regression()}
    model = kt.build_model(networks.small(), tasks)
    with pytest.raises(checks.InputError, match="class ids in"):
        model.fit(PIXELS, {"kind": IDS + 1, "age": np.arange(4.0)}, verbose=0)


def test_one_hot_rows_train_as_their_ids_do(models):
    histories = []
    for labels in (IDS, np.eye(3)[IDS]):
        model = classification()
        keras.utils.set_random_seed(0)
        model.set_weights(models["tf"].get_weights())
        histories.append(model.fit(PIXELS, labels, shuffle=False, verbose=0).history)
    assert histories[0]["loss"] == pytest.approx(histories[1]["loss"], rel=1e-5)
    assert histories[0]["accuracy"] == histories[1]["accuracy"]


@keras.saving.register_keras_serializable("test_task_model")
class InTensorFlow(kt.tasks.Classification):
    """A task whose answer Keras cannot compute symbolically."""

    def activate(self, outputs):
        return tf.nn.softmax(outputs)


def test_a_task_that_computes_with_tensorflow_is_saved_as_it_is(tmp_path):
    model = kt.build_model(backbone("tf"), InTensorFlow(2))
    model.save(tmp_path / "m.keras")
    again = kt.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(
        again.predict(PIXELS, verbose=0), model.predict(PIXELS, verbose=0)
    )
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        assert b"import keras_transfer first" in archive.read("config.json")
    with pytest.raises(checks.InputError, match="that Keras's own can replace.*TaskOutput"):
        kt.to_keras(model)
