"""Boxes, masks and target pictures follow their pictures, for every change and every mixture."""

import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.core import checks
from keras_transfer.data.changes import augment, blending, boxes, draws, mosaics, places, warping

COUNT, HEIGHT, WIDTH = 6, 24, 32
LEVELS = np.array(
    [40, 80, 120, 160, 200, 240], "float32"
)  # the brightness of an object tells its class
MOVES = {
    "flip": {"flip": "both"},
    "crop": {"crop": 0.5},
    "zoom": {"zoom": 0.4},
    "rotation": {"rotation": 0.12},
    "translation": {"translation": 0.3},
    "randaugment": {"randaugment": 3},
    "all": {"flip": True, "crop": 0.6, "zoom": 0.2, "rotation": 0.1, "translation": 0.1},
}
UPRIGHT = ("flip", "crop", "zoom", "translation")


def scenes(seed=0):
    """Pictures of one bright object each, its class another one in each, with its box, mask, and the picture again."""
    rng = np.random.default_rng(seed)
    images = np.zeros((COUNT, HEIGHT, WIDTH, 1), "float32")
    masks = np.zeros((COUNT, HEIGHT, WIDTH), "uint8")
    found = np.tile(np.array([0, 0, 0, 0, -1, 0], "float32"), (COUNT, 2, 1))
    for at in range(COUNT):
        x, y = rng.integers(2, WIDTH - 14), rng.integers(2, HEIGHT - 12)
        w, h = rng.integers(6, 12, 2)
        images[at, y : y + h, x : x + w] = LEVELS[at]
        masks[at, y : y + h, x : x + w] = 1 + at
        found[at, 0] = [x, y, x + w, y + h, at, 0]
    targets = {
        "boxes": found,
        "mask": masks,
        "depth": images / 10,
        "picture": images.astype("uint8"),
    }
    return images, targets


def changed(changes, images, targets, weights=None, seed=0, **options):
    element = (images, targets) if weights is None else (images, targets, weights)
    batch = augment.Augment(**changes).batch(element, seed=seed, **options)
    return tf.nest.map_structure(lambda values: values.numpy(), batch)


def inner(mask, value):
    """Pixels of a class whose eight neighbours are of it, too: there the picture is no mean of two things."""
    is_class = np.pad(mask == value, 1)
    shifts = [
        is_class[1 + dy : 1 + dy + HEIGHT, 1 + dx : 1 + dx + WIDTH]
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    ]
    return np.all(shifts, axis=0)


def check_agreement(images, targets, *, upright, recoloured=False):
    """Picture, mask, target pictures and boxes show each object in one place."""
    seen = 0
    for image, mask, depth, copy, rows in zip(
        images[..., 0], targets["mask"], targets["depth"][..., 0], targets["picture"][..., 0],
        targets["boxes"], strict=True,
    ):  # fmt: skip
        for number, level in enumerate(LEVELS):
            middle = inner(mask, 1 + number)
            if not recoloured:
                np.testing.assert_allclose(image[middle], level, atol=0.02)
            np.testing.assert_allclose(copy[middle], level)
            np.testing.assert_allclose(depth[mask == 1 + number], level / 10, rtol=1e-6)
            own = rows[(rows[:, 4] == number) & (rows[:, 5] == 0)]
            ys, xs = np.nonzero(mask == 1 + number)
            if len(own) == 1 and len(ys):
                hull = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
                difference = hull - own[0, :4]
                assert (difference[:2] > -1.01).all(), (hull, own)
                assert (difference[2:] < 1.01).all(), (hull, own)
                if upright:
                    assert np.abs(difference).max() <= 1.01, (hull, own)
                seen += 1
            elif len(own) == 0:  # out of sight, or nearly
                assert not middle.any() or (rows[:, 4] == number).any()
    return seen


@pytest.mark.parametrize("name", MOVES)
def test_one_draw_moves_all(name):
    images, targets = scenes()
    seen = 0
    for seed in range(3):
        shown, moved = changed(MOVES[name], images, targets, seed=seed)
        seen += check_agreement(
            shown, moved, upright=name in UPRIGHT, recoloured=name == "randaugment"
        )
        assert tf.nest.map_structure(np.shape, moved) == tf.nest.map_structure(np.shape, targets)
    assert seen > 6


