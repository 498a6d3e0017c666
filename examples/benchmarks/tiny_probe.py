"""What did `tiny` learn from rendered images? Linear probes on real ones, against random weights.

    KERAS_TRANSFER_DATA=folder python examples/benchmarks/tiny_probe.py

The folder holds `omniglot/images_background_small1.zip` (hand-written characters: 5 drawings of each to train on, 15
to test) and `cifar10_small/{train,test}/<class>/*.jpg`. Features are globally averaged, standardised, and given to
logistic regression. Random weights: the mean of three networks, each also with batch-norm statistics taken from the
training images, whichever is better. Claims: pretrained ahead by 8 points on omniglot, by 5 on cifar10. One minute on
two cores; prints one JSON line.
"""

import argparse
import json
import os
import pathlib
import platform
import zipfile

import keras
import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import keras_transfer as kt


def omniglot(folder):
    """(train images, labels, test images, labels): drawings 1 to 5 of each character, and the others."""
    archive = zipfile.ZipFile(folder / "omniglot" / "images_background_small1.zip")
    names = sorted(name for name in archive.namelist() if name.endswith(".png"))
    characters = sorted({name.rpartition("/")[0] for name in names})
    images = np.stack([decode(archive.read(name)) for name in names])
    labels = np.array([characters.index(name.rpartition("/")[0]) for name in names])
    drawing = np.array([int(name.rpartition("_")[2].removesuffix(".png")) for name in names])
    few = drawing <= 5
    return images[few], labels[few], images[~few], labels[~few]


def decode(data):
    image = tf.io.decode_png(data, channels=3)
    return tf.cast(
        tf.round(tf.image.resize(tf.cast(image, "float32"), (32, 32), antialias=True)), "uint8"
    ).numpy()


def cifar(folder):
    """(train images, labels, test images, labels)."""
    parts = []
    for split in ("train", "test"):
        files = sorted((folder / "cifar10_small" / split).glob("*/*.jpg"))
        classes = sorted({file.parent.name for file in files})
        parts += [
            kt.data.load_images(files, 32),
            np.array([classes.index(file.parent.name) for file in files]),
        ]
    return parts


def probe(backbone, parts):
    """Test accuracy of logistic regression on averaged features."""
    images, labels, test_images, test_labels = parts

    def features(pixels):
        return backbone.predict(pixels, batch_size=256, verbose=0).mean(axis=(1, 2))

    learner = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
    return 100 * learner.fit(features(images), labels).score(features(test_images), test_labels)


def calibrate(backbone, images):
    """Sets the batch-norm statistics of a random network to those of the training images."""
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    backbone(images[:1000].astype("float32"), training=True)


def random_probe(parts, seed):
    """The better of plain random weights and calibrated ones."""
    keras.utils.set_random_seed(seed)
    backbone = kt.backbone("tiny", weights=None)
    plain = probe(backbone, parts)
    calibrate(backbone, parts[0])
    return max(plain, probe(backbone, parts))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, default=os.environ.get("KERAS_TRANSFER_DATA"))
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    if asked.data is None:
        parser.error("set KERAS_TRANSFER_DATA or --data")
    result = {"benchmark": "tiny_probe", "accuracy": {}, "ahead_by": {}}
    for name, load in (("omniglot", omniglot), ("cifar10_small", cifar)):
        parts = load(pathlib.Path(asked.data))
        pretrained = probe(kt.backbone("tiny"), parts)
        random = [random_probe(parts, seed) for seed in range(asked.seeds)]
        result["accuracy"][name] = {
            "pretrained": round(pretrained, 2),
            "random": [round(value, 2) for value in random],
        }
        result["ahead_by"][name] = round(pretrained - float(np.mean(random)), 2)
    result["versions"] = {"keras": keras.__version__, "tensorflow": tf.__version__}
    result["device"] = f"{platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps(result))


if __name__ == "__main__":
    main()
