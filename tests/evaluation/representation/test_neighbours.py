"""Nearest images."""

import json

import networks
import numpy as np
from errors import told

import keras_transfer as kt

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 32, 32, 3), dtype="uint8")


def test_the_nearest_are_those_with_the_smallest_angle():
    model = kt.build_model(networks.small(), kt.tasks.Classification(["cat", "dog"]))
    asked = IMAGES[[4, 7]] // 2 + 60
    found = kt.nearest(model, asked, (IMAGES, np.arange(10) % 2), count=3)

    features = kt.features.extract(model, IMAGES, pooling="avg", verbose=0)
    queries = kt.features.extract(model, asked, pooling="avg", verbose=0)
    rows, others = next(iter(features.values())), next(iter(queries.values()))
    for number, query in enumerate(others):
        cosines = rows @ query / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)
        best = np.argsort(-cosines)[:3]
        assert found.indices[number].tolist() == best.tolist()
        assert found.labels[number] == [str(at % 2) for at in best]
        np.testing.assert_allclose(found.similarity[number], cosines[best], rtol=1e-4)
    values = json.loads(found.to_json())
    assert len(values["images"][0]["neighbours"]) == 3
    assert found.to_html().count("<img") == 2 * 4


def test_bad_input_is_told():
    network = networks.small()
    told(lambda: kt.nearest(network, IMAGES[:1], IMAGES, count=0), "`count`")
    data = kt.data.from_arrays(IMAGES, np.arange(10) % 2, validation=None)
    told(lambda: kt.nearest(network, IMAGES[:1], data, split="test"), "`split`")