def test_without_boxes_edges_are_mirrored_in_all():
    images, targets = scenes()
    del targets["boxes"]
    shown, moved = changed(MOVES["all"] | {"translation": 0.4}, images, targets)
    assert moved["mask"].max() <= COUNT
    for at in range(COUNT):
        middle = inner(moved["mask"][at], 1 + at)
        np.testing.assert_allclose(shown[at, ..., 0][middle], LEVELS[at], atol=0.02)
        np.testing.assert_allclose(moved["depth"][at, ..., 0][middle], LEVELS[at] / 10, rtol=1e-6)


def test_with_boxes_edges_are_grey_and_unknown():
    images, targets = scenes()
    shown, moved = changed({"zoom": 0.6, "translation": 0.3}, images, targets)
    beyond = moved["mask"] == 255
    assert 0.05 < beyond.mean() < 0.9
    np.testing.assert_array_equal(shown[beyond], augment.GREY)
    np.testing.assert_array_equal(moved["picture"][beyond], augment.GREY)
    np.testing.assert_array_equal(moved["depth"][beyond], 0)


def slow_boxes(rows, matrix):
    """By definition: the hull of the moved corners, cut off; the share of it that is left."""
    inverse = np.linalg.inv(np.asarray(matrix, "float64"))
    middle = np.array([WIDTH / 2, HEIGHT / 2])
    result = []
    for x1, y1, x2, y2, number, ignored in rows:
        places_of = [
            (inverse @ [x - middle[0], y - middle[1], 1])[:2] + middle
            for x in (x1, x2)
            for y in (y1, y2)
        ]
        low, high = np.min(places_of, axis=0), np.max(places_of, axis=0)
        cut_low, cut_high = np.clip(low, 0, [WIDTH, HEIGHT]), np.clip(high, 0, [WIDTH, HEIGHT])
        area = np.prod(high - low)
        share = np.prod(cut_high - cut_low) / area if area > 0 else 0
        if number < 0 or share <= 0:
            result.append([0, 0, 0, 0, -1, 0])
        else:
            result.append([*cut_low, *cut_high, number, max(ignored, float(share < 0.1))])
    return result


@pytest.mark.parametrize("name", MOVES)
def test_moves_equal_the_slow_loops(name):
    targets = scenes(1)[1]
    targets["boxes"][:, 1] = [1, 1, 9, 5, 3, 1]
    changes = augment.Augment(**MOVES[name])
    numbers = draws.Draws((0, 7), COUNT)
    policy = []
    if changes.randaugment:
        policy = augment.policies.draw(3, COUNT, seed=numbers.key("randaugment"))
    how = changes._move(numbers, tf.constant([HEIGHT, WIDTH]), policy, has_boxes=True)
    moved = boxes.move(tf.constant(targets["boxes"]), how).numpy()
    expected = [
        slow_boxes(*pair) for pair in zip(targets["boxes"], how.matrices.numpy(), strict=True)
    ]
    np.testing.assert_allclose(moved, expected, atol=2e-3)

    masks = augment.places.planes.move(tf.constant(targets["mask"]), how).numpy()
    middle = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
    compared = 0
    for at, matrix in enumerate(how.matrices.numpy().astype("float64")):
        for row, column in np.ndindex(HEIGHT, WIDTH):
            x, y = (matrix @ [column - middle[0], row - middle[1], 1])[:2] + middle
            if min(abs(x % 1 - 0.5), abs(y % 1 - 0.5)) < 1e-3:
                continue  # between two pixels
            i, j = round(y), round(x)
            if -0.5 <= y <= HEIGHT - 0.5 and -0.5 <= x <= WIDTH - 0.5:
                # Whether the outer half of an edge's pixels is within the picture, two operations see differently.
                is_edge = not (0 <= y <= HEIGHT - 1 and 0 <= x <= WIDTH - 1)
                assert masks[at, row, column] == targets["mask"][at, i, j] or (
                    is_edge and masks[at, row, column] == 255
                )
            else:
                assert masks[at, row, column] == 255
            compared += 1
    assert compared > 0.9 * masks.size


