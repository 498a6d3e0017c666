"""Writes the files that `test_compatibility.py` reads; run it with an older version installed.

    python tests/compatibility/make_files.py 0.1.0 && (cd 0.1.0 && zip -9 -r ../0.1.0.zip .)

A model of two tasks (a class and a number, both with missing labels) on a small trunk is
fine-tuned for two epochs. The folder then holds its run folder, its `.keras` file, its SavedModel,
and the answers of both for eight images.
"""

import pathlib
import shutil
import sys

import keras
import numpy as np
import tensorflow as tf

import keras_transfer as kt

SIDE = 24


def small_trunk() -> keras.Model:
    """Two convolutions with batch normalisation, 1,000 weights."""
    inputs = x = keras.Input((SIDE, SIDE, 3))
    for block, width in enumerate((8, 12), start=1):
        x = keras.layers.Conv2D(
            width, 3, strides=2, padding="same", use_bias=False, name=f"block{block}_conv"
        )(x)
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"block{block}_norm")(x)
        x = keras.layers.ReLU(name=f"block{block}_relu")(x)
    return keras.Model(inputs, x, name="small")


def tasks() -> dict[str, kt.tasks.Task]:
    """A class and a number."""
    return {
        "kind": kt.tasks.Classification(["cat", "dog", "owl"], hidden=[8]),
        "age": kt.tasks.Regression(),
    }


def main(folder: pathlib.Path) -> None:
    """Trains, saves and exports, and keeps what the model answered."""
    keras.utils.set_random_seed(7)
    generator = np.random.default_rng(7)
    images = generator.integers(0, 256, (40, SIDE, SIDE, 3), dtype=np.uint8)
    kinds = [None if each % 5 == 0 else ("cat", "dog", "owl")[each % 3] for each in range(40)]
    ages = [float("nan") if each % 4 == 1 else float(each) for each in range(40)]
    data = kt.data.from_arrays(images, {"kind": kinds, "age": ages}, batch_size=8)
    backbone = kt.backbone(small_trunk(), preprocess="tf")
    model = kt.build_model(backbone, tasks(), balancing="uncertainty")
    shutil.rmtree(folder, ignore_errors=True)
    history = kt.fine_tune(model, data, epochs=(1, 1), seed=0, run_dir=folder / "run", verbose=0)

    model.save(folder / "model.keras")
    kt.export(model, folder / "export")
    (folder / "export" / "fingerprint.pb").unlink(missing_ok=True)
    pixels = tf.saved_model.load(str(folder / "export")).signatures["pixels"](
        tf.constant(images[:8])
    )
    np.savez_compressed(
        folder / "answers.npz",
        images=images[:8],
        **{f"keras {name}": value for name, value in model.predict(images[:8], verbose=0).items()},
        **{f"export {name}": value.numpy() for name, value in pixels.items()},
        history=np.array([history.history["val_loss"]]),
    )


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
