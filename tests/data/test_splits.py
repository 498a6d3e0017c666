import numpy as np
import pytest

from keras_transfer.core import checks
from keras_transfer.data import splits


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "shares", [{"validation": 0.2}, {"test": 0.3, "validation": 0.25}, {"test": 0.0}]
)
def test_splits_cover_everything_once_and_each_class_gives_its_share(seed, shares):
    strata = np.random.default_rng(seed).integers(0, 7, 203)
    parts = splits.assign(strata, shares, seed=seed)
    np.testing.assert_array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(203))
    for name, share in shares.items():
        assert abs(len(parts[name]) - share * 203) <= 0.5
        for label in range(7):
            exact = share * np.sum(strata == label)
            assert abs(np.sum(strata[parts[name]] == label) - exact) < 1


def test_equal_seeds_give_equal_splits_and_others_differ():
    strata = np.arange(100) % 3
    first, again, other = (
        splits.assign(strata, {"validation": 0.2}, seed=seed)["validation"] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_class_keeps_a_training_example_however_large_the_shares():
    strata = np.array([0, 1, 1, 2, 2, 2])
    parts = splits.assign(strata, {"test": 0.45, "validation": 0.45}, seed=0)
    assert set(strata[parts["train"]]) == {0, 1, 2}
    assert sum(map(len, parts.values())) == 6


def test_small_classes_still_fill_the_share_together():
    # Ten classes of three at 10 %: every class alone rounds to none, all together give three.
    parts = splits.assign(np.repeat(np.arange(10), 3), {"validation": 0.1}, seed=0)
    assert len(parts["validation"]) == 3


def test_groups_stay_together_and_groups_of_several_classes_are_trained_on():
    strata = np.repeat([0, 1], 30)
    groups = np.arange(60) // 3 * 3  # three of a kind
    groups[[0, 59]] = 999  # one kind in both classes
    for seed in range(5):
        parts = splits.assign(strata, {"test": 0.2, "validation": 0.2}, seed=seed, copies=groups)
        owners = [set(groups[rows]) for rows in parts.values()]
        assert sum(map(len, owners)) == len(set.union(*owners))
        assert {0, 59} <= set(parts["train"].tolist())
        # Six of each class were asked for; a group of two among those of three may leave one missing.
        assert all(10 <= len(parts[name]) <= 12 for name in ("test", "validation"))


def test_only_one_group_stays_in_training():
    parts = splits.assign(np.zeros(6, int), {"validation": 0.5}, seed=0, copies=np.zeros(6, int))
    assert len(parts["train"]) == 6


@pytest.mark.parametrize(
    "shares", [{"test": 0.5, "validation": 0.5}, {"validation": 1.0}, {"test": -0.1}, {"test": "a"}]
)
def test_shares_that_leave_nothing_are_refused(shares):
    with pytest.raises(checks.InputError, match=r"Given: "):
        splits.check_shares(shares)


def test_an_empty_split_is_noted(capsys):
    notes = splits.note_empty({"train": np.arange(2), "test": np.arange(0)}, {"test": 0.1})
    assert notes == ["too few images for a test share of 0.1: there is no test split"]
    assert notes[0] in capsys.readouterr().out


def test_file_names_decide_and_neither_their_order_nor_added_files():
    """What was trained on must not be tested on after photos were added."""
    names = [f"cat/{number}.jpg" for number in range(400)]
    shares = {"test": 0.2, "validation": 0.2}

    def split_of(names):
        keys = splits.numbers_of(names)
        parts = splits.assign(np.zeros(len(names), int), shares, seed=3, keys=keys)
        return {names[row]: split for split, rows in parts.items() for row in rows}

    before = split_of(names)
    assert split_of(names[::-1]) == before
    after = split_of([f"cat/new{number}.jpg" for number in range(20)] + names)
    assert sum(after[name] != split for name, split in before.items()) <= 12


def test_numbers_of_names_are_the_same_everywhere():
    composed, decomposed = "caf\u00e9.jpg", "cafe\u0301.jpg"
    one, other, third = splits.numbers_of([composed, decomposed, "cafe.jpg"])
    assert one == other != third
    # As the command `printf a.jpg | b2sum -l 64` prints it, lowest byte first.
    expected = int.from_bytes(bytes.fromhex("fe47f0026e12a789"), "little")
    assert splits.numbers_of(["a.jpg"]).tolist() == [expected]
    splits.numbers_of(["\udcff.jpg"])  # a name that is no UTF-8


def deviations(labels, parts, shares):
    """For each split and label: how many examples more or fewer than its share there are, by counting."""
    result = []
    for split, share in shares.items():
        for column in labels.reshape(len(labels), -1).T:
            for label in set(column.tolist()) - {-1}:
                has = column == label
                result.append(np.sum(has[parts[split]]) - share * np.sum(has))
    return np.abs(result)


@pytest.mark.parametrize("seed", range(3))
def test_tags_come_to_each_split_in_their_shares(seed):
    draw = np.random.default_rng(seed)
    rates = np.geomspace(0.01, 0.5, 12)
    tags = splits.labels_of(
        (draw.random((500, 12)) < rates).astype(np.float32), list("abcdefghijkl")
    )
    shares = {"test": 0.2, "validation": 0.1}
    parts = splits.assign(tags, shares, seed=seed)
    assert [len(parts[split]) for split in shares] == [100, 50]
    assert deviations(tags, parts, shares).max() <= 1
    by_chance = splits.assign(np.zeros(500, int), shares, seed=seed)
    assert deviations(tags, by_chance, shares).max() > 3
    assert all(np.any(tags[parts["train"], column] == 0) for column in range(12))


def test_several_columns_are_stratified_together():
    draw = np.random.default_rng(0)
    kinds, colours = draw.integers(0, 5, 300), draw.integers(0, 4, 300)
    weights = {"kind": (draw.random(300) < 0.7).astype(np.float32)}
    targets = {"kind": kinds, "colour": colours, "age": draw.random(300)}
    names = {"kind": list("abcde"), "colour": list("wxyz")}
    labels = splits.labels_of(targets, names, weights)
    np.testing.assert_array_equal(labels[:, 1], colours)
    np.testing.assert_array_equal(labels[:, 0], np.where(weights["kind"] == 0, 5, kinds))
    shares = {"test": 0.25}
    parts = splits.assign(labels, shares, seed=0)
    assert len(parts["test"]) == 75
    assert deviations(labels, parts, shares).max() <= 1


def best_share(sizes, share):
    """How close the sum of some of the sizes can come to the share of all, by trying all."""
    sums = {0}
    for size in sizes:
        sums |= {size + other for other in sums}
    return min(abs(each - share * sum(sizes)) for each in sums)


@pytest.mark.parametrize("seed", range(6))
def test_groups_are_never_on_both_sides_and_come_as_close_as_they_can(seed):
    draw = np.random.default_rng(seed)
    sizes = draw.integers(1, 40, 12)
    groups = np.repeat(np.arange(12), sizes)
    parts = splits.assign(np.zeros(len(groups), int), {"test": 0.25}, seed=seed, groups=groups)
    owners = [set(groups[rows]) for rows in parts.values()]
    assert not owners[0] & owners[1]
    gap = abs(len(parts["test"]) - 0.25 * len(groups))
    assert gap <= best_share(sizes.tolist(), 0.25) + 1


@pytest.mark.parametrize("seed", range(6))
def test_groups_of_several_classes_are_stratified_too_and_copies_join_groups(seed):
    draw = np.random.default_rng(1)
    groups = np.sort(draw.integers(0, 60, 600))
    labels = (draw.random(600) < 0.1 + 0.3 * (groups % 3)).astype(int)
    copies = np.arange(600)
    copies[[0, 599]] = 9999  # the first group and the last one share a picture
    shares = {"test": 0.2, "validation": 0.2}
    parts = splits.assign(labels, shares, seed=seed, groups=groups, copies=copies)
    owners = [set(groups[rows]) for rows in parts.values()]
    assert sum(map(len, owners)) == len(set.union(*owners)) == 60
    (both,) = [owner for owner in owners if 0 in owner]
    assert 59 in both
    assert deviations(labels, parts, shares).max() <= 6
    assert all(abs(len(parts[split]) - 120) <= 2 for split in shares)


def test_a_class_that_one_group_has_alone_is_trained_on():
    labels = np.array([0] * 6 + [1] * 6)
    groups = np.array([0, 0, 1, 1, 2, 2, 3, 3, 3, 3, 3, 3])
    for seed in range(4):
        parts = splits.assign(labels, {"test": 0.4, "validation": 0.4}, seed=seed, groups=groups)
        assert set(labels[parts["train"]]) == {0, 1}


@pytest.mark.parametrize("kind", ["classes", "tags", "groups"])
def test_folds_hold_every_example_out_once(kind):
    draw = np.random.default_rng(2)
    labels = draw.integers(0, 4, 103)
    groups = None
    if kind == "tags":
        labels = np.where(draw.random((103, 5)) < 0.3, 0, -1)
    if kind == "groups":
        groups = draw.integers(0, 25, 103).astype(np.uint64)
    folds = splits.fold(labels, 5, seed=0, groups=groups, keys=groups)
    np.testing.assert_array_equal(np.sort(np.concatenate(folds)), np.arange(103))
    sizes = [len(rows) for rows in folds]
    assert max(sizes) - min(sizes) <= (3 if kind == "groups" else 1)
    parts = dict(enumerate(folds))
    worst = deviations(labels, parts, dict.fromkeys(parts, 0.2)).max()
    assert worst <= (3.5 if kind == "groups" else 1)
    if kind == "groups":
        assert sum(len(set(groups[rows])) for rows in folds) == len(set(groups))


def test_more_folds_than_groups_are_refused():
    with pytest.raises(checks.InputError, match="groups for 3 folds. Given: 2 groups"):
        splits.fold(np.zeros(6, int), 3, seed=0, groups=np.array([0, 0, 0, 1, 1, 1]))


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (["a", "b"], "Given: 2 groups, 3 images"),
        ("abc", "Given: str"),
        ({"a": 1}, "Given: dict"),
        (7, "Given: int"),
        (["a", ["b"], "c"], r"Given: \['b'\] at index 1"),
        ([1.0, float("inf"), 2.0], "Given: inf at index 1"),
    ],
)
def test_groups_that_are_none_are_refused(groups, words):
    with pytest.raises(checks.InputError, match=words):
        splits.groups_of(groups, 3)


def test_whole_numbers_with_blanks_name_the_groups_that_whole_numbers_do():
    first, second, third = splits.groups_of([1.0, float("nan"), 2.0], 3)
    assert [first, third] == splits.groups_of(["1", "2"], 2).tolist()
    assert second not in (first, third)
    assert len(set(splits.groups_of([None, "", float("nan")], 3).tolist())) == 3


def test_a_column_names_the_splits():
    parts = splits.by_column(["train", "VAL", "training", "Test "])
    assert {split: rows.tolist() for split, rows in parts.items()} == {
        "train": [0, 2],
        "validation": [1],
        "test": [3],
    }
    with pytest.raises(checks.InputError, match="Given: None at index 1"):
        splits.by_column(["train", None])
    with pytest.raises(checks.InputError, match="must leave images to train on"):
        splits.by_column(["test", "test"])