def test_what_is_erased_is_unknown():
    images, targets = scenes()
    shown, moved = changed({"erase": 1.0}, images, targets, seed=4)
    hidden = moved["mask"] == 255
    assert (shown[hidden] != images[hidden]).mean() > 0.95
    np.testing.assert_array_equal(shown[~hidden], images[~hidden])
    np.testing.assert_array_equal(moved["picture"], targets["picture"])
    np.testing.assert_array_equal(moved["depth"], np.where(hidden[..., None], 0, targets["depth"]))
    for at in range(COUNT):
        box, row = targets["boxes"][at, 0], moved["boxes"][at, 0]
        x1, y1, x2, y2 = box[:4].astype(int)
        visible = ~hidden[at, y1:y2, x1:x2]
        if visible.mean() >= 0.1:
            ys, xs = np.nonzero(visible)
            hull = [x1 + xs.min(), y1 + ys.min(), x1 + xs.max() + 1, y1 + ys.max() + 1]
            np.testing.assert_array_equal(row, [*hull, at, 0])
        else:
            assert (row[5] == 1) == (visible.sum() > 0)
            assert (row[4] == -1) == (visible.sum() == 0)


@pytest.mark.parametrize(
    "changes", [{"cutmix": 1.0}, {"mosaic": 1.0}, {"mosaic": 0.5, "cutmix": 1.0}]
)
def test_mixtures_show_all_in_one_place(changes):
    images, targets = scenes()
    targets["class"] = np.arange(COUNT)
    shares = np.zeros(COUNT)
    for seed in range(3):
        shown, moved = changed(changes, images, targets, seed=seed, classes={"class": COUNT})
        assert check_agreement(shown, moved, upright=False) >= 4
        np.testing.assert_allclose(moved["class"].sum(axis=1), 1, rtol=1e-5)
        assert moved["boxes"].shape == (COUNT, 8 if "mosaic" in changes else 4, 6)
        shares += (moved["class"] > 0).sum(axis=1)
    assert shares.max() > 3


def test_mosaics_shrink_pictures_into_four_tiles():
    """Pictures that tell where they were: the values of each tile are a ramp with the tile's slope."""
    ramp = np.broadcast_to(
        np.arange(WIDTH, dtype="float32")[None, None, :, None], (COUNT, HEIGHT, WIDTH, 1)
    )
    layout = mosaics.draw(tf.constant([HEIGHT, WIDTH]), COUNT, seed=(0, 3))
    shown = mosaics.show(tf.constant(ramp), layout).numpy()
    assert sum(int(tile.height * tile.width) for tile in layout.tiles) == HEIGHT * WIDTH
    for tile in layout.tiles:
        top, left, height, width = (int(value) for value in tile[:4])
        scale = max(height / HEIGHT, width / WIDTH)
        np.testing.assert_allclose(tile.scale, scale, rtol=1e-6)
        for at in range(COUNT):
            part = shown[at, top : top + height, left : left + width, 0]
            columns = tile.offset.numpy()[at, 0] + (np.arange(width) + 0.5) / scale - 0.5
            np.testing.assert_allclose(part, np.broadcast_to(columns, part.shape), atol=1e-3)


def test_mixup_has_the_boxes_of_both():
    targets = scenes()[1]
    partners, shares = (
        tf.constant([1, 0, 2, 4, 5, 3]),
        tf.constant([0.5, 0.95, 0.3, 0.02, 0.0, 1.0]),
    )
    mixed = boxes.mixup(tf.constant(targets["boxes"]), partners, shares).numpy()
    classes, ignored = mixed[..., 4], mixed[..., 5]
    np.testing.assert_array_equal(
        classes,
        [
            [0, -1, 1, -1],
            [1, -1, 0, -1],
            [2, -1, -1, -1],
            [3, -1, 4, -1],
            [-1, -1, 5, -1],
            [5, -1, -1, -1],
        ],
    )
    np.testing.assert_array_equal(np.argwhere(ignored), [[1, 2], [3, 0]])
    np.testing.assert_array_equal(mixed[0, 2, :4], targets["boxes"][1, 0, :4])


