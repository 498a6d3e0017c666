"""Several sets as one: which examples an epoch has, in which order, and what is missing of each."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer import data
from keras_transfer.core import checks
from keras_transfer.data.mixture import Mixture

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (40, 6, 5, 3), dtype=np.uint8)
SAMPLINGS = ("proportional", "equal", "temperature", "round_robin")


def pets(**options):
    return data.from_arrays(
        PIXELS[:20],
        np.array(["cat", "dog"])[np.arange(20) % 2],
        **{"validation": 0.2, "batch_size": 4, **options},
    )


def faces(**options):
    return data.from_arrays(
        PIXELS[20:28], np.arange(8) / 2, **{"validation": 0.25, "batch_size": 4, **options}
    )


def mixed(**options):
    return data.mix({"pets": pets(), "faces": faces()}, **options)


def rows_of(images):
    return [int(np.flatnonzero((image == PIXELS).all((1, 2, 3)))[0]) for image in images.numpy()]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_batches_are_those_of_the_sets_by_hand(sampling):
    """Every image comes with its own label, and with weight 0 for the other set's, which is 0."""
    result = mixed(sampling=sampling)
    for dataset in (result.train, result.validation, result.ordered("train")):
        for images, targets, weights in dataset:
            for at, row in enumerate(rows_of(images)):
                is_pet = row < 20
                assert (float(weights["pets"][at]), float(weights["faces"][at])) == (
                    is_pet,
                    not is_pet,
                )
                assert int(targets["pets"][at]) == (row % 2 if is_pet else 0)
                assert float(targets["faces"][at]) == (0 if is_pet else (row - 20) / 2)


def test_splits_stay_and_come_one_set_after_the_other():
    one, other = pets(test=0.2), faces()
    result = data.mix({"pets": one, "faces": other})
    for split in ("train", "validation", "test"):
        parts = [found.ordered(split) for found in (one, other) if split in found.examples]
        expected = np.concatenate([images for part in parts for images, _ in part])
        np.testing.assert_array_equal(
            np.concatenate([batch[0] for batch in result.ordered(split)]), expected
        )
    np.testing.assert_array_equal(
        result.targets["validation"]["pets"][:4], one.targets["validation"]
    )
    np.testing.assert_array_equal(
        result.targets["validation"]["faces"][4:], other.targets["validation"]
    )
    np.testing.assert_array_equal(result.origins["validation"], [0] * 4 + [1] * 2)
    np.testing.assert_array_equal(
        np.concatenate([batch[0] for batch in result.validation]), expected_validation(one, other)
    )
    assert "no test images of 'faces'" in result.notes
    assert result.class_names == {"pets": ["cat", "dog"]}


def expected_validation(*sets):
    return np.concatenate([images for found in sets for images, _ in found.validation])


def test_proportional_is_a_permutation_of_all():
    result = mixed(seed=3)
    for epoch in range(3):
        assert (
            result.order(epoch).tolist()
            == np.random.default_rng((3, epoch)).permutation(22).tolist()
        )
    assert len(result.train) == 6


