"""Images as points."""

import json
import re

import networks
import numpy as np
import pytest
from errors import told
from sklearn import decomposition

import keras_transfer as kt


@pytest.fixture(scope="module")
def data():
    return kt.data.glyphs(3, 10, validation=None)


@pytest.fixture(scope="module")
def network():
    return networks.small()


def test_positions_are_the_principal_components_of_the_features(network, data):
    cloud = kt.representation_map({"one": network, "two": network}, data, method="pca", points=99)
    features = kt.features.extract(network, data, pooling="avg", verbose=0)
    rows = next(iter(features.values())).astype("float64")
    expected = decomposition.PCA(2).fit_transform(rows)
    for positions in cloud.positions.values():
        signs = np.sign((positions * expected).sum(axis=0))
        np.testing.assert_allclose(positions * signs, expected, atol=1e-3)
    written = json.loads(cloud.to_json())
    names = [data.class_names[int(label)] for label in features.targets]
    assert written["labels"] == names
    assert set(written["positions"]) == {"one", "two"}


def test_the_share_of_neighbours_with_the_same_class(network, data):
    cloud = kt.representation_map(network, data, method="pca")
    features = cloud.seen.joined("small")
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    shares = []
    for number, row in enumerate(unit @ unit.T):
        order = [at for at in np.argsort(-row, kind="stable") if at != number][:10]
        shares.append((cloud.seen.labels[order] == cloud.seen.labels[number]).mean())
    assert cloud.agreement["small"] == pytest.approx(np.mean(shares), abs=0.01)
    assert f"{np.mean(shares):.1%}"[:3] in str(cloud)


def test_the_page_has_all_points_and_one_picture_of_thumbnails(network, data, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype="uint8")
    names = ["<b>", "dog"] * 20
    part = kt.data.from_arrays(images, names, validation=None)
    cloud = kt.representation_map(network, part, points=25, method="pca")
    cloud.save(tmp_path / "map.html")
    page = (tmp_path / "map.html").read_text()
    (embedded,) = re.findall(r'<script type="application/json">(.*?)</script>', page)
    values = json.loads(embedded)
    assert len(values["captions"]) == len(values["groups"]) == len(values["clouds"][0]) / 2 == 25
    assert min(values["clouds"][0]) == 0
    assert max(values["clouds"][0]) == 4096
    assert "<b>:" not in page
    assert page.count("data:image/jpeg") == 1
    indices = cloud.seen.indices
    assert len(set(indices)) == 25
    assert list(indices) != list(range(25))


def test_labels_may_be_numbers_missing_or_none_at_all(network):
    images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype="uint8")
    ages = np.arange(12.0)
    ages[3] = np.nan
    part = kt.data.from_arrays(images, {"age": ages}, validation=None)
    cloud = kt.representation_map(network, part, method="pca")
    assert cloud.seen.label(2) == "2"
    assert cloud.seen.label(3) == ""
    groups = cloud._groups()[0]
    assert groups[3] == -1
    assert groups[0] < groups[11]
    assert kt.representation_map(network, images, method="pca").agreement == {}


@pytest.mark.slow
def test_groups_stay_apart(network):
    rng = np.random.default_rng(0)
    ids = np.arange(24) % 2
    images = rng.integers(0, 60, (24, 32, 32, 3)) + 190 * ids[:, None, None, None]
    cloud = kt.representation_map(network, (images.astype("uint8"), ids), seed=3)
    (positions,) = cloud.positions.values()
    for number, place in enumerate(positions):
        nearest = np.argsort(((positions - place) ** 2).sum(axis=1))[1]
        assert ids[nearest] == ids[number]


def test_bad_input_is_told(network, data):
    told(lambda: kt.representation_map(network, data, method="umap"), "`method`", "'tsne'")
    told(lambda: kt.representation_map(network, data, split="trian"), "`split`")
    told(lambda: kt.representation_map({}, data), "`model`")
    told(lambda: kt.representation_map(network, np.zeros((2, 32, 32, 3))), "three images")
