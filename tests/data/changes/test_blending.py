import numpy as np
import pytest
import tensorflow as tf

from keras_transfer import losses
from keras_transfer.core import checks
from keras_transfer.data.changes import augment, blending, places

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0, 255, (6, 7, 9, 3)).astype("float32")
PARTNERS = np.array([3, 0, 2, 1, 5, 4])
SHARES = tf.constant(RNG.uniform(0, 1, 6), tf.float32)
IDS = np.array([0, 2, 1, 2, 0, 1])
PARTS = blending.pair(PARTNERS, SHARES)
PROBABILITIES = RNG.dirichlet(np.ones(3), 6).astype("float32")


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_are_beta(alpha):
    drawn = blending.beta(alpha, 20000, seed=(0, 1)).numpy()
    assert abs(drawn.mean() - 0.5) < 0.01
    assert abs(drawn.var() - 1 / (4 * (2 * alpha + 1))) < 0.005
    np.testing.assert_array_equal(drawn, blending.beta(alpha, 20000, seed=(0, 1)))


def test_a_tiny_alpha_is_all_or_nothing():
    drawn = blending.beta(1e-4, 2000, seed=(0, 1)).numpy()
    assert ((drawn < 1e-3) | (drawn > 1 - 1e-3)).mean() > 0.99
    assert abs(drawn.mean() - 0.5) < 0.05


def test_mixup_by_definition():
    mixed = blending.mixup(tf.constant(IMAGES), PARTNERS, SHARES).numpy()
    for at, (partner, share) in enumerate(zip(PARTNERS, SHARES.numpy(), strict=True)):
        np.testing.assert_allclose(
            mixed[at], share * IMAGES[at] + (1 - share) * IMAGES[partner], rtol=1e-5
        )


def test_cutmix_by_definition():
    centres = RNG.random((6, 2)).astype("float32")
    height, width = IMAGES.shape[1:3]
    patches = blending.cuts(SHARES, centres, size=(height, width))
    mixed = blending.paste(tf.constant(IMAGES), IMAGES[PARTNERS], patches)
    kept = blending.kept(patches, size=(height, width))
    for at, share in enumerate(SHARES.numpy()):
        cut = [int(np.rint(side * np.sqrt(1 - share))) for side in (height, width)]
        begin = [
            int(c * side) - n // 2
            for c, side, n in zip(centres[at], (height, width), cut, strict=True)
        ]
        expected, pixels = IMAGES[at].copy(), 0
        for row in range(max(begin[0], 0), min(begin[0] + cut[0], height)):
            for column in range(max(begin[1], 0), min(begin[1] + cut[1], width)):
                expected[row, column] = IMAGES[PARTNERS[at], row, column]
                pixels += 1
        np.testing.assert_array_equal(mixed[at], expected)
        np.testing.assert_allclose(kept[at], 1 - pixels / (height * width), atol=1e-6)


def test_cutmix_keeps_about_the_share_it_is_given():
    shares = blending.beta(1.0, 3000, seed=(0, 2))
    centres = tf.fill((3000, 2), 0.5)
    kept = blending.kept(blending.cuts(shares, centres, size=(32, 32)), size=(32, 32))
    np.testing.assert_allclose(kept, shares, atol=0.05)


@pytest.mark.parametrize(
    ("sides", "centre", "found"),
    [(0.0, 0.5, [4, 4, 4, 4]), (1.0, 0.5, [0, 0, 8, 8]), (0.5, 0.99, [5, 5, 8, 8])],
)
def test_patches_end_at_the_edges(sides, centre, found):
    assert blending.patches(
        tf.fill((1, 2), sides), tf.fill((1, 2), centre), size=(8, 8)
    ).numpy().tolist() == [found]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, {"label_smoothing": 0.1}, {"label_smoothing": 0.1, "class_weights": [0.5, 3.0, 1.0]}],
)
def test_the_loss_of_a_mixture_is_the_mixture_of_losses(options, weighted):
    weights = np.array([1.0, 0.0, 2.0, 0.5, 0.0, 0.0], "float32") if weighted else None
    loss = losses.Crossentropy(reduction="none", **options)
    mixed, new = blending.mix_targets(tf.constant(IDS), weights, PARTS, classes=3)
    assert mixed.shape == (6, 3)
    assert (new is None) == (weights is None)
    found = loss(mixed, PROBABILITIES).numpy() * (1 if new is None else new.numpy())
    own = np.ones(6) if weights is None else weights
    one, other = (
        loss(IDS, PROBABILITIES).numpy() * own,
        loss(IDS[PARTNERS], PROBABILITIES).numpy() * own[PARTNERS],
    )
    np.testing.assert_allclose(found, SHARES * one + (1 - SHARES) * other, rtol=1e-6, atol=1e-6)


