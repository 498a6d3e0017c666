import numpy as np

from keras_transfer.data import distribution


def test_missing_labels_have_a_row():
    targets = {"train": {"kind": np.array([0, 0, 1]), "age": np.array([1.0, 2.0, 11.0])}}
    weights = {"train": {"kind": np.array([0.0, 1.0, 1.0]), "age": np.ones(3)}}
    tables = distribution.tabulate(targets, {"kind": ["cat", "dog"]}, weights)
    assert tables["kind"]["rows"] == [["cat", 1], ["dog", 1], ["no label", 1]]
    assert tables["age"]["rows"][:2] == [["1 – 2", 1], ["2 – 3", 1]]
    assert tables["age"]["rows"][-1] == ["10 – 11", 1]


def test_rare_classes_are_summed_up():
    ids = np.repeat(np.arange(60), np.arange(60, 0, -1))
    names = [f"class {number}" for number in range(60)]
    rows = distribution.tabulate({"train": ids, "test": ids[:5]}, names, None)[""]["rows"]
    assert len(rows) == distribution.MOST
    assert rows[0] == ["class 0", 60, 5]
    assert rows[-1] == ["21 others", sum(range(1, 22)), 0]
    assert sum(row[1] for row in rows) == len(ids)


def test_masks_that_are_no_whole_numbers_are_not_counted():
    masks = np.zeros((2, 4, 4), "float32")
    for dtype in ("float32", "bool"):
        assert distribution.tabulate({"train": masks.astype(dtype)}, ["sky", "road"], None) == {}
    counted = distribution.tabulate({"train": masks.astype("uint8")}, ["sky", "road"], None)
    assert counted[""]["rows"] == [["sky", 2], ["road", 0]]


def test_one_number_for_all_and_what_cannot_be_counted():
    same = distribution.tabulate({"train": np.array([3.0, 3.0])}, None, None)[""]["rows"]
    assert sum(row[1] for row in same) == 2
    assert distribution.tabulate({"train": np.zeros((4, 2), "float32")}, None, None) == {}


def test_one_hot_rows_count_as_their_ids():
    rows = np.eye(2, dtype="int64")[[0, 1, 1]]
    expected = distribution.tabulate({"train": np.array([0, 1, 1])}, ["cat", "dog"], None)
    assert distribution.tabulate({"train": rows}, ["cat", "dog"], None) == expected
    assert distribution.tabulate({"train": np.full((2, 2), 3)}, ["cat", "dog"], None) == {}
