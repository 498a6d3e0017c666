"""Real sets, each loaded with one call, train a small model for an epoch."""

import gzip
import zipfile

import h5py
import numpy as np
import pytest

import keras_transfer as kt

SIZE = {"image_size": 32, "batch_size": 32}
PARTS = {"pet": 1, "background": 2, "border": 3}


def bccd(root, scratch):
    data = kt.data.from_voc(root / "bccd", corrupt="skip", **SIZE)
    return data, kt.tasks.Detection(data.class_names, width=8, depth=1)


def pets3(root, scratch):
    targets = {
        "breed": "category",
        "species": "category",
        "head": {"boxes": ["xmin", "ymin", "xmax", "ymax"], "label": "species"},
        "parts": {"mask": "trimaps/{id}.png", "classes": PARTS},
    }
    data = kt.data.from_csv(
        root / "pets3" / "index.csv",
        image="images/{id}.jpg",
        targets=targets,
        split="split",
        **SIZE,
    )
    names = data.class_names
    tasks = {
        "breed": kt.tasks.Classification(names["breed"]),
        "species": kt.tasks.Classification(names["species"]),
        "head": kt.tasks.Detection(names["head"], width=8, depth=1),
        "parts": kt.tasks.Segmentation(names["parts"], width=8),
    }
    return data, tasks


def camvid_small(root, scratch):
    table = root / "camvid_small" / "index.csv"
    names = [str(number) for number in range(11)]
    targets = {"mask": {"mask": "mask", "classes": names, "ignored": 11}}
    data = kt.data.from_csv(table, image="image", targets=targets, split="split", **SIZE)
    return data, {"mask": kt.tasks.Segmentation(names, width=8)}


def pacs_small(root, scratch):
    table = root / "pacs_small" / "index.csv"
    data = kt.data.from_csv(
        table, image="file", targets={"class": "category"}, split="split", **SIZE
    )
    return data, {"class": kt.tasks.Classification(data.class_names["class"])}


def omniglot(root, scratch):
    with zipfile.ZipFile(root / "omniglot" / "images_background_small1.zip") as packed:
        packed.extractall(scratch, members=packed.namelist()[::8])
    data = kt.data.from_folder(scratch / "images_background_small1", test=0.2, **SIZE)
    return data, kt.tasks.Classification(data.class_names)


def mnist(root, scratch):
    arrays = []
    for name, start in (("images-idx3", 16), ("labels-idx1", 8)):
        (file,) = (root / "digits" / "mnist").glob(f"*{name}*")
        arrays.append(np.frombuffer(gzip.decompress(file.read_bytes()), "uint8", offset=start))
    images = arrays[0].reshape(-1, 28, 28)[:300]
    data = kt.data.from_arrays(images, arrays[1][:300].astype(int), test=0.2, **SIZE)
    return data, kt.tasks.Classification(data.class_names)


def usps(root, scratch):
    with h5py.File(root / "digits" / "usps" / "usps.h5") as file:
        images = 255 * np.asarray(file["train/data"][:300]).reshape(-1, 16, 16)
        labels = np.asarray(file["train/target"][:300]).astype(int)
    data = kt.data.from_arrays(images, labels, test=0.2, **SIZE)
    return data, kt.tasks.Classification(data.class_names)


@pytest.mark.realdata
@pytest.mark.parametrize(
    "read", [bccd, pets3, camvid_small, pacs_small, omniglot, mnist, usps], ids=lambda f: f.__name__
)
def test_a_real_set_trains(read, real_data, tmp_path):
    data, task = read(real_data, tmp_path)
    model = kt.build_model(kt.backbone("tiny"), task, seed=0)
    stage = kt.Stage(epochs=1, train="head", learning_rate=1e-3)
    history = kt.fine_tune(model, data, stages=[stage], seed=0, verbose=0, watch=(), refit=False)
    assert np.isfinite(history.history["loss"]).all()
    report = kt.evaluate(model, data, verbose=0)
    scores = [report] if "kind" in report else [report[name] for name in task]
    assert all(score["support"] > 10 for score in scores)