def test_numbers_are_interpolated_and_missing_ones_left_out():
    numbers = np.array([1.0, np.nan, 5.0, 7.0, np.nan, np.nan], "float32")
    weights = np.array([1.0, 0.0, 1.0, 3.0, 0.0, 0.0], "float32")
    s = SHARES.numpy()
    mixed, new = blending.mix_targets(tf.constant(numbers), weights, PARTS)
    between = (s[0] * 1 + (1 - s[0]) * 3 * 7) / (s[0] + 3 * (1 - s[0]))
    np.testing.assert_allclose(mixed, [between, 1, 5, 7, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(new, [s[0] + 3 * (1 - s[0]), 1 - s[1], 1, 3 * s[3], 0, 0], rtol=1e-5)
    plain, nothing = blending.mix_targets(
        tf.constant([[1.0], [3.0]]), None, blending.pair([1, 0], tf.constant([0.25, 1.0]))
    )
    np.testing.assert_allclose(plain, [[2.5], [3.0]])
    assert nothing is None


def test_ids_columns_and_distributions_agree():
    mixed = [
        blending.mix_targets(tf.constant(targets), None, PARTS, classes=3)[0]
        for targets in (
            IDS,
            IDS[:, None],
            np.eye(3, dtype="float32")[IDS],
            np.eye(3, dtype="int32")[IDS],
        )
    ]
    for other in mixed[1:]:
        np.testing.assert_array_equal(other, mixed[0])
    np.testing.assert_allclose(tf.reduce_sum(mixed[0], -1), 1, rtol=1e-6)


def test_a_dict_of_targets():
    targets = {"kind": tf.constant(IDS), "size": tf.constant(IDS, tf.float32)}
    weights = {"kind": np.array([1, 1, 0, 1, 1, 0], "float32")}
    mixed, new = places.mix(targets, weights, {}, PARTS, None, classes={"kind": 3})
    kind, own = blending.mix_targets(targets["kind"], weights["kind"], PARTS, classes=3)
    np.testing.assert_array_equal(mixed["kind"], kind)
    np.testing.assert_array_equal(
        mixed["size"], blending.mix_targets(targets["size"], None, PARTS)[0]
    )
    assert list(new) == ["kind"]
    np.testing.assert_array_equal(new["kind"], own)
    one = places.mix(targets, weights["kind"], {}, PARTS, None, classes={"kind": 3})[1]
    np.testing.assert_array_equal(one, own)


def test_a_class_id_out_of_range_is_seen():
    mixed = blending.mix_targets(
        tf.constant([0, 3]), None, blending.pair([1, 0], tf.constant([0.5, 0.5])), classes=3
    )[0]
    assert np.isnan(mixed).all()


@pytest.mark.parametrize(
    "changes", [{"mixup": 1.0}, {"cutmix": 1.0}, {"mixup": 1.0, "cutmix": 1.0}]
)
def test_pictures_and_targets_are_mixed_alike(changes):
    """Images of class 1 are white, the others black: how white an image is says what its target must be."""
    ids = RNG.integers(0, 2, 64)
    images = np.broadcast_to(255.0 * ids[:, None, None, None], (64, 16, 16, 3)).astype("float32")
    weights = np.ones(64, "float32")
    dataset = tf.data.Dataset.from_tensor_slices((images, ids, weights)).batch(8)
    dataset = augment.Augment(flip=True, **changes).apply(dataset, seed=0, classes=2)
    assert dataset.element_spec[1] == tf.TensorSpec((None, 2), tf.float32)
    blended = []
    for pictures, targets, new in dataset:
        np.testing.assert_allclose(
            tf.reduce_mean(pictures, (1, 2, 3)) / 255, targets[:, 1], atol=1e-5
        )
        np.testing.assert_allclose(new, 1, rtol=1e-6)
        blended.append(bool(((pictures.numpy() > 1) & (pictures.numpy() < 254)).any()))
        assert ((targets[:, 1] > 0) & (targets[:, 1] < 1)).numpy().any()
    assert set(blended) == {"mixup" in changes, "cutmix" not in changes}


@pytest.mark.parametrize(
    ("spec", "classes", "message"),
    [
        (tf.TensorSpec((None,), tf.int64), None, "Say `classes=n`"),
        ({"kind": tf.TensorSpec((None,), tf.int64)}, {}, 'Say `classes={"kind": n}`'),
        (tf.TensorSpec((None, 8, 8), tf.int64), 3, "targets must have shape"),
        (tf.TensorSpec((None,), tf.string), None, "must be numbers, or class ids"),
        ({"kind": tf.TensorSpec((None,), tf.int64)}, 3, "`classes` must be a dict"),
        (tf.TensorSpec((None,), tf.int64), {"kind": 3}, "`classes` must be a number"),
        (
            {"kind": tf.TensorSpec((None,), tf.int64)},
            {"kin": 3},
            "`classes` must have names among 'kind'",
        ),
        (tf.TensorSpec((None,), tf.int64), 1, "`classes` must be a whole number of at least 2"),
    ],
)
def test_targets_that_cannot_be_mixed(spec, classes, message):
    with pytest.raises(checks.InputError, match=message):
        blending.check_targets(spec, classes)


def test_targets_that_can_be_mixed():
    blending.check_targets(
        {"kind": tf.TensorSpec((None,), tf.int64), "age": tf.TensorSpec((None,), tf.float32)},
        {"kind": 3},
    )
    blending.check_targets(tf.TensorSpec((None, 4), tf.float32), None)