@pytest.mark.parametrize(
    ("sampling", "temperature", "counts"),
    [
        ("equal", 2.0, [16, 16]),
        ("temperature", 1.0, [16, 6]),
        ("temperature", 2.0, [16, 10]),  # 16 * sqrt(6 / 16) = 9.8
        ("temperature", 1e9, [16, 16]),
        ("round_robin", 2.0, [16, 16]),
    ],
)
def test_how_many_of_each(sampling, temperature, counts, capsys):
    result = mixed(sampling=sampling, temperature=temperature)
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"keras_transfer: an epoch has {sum(counts)} training images ({sampling}): "
        f"{counts[0]} of the 16 of 'pets', {counts[1]} of the 6 of 'faces'"
    )
    for epoch in range(3):
        found = result.origins["train"][result.order(epoch)]
        assert np.bincount(found).tolist() == counts
    assert len(result.train) == int(result.train.cardinality()) == -(-sum(counts) // 4)
    assert sum(len(batch[0]) for batch in result.train) == sum(counts)
    assert len(result.places("train")) == len(result.train)


@pytest.mark.parametrize("sampling", ["equal", "temperature", "round_robin"])
def test_a_small_set_is_shuffled_anew_at_each_of_its_passes(sampling):
    """Over epochs, a set's examples come as permutations one after the other: none twice before all were there."""
    result = mixed(sampling=sampling, batch_size=4)
    members = [np.flatnonzero(result.origins["train"] == number) for number in (0, 1)]
    if (
        sampling == "round_robin"
    ):  # the only one whose order within an epoch is that of the sequences
        orders = [
            order[result.origins["train"][order] == 1] for order in map(result.order, range(6))
        ]
        sequence = np.concatenate(orders)
        passes = sequence.reshape(-1, 6)
        assert all(sorted(found) == members[1].tolist() for found in passes)
        assert len({tuple(found) for found in passes}) > len(passes) // 2
    for number, size in ((0, 16), (1, 6)):
        counts = np.zeros(22, int)
        for epoch in range(9):
            order = result.order(epoch)
            counts += np.bincount(order[result.origins["train"][order] == number], minlength=22)
        own = counts[members[number]]
        assert own.max() - own.min() <= 1, (size, own)


def test_round_robin_gives_full_batches_of_one_set_in_turn():
    result = data.mix(
        {"pets": pets(), "faces": faces(), "more": pets(seed=1)},
        sampling="round_robin",
        batch_size=5,
    )
    batches = [result.origins["train"][places.numpy()] for places, *_ in result.places("train")]
    assert len(batches) == 3 * 4  # 16 images are four batches of 5, 5, 5 and 1 that is filled up
    for at, batch in enumerate(batches):
        assert batch.tolist() == [at % 3] * 5


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_orders_depend_on_seed_and_pass_only(sampling):
    runs = []
    for noise in (1, 2):
        tf.random.set_seed(noise)
        np.random.seed(noise)
        result = mixed(sampling=sampling, seed=5)
        runs.append([np.concatenate([batch[0] for batch in result.train]) for _ in range(3)])
    for one, other in zip(*runs, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(runs[0][0], runs[0][1])
    assert not np.array_equal(result.order(0), mixed(sampling=sampling, seed=6).order(0))
    result.set_epoch(1)
    np.testing.assert_array_equal(np.concatenate([batch[0] for batch in result.train]), runs[0][1])
    ordered = np.concatenate([batch[0] for batch in result.ordered("train")])
    np.testing.assert_array_equal(ordered[result.order(2)], runs[0][2])
    assert result.epochs.next == 2


def test_sequences_of_sets_of_one_size_differ():
    mixture = Mixture(np.repeat([0, 1], 50), sampling="equal", seed=0)
    assert not np.array_equal(mixture._stretch(0, 0, 50), mixture._stretch(1, 0, 50) - 50)
    assert not np.array_equal(mixture._stretch(0, 0, 50), mixture._stretch(0, 50, 50))


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_joined_data_are_sampled_alike(sampling):
    result = mixed(sampling=sampling)
    joined = result.joined()
    assert np.bincount(joined.origins["train"]).tolist() == [20, 8]
    found = np.bincount(joined.origins["train"][joined.order(0)]).tolist()
    assert found == {"proportional": [20, 8], "temperature": [20, 13]}.get(sampling, [20, 20])
    assert joined.examples["train"].pixels is result.examples["train"].pixels
    for images, targets, weights in joined.train:
        for at, row in enumerate(rows_of(images)):
            assert float(weights["pets"][at]) == (row < 20)
            assert int(targets["pets"][at]) == (row % 2 if row < 20 else 0)


def test_targets_of_one_name_are_one():
    labels = np.array(["cat", "dog"])[np.arange(20) % 2]
    one = data.from_arrays(PIXELS[:20], {"kind": labels, "age": np.arange(20) / 2}, validation=None)
    other = data.from_arrays(PIXELS[20:], {"kind": [*labels[:19], None]}, validation=None)
    result = data.mix({"one": one, "other": other})
    assert result.class_names == {"kind": ["cat", "dog"]}
    np.testing.assert_array_equal(result.weights["train"]["kind"], [1] * 39 + [0])
    np.testing.assert_array_equal(result.weights["train"]["age"], [1] * 20 + [0] * 20)
    complete = data.mix({"one": one, "other": one})
    assert complete.weights is None
    assert len(complete.train.element_spec) == 2


def write(folder, count, suffix="png"):
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for at in range(count):
            pixels = RNG.integers(0, 256, (8, 8, 3)).astype("uint8")
            keras.utils.save_img(folder / name / f"{at}.{suffix}", pixels)


def test_files_are_mixed_as_decoded_images_are(tmp_path):
    write(tmp_path / "one", 3)
    write(tmp_path / "other", 2)
    found = []
    for cache in ("memory", "off"):
        sets = {
            name: data.from_folder(tmp_path / name, image_size=8, validation=0.5, cache=cache)
            for name in ("one", "other")
        }
        result = data.mix(sets, sampling="equal")
        assert result.is_cached == (cache == "memory")
        expected = [*sets["one"].files["train"], *sets["other"].files["train"]]
        assert result.files["train"] == expected
        found.append(
            [batch for name in ("train", "validation") for batch in result.ordered(name)]
            + list(result.train)
        )
    for one, other in zip(*found, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, one, other)
    memory = data.from_folder(tmp_path / "one", image_size=8, cache="memory")
    with pytest.raises(
        checks.InputError,
        match=r"all in memory or all in files. Given: memory of 'a', files of 'b'",
    ):
        data.mix({"a": memory, "b": sets["other"]})


def test_a_set_may_have_nothing_to_train_on(tmp_path):
    write(tmp_path / "train", 2)
    write(tmp_path / "test", 1)
    more = data.labelled_folder(tmp_path / "test", ["a", "b"], image_size=8)
    own = data.from_folder(tmp_path / "train", image_size=8, validation=None)
    with pytest.raises(
        checks.InputError, match="every target must have a label of a training image"
    ):
        data.mix({"own": own, "more": more})


def test_digest_and_rule_tell_mixtures_apart():
    first = mixed()
    assert first.digest == mixed(sampling="equal", seed=4).digest
    others = [
        data.mix({"faces": faces(), "pets": pets()}),
        data.mix({"pets": pets(seed=1), "faces": faces()}),
        data.mix({"animals": pets(), "faces": faces()}),
    ]
    assert len({first.digest, *(other.digest for other in others)}) == 4
    rules = {mixed(sampling=name, temperature=3).epochs.rule for name in SAMPLINGS} | {
        mixed(sampling="temperature", temperature=4).epochs.rule
    }
    assert len(rules) == 5


def with_replaced_batches():
    result = pets()
    result.train = result.train.take(1)
    return result


BAD = {
    "one set": (lambda: ({"a": pets()}, {}), "a dict of two or more data sets"),
    "a list": (lambda: ([pets(), faces()], {}), "a dict of two or more data sets"),
    "a dataset": (
        lambda: ({"a": pets(), "b": pets().train}, {}),
        "as `kt.data` returns it. Given: 'b'",
    ),
    "changed batches": (
        lambda: ({"a": pets(), "b": with_replaced_batches()}, {}),
        "whose batches were replaced",
    ),
    "size": (
        lambda: ({"a": pets(), "b": data.from_arrays(PIXELS[:4, :5], ["x", "y"] * 2)}, {}),
        "one image size. Given: 6x5 of 'a', 5x5 of 'b'. Set `image_size`",
    ),
    "channels": (
        lambda: (
            {"a": pets(), "b": data.from_arrays(PIXELS[..., :1], ["x", "y"] * 20, channels=1)},
            {},
        ),
        "one number of channels. Given: 3 of 'a', 1 of 'b'. Set `channels`",
    ),
    "batch size": (
        lambda: ({"a": pets(), "b": faces(batch_size=5)}, {}),
        "Given: 4 of 'a', 5 of 'b'",
    ),
    "sampling": (
        lambda: ({"a": pets(), "b": faces()}, {"sampling": "equall"}),
        "Close names: 'equal'",
    ),
    "temperature": (lambda: ({"a": pets(), "b": faces()}, {"temperature": 0.5}), "at least 1"),
    "seed": (lambda: ({"a": pets(), "b": faces()}, {"seed": -1}), "`seed` must be"),
    "class names": (
        lambda: (
            {
                "a": data.from_arrays(
                    PIXELS[:4], {"kind": ["x", "y"] * 2}, batch_size=4, validation=None
                ),
                "b": data.from_arrays(
                    PIXELS[4:8], {"kind": ["x", "z"] * 2}, batch_size=4, validation=None
                ),
            },
            {},
        ),
        "agree on the target 'kind'. Given: the classes 'x', 'y' in 'a', the classes 'x', 'z' in 'b'. Give one of them",
    ),
    "numbers and classes": (
        lambda: (
            {"a": pets(), "b": data.from_arrays(PIXELS[:8], {"a": np.arange(8) / 2}, batch_size=4)},
            {},
        ),
        "agree on the target 'a'. Given: the classes 'cat', 'dog' in 'a', a number in 'b'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_sets_that_do_not_fit_are_refused(case):
    make, message = BAD[case]
    sets, options = make()
    with pytest.raises(checks.InputError, match=message) as caught:
        data.mix(sets, **options)
    assert "\n" not in str(caught.value)
