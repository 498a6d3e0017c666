"""The main job on real photos and real weights, as a user runs it: the command, then a server without Keras code."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

import keras_transfer as kt

KINDS = 8  # of animals, some much alike: cougars and their faces, crabs and crayfish, crocodiles and their heads
SERVER = """
import sys
import numpy as np
import tensorflow as tf
folder, out, *files = sys.argv[1:]
serve = tf.saved_model.load(folder).signatures["serving_default"]
answers = []
for start in range(0, len(files), 32):
    batch = tf.constant([open(file, "rb").read() for file in files[start:start + 32]])
    answers.append({key: value.numpy() for key, value in serve(image_bytes=batch).items()})
assert not any(name.startswith("keras_transfer") for name in sys.modules)
np.savez(out, **{key: np.concatenate([a[key] for a in answers]).astype("U" if key != "probabilities" else "f4")
                 for key in answers[0]})
"""


@pytest.mark.slow
@pytest.mark.realdata
def test_caltech_photos(real_data, tmp_path):
    """At least 0.88 on 144 test photos; the SavedModel gives the same answers from the JPEG bytes.

    The command has compared all photos with the model; the server's labels are compared with the report, and its
    probabilities, for every fourth photo, with the model again.
    """
    photos = tmp_path / "photos"
    for split in ("train", "test"):
        for folder in sorted((real_data / "caltech24" / split).iterdir())[:KINDS]:
            shutil.copytree(folder, photos / split / folder.name)
    weights = real_data / "weights" / "mobilenet_v2_1.0_224_no_top_from_int8.h5"
    command = (
        f"train {photos}/train --test {photos}/test --backbone MobileNetV2 --weights {weights} "
        f"--image-size 160 --plan lp_ft --epochs 3 --unfreeze block_16* "
        f"--augment none --no-refit --out {tmp_path}/c24 --quiet"
    )
    done = subprocess.run(
        [sys.executable, "-m", "keras_transfer", *command.split()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads((tmp_path / "c24" / "report.json").read_text())
    assert report["support"] == 144
    assert report["accuracy"] >= 0.88

    record = json.loads((tmp_path / "c24" / "run.json").read_text())
    assert record["verify"]["labels"] == {"agree": 144, "of": 144}
    assert max(record["verify"]["signatures"].values()) <= 1e-4

    files = sorted(photos.glob("test/*/*.jpg"))
    arguments = [
        str(tmp_path / "c24" / "export" / "1"),
        str(tmp_path / "answers.npz"),
        *map(str, files),
    ]
    subprocess.run([sys.executable, "-c", SERVER, *arguments], check=True, cwd=tmp_path)
    answers = np.load(tmp_path / "answers.npz")
    model = kt.load_model(tmp_path / "c24" / "model.keras")
    names = kt.models.outputs(model)["classification"].task.class_names
    confusion = np.zeros((KINDS, KINDS), int)
    for file, label in zip(files, answers["label"], strict=True):
        confusion[names.index(file.parent.name), names.index(label)] += 1
    np.testing.assert_array_equal(confusion, report["confusion"])

    expected = model.predict(kt.data.load_images(files[::4], 160), verbose=0)
    np.testing.assert_allclose(answers["probabilities"][::4], expected, atol=1e-4)
    assert (answers["label"][::4] == np.array(names)[expected.argmax(axis=1)]).all()
