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
        parts = splits.assign(strata, {"test": 0.2, "validation": 0.2}, seed=seed, groups=groups)
        owners = [set(groups[rows]) for rows in parts.values()]
        assert sum(map(len, owners)) == len(set.union(*owners))
        assert {0, 59} <= set(parts["train"].tolist())
        # Six of each class were asked for; a group of two among those of three may leave one missing.
        assert all(10 <= len(parts[name]) <= 12 for name in ("test", "validation"))


def test_only_one_group_stays_in_training():
    parts = splits.assign(np.zeros(6, int), {"validation": 0.5}, seed=0, groups=np.zeros(6, int))
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