def test_missing_labels_stay_missing():
    """A mixture with a part without boxes has none; one with a part without a mask has an unknown part."""
    images, targets = scenes()
    targets = {
        "boxes": targets["boxes"],
        "mask": targets["mask"],
        "age": np.arange(COUNT, dtype="float32"),
    }
    targets["boxes"][:3] = [0, 0, 0, 0, -1, 0]
    targets["mask"][:3] = 255
    missing = np.array([0, 0, 0, 1, 1, 1], "float32")
    weights = dict.fromkeys(targets, missing)
    for changes in ({"cutmix": 1.0}, {"mosaic": 1.0}):
        _, moved, new = changed(changes, images, targets, weights, seed=1)
        area = (moved["mask"] != 255).mean(axis=(1, 2))
        np.testing.assert_allclose(new["mask"], area, atol=1e-5)
        np.testing.assert_allclose(new["age"], area, atol=1e-5)
        np.testing.assert_allclose(new["boxes"], np.where(area > 0.999, area, 0), atol=1e-5)
        _, _, common = changed(changes, images, targets, missing, seed=1)
        np.testing.assert_allclose(common, new["boxes"])
        moved_only, kept = changed({"flip": True, "crop": 0.5}, images, targets, weights)[1:]
        np.testing.assert_array_equal(kept["boxes"], missing)
        assert (moved_only["mask"][:3] == 255).all()
        assert (moved_only["boxes"][:3, :, 4] == -1).all()


def test_one_thread_and_eight_see_the_same():
    images, targets = scenes()
    changes = augment.Augment(flip=True, rotation=0.1, erase=0.5, cutmix=1.0)
    source = tf.data.Dataset.from_tensors((images, targets)).repeat(6)
    passes = []
    for threads in (1, 8):
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        dataset = changes.apply(source, seed=5).with_options(options)
        passes.append([list(dataset) for _ in range(2)])
    for one, other in zip(*map(tf.nest.flatten, passes), strict=True):
        np.testing.assert_array_equal(one, other)
    alone = changes.batch((images, targets), seed=5, number=1, place=3)
    for one, other in zip(*map(tf.nest.flatten, (passes[0][1][3], alone)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_targets_that_hold_for_the_whole_picture_stay():
    images, targets = scenes()
    kept = changed({"crop": 0.5}, images, targets, moving=("mask",))[1]
    np.testing.assert_array_equal(kept["boxes"], targets["boxes"])
    assert (kept["mask"] != targets["mask"]).any()
    alone = changed({"crop": 0.5}, images, targets["mask"], moving=())[1]
    np.testing.assert_array_equal(alone, targets["mask"])


@pytest.mark.parametrize(
    ("targets", "changes", "moving", "message"),
    [
        (
            {"mask": (24, 32)},
            {"mixup": 0.2},
            None,
            "`mixup` must be 0 where targets are masks .* Use `cutmix`",
        ),
        (
            {"mask": (12, 16)},
            {"flip": True},
            None,
            "'mask' must be 24 x 32 pixels, .* Given: 12 x 16",
        ),
        ({"points": (5,)}, {"flip": True}, ("points",), "'points' must be boxes"),
    ],
)
def test_wrong_targets(targets, changes, moving, message):
    values = {name: np.zeros((COUNT, *shape), "uint8") for name, shape in targets.items()}
    dataset = tf.data.Dataset.from_tensors((scenes()[0], values))
    with pytest.raises(checks.InputError, match=message):
        augment.Augment(**changes).apply(dataset, seed=0, moving=moving)


def test_a_patch_over_all_of_a_side_narrows_a_box():
    box = tf.constant([[[2.0, 2.0, 10.0, 6.0, 1.0, 0.0]]])
    cases = {
        (0, 0, 8, 4): [4, 2, 10, 6, 1, 0],
        (0, 4, 8, 6): [2, 2, 10, 6, 1, 0],  # in the middle
        (3, 0, 8, 12): [2, 2, 10, 3, 1, 0],
        (0, 0, 5, 4): [2, 2, 10, 6, 1, 0],  # a corner
        (0, 0, 8, 9.5): [9.5, 2, 10, 6, 1, 1],  # hardly seen
        (2, 2, 6, 10): [0, 0, 0, 0, -1, 0],
        (7, 0, 8, 12): [2, 2, 10, 6, 1, 0],
    }
    for patch, expected in cases.items():
        np.testing.assert_array_equal(
            boxes.cover(box, tf.constant([patch], tf.float32))[0, 0], expected
        )


def test_label_weights_of_parts():
    assert blending.kept(tf.constant([[0, 0, 0, 0]]), size=(8, 8)).numpy().tolist() == [1.0]
    kinds = places.find(
        {"m": tf.TensorSpec((None, 8, 8), tf.int32), "o": tf.TensorSpec((None, 8, 3))}
    )
    assert list(kinds) == ["m"]
    assert warping.Move(None, None, True, None).fill is None
