import numpy as np
import pytest

from keras_transfer.core import checks
from keras_transfer.data.sources.scenes import COLOURS, SHAPES, TEXTURES, render_scenes, scenes


@pytest.fixture(scope="module")
def rendered():
    return render_scenes(120, image_size=48, seed=3, max_objects=5)


def test_data_holds_the_rendered_scenes():
    data = scenes(
        40,
        image_size=32,
        targets=("class", "count"),
        validation=0.25,
        test=0.25,
        batch_size=4,
        seed=2,
    )
    rendered = render_scenes(40, image_size=32, seed=2)
    assert data.class_names == {"class": list(SHAPES)}
    counts = np.concatenate(
        [data.targets[split]["count"] for split in ("train", "validation", "test")]
    )
    assert counts.dtype == np.float32
    assert sorted(counts.tolist()) == sorted(rendered["count"].tolist())
    known = {
        image.tobytes(): (c, n)
        for image, c, n in zip(*(rendered[k] for k in ("images", "class", "count")), strict=True)
    }
    for images, targets in data.train:
        for image, shape, count in zip(
            images.numpy(), targets["class"].numpy(), targets["count"].numpy(), strict=True
        ):
            assert known[image.astype(np.uint8).tobytes()] == (shape, count)


def test_one_target_is_no_dict():
    data = scenes(160, image_size=32, targets="colour", validation=None)
    assert data.class_names == list(COLOURS)
    assert data.targets["train"].tolist() == render_scenes(160, image_size=32)["colour"].tolist()


def test_an_unknown_target_is_refused():
    with pytest.raises(
        checks.InputError, match=r"`targets` must be one of 'class', .* Given: 'shape'"
    ):
        scenes(10, targets=("class", "shape"))


def test_same_arguments_give_the_same_bytes(rendered):
    again = render_scenes(120, image_size=48, seed=3, max_objects=5)
    other = render_scenes(120, image_size=48, seed=4, max_objects=5)
    assert all(np.array_equal(rendered[key], again[key]) for key in rendered)
    assert not np.array_equal(rendered["images"], other["images"])


@pytest.mark.parametrize("n", [1, 17, 64])
def test_a_scene_does_not_depend_on_how_many_follow(rendered, n):
    few = render_scenes(n, image_size=48, seed=3, max_objects=5)
    assert all(np.array_equal(rendered[key][:n], few[key]) for key in rendered)


def test_shapes_and_types(rendered):
    n, size, most = 120, 48, 5
    expected = {
        "images": ((n, size, size, 3), np.uint8),
        "class": ((n,), np.int64),
        "texture": ((n,), np.int64),
        "colour": ((n,), np.int64),
        "background": ((n,), np.int64),
        "count": ((n,), np.int64),
        "boxes": ((n, most, 4), np.float32),
        "box_classes": ((n, most), np.int64),
        "masks": ((n, size, size), np.uint8),
        "depth": ((n, size, size), np.float32),
    }
    assert {key: (value.shape, value.dtype) for key, value in rendered.items()} == expected


def test_every_label_occurs(rendered):
    many = render_scenes(304, image_size=32)
    for key, names in {
        "class": SHAPES,
        "texture": TEXTURES,
        "colour": COLOURS,
        "background": TEXTURES,
    }.items():
        assert set(many[key].tolist()) == set(range(len(names)))
    assert set(many["count"].tolist()) == {1, 2, 3, 4}
    assert np.bincount(many["class"]).tolist() == [304 // len(SHAPES)] * len(SHAPES)


def test_the_depth_to_predict_is_that_of_the_main_object():
    data = scenes(20, image_size=32, targets="depth", validation=None, seed=1)
    rendered = render_scenes(20, image_size=32, seed=1)
    places = {image.tobytes(): place for place, image in enumerate(rendered["images"])}
    examples = data.examples["train"]
    for row, target in zip(examples.rows, data.targets["train"], strict=True):
        place = places[examples.pixels.numpy()[row].tobytes()]
        x_min, y_min, x_max, y_max = rendered["boxes"][place, 0].astype(int)
        depth = rendered["depth"][place]
        assert target == depth[y_min:y_max, x_min:x_max].min() == depth.min()
    assert data.class_names is None


def test_count_is_the_number_of_boxes_and_padding_comes_last(rendered):
    present = rendered["box_classes"] >= 0
    assert np.array_equal(present.sum(1), rendered["count"])
    assert np.array_equal(present, np.arange(5) < rendered["count"][:, None])
    assert np.array_equal(rendered["boxes"] == -1, np.repeat(~present[..., None], 4, axis=2))


def test_class_is_that_of_the_nearest_object(rendered):
    assert np.array_equal(rendered["class"], rendered["box_classes"][:, 0])
    for mask, depth, shape in zip(
        rendered["masks"], rendered["depth"], rendered["class"], strict=True
    ):
        nearest = np.unravel_index(depth.argmin(), depth.shape)
        assert mask[nearest] == shape + 1


def test_boxes_are_tight_around_the_visible_pixels(rendered):
    for i, count in enumerate(rendered["count"]):
        depth = rendered["depth"][i]
        surfaces = np.unique(depth)  # an object has one depth, the background the last
        assert surfaces.size == count + 1
        for box, shape, surface in zip(
            rendered["boxes"][i], rendered["box_classes"][i], surfaces[:-1], strict=False
        ):
            rows, columns = np.nonzero(depth == surface)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert set(rendered["masks"][i][rows, columns].tolist()) == {shape + 1}


def test_the_background_is_farthest(rendered):
    assert np.array_equal(rendered["depth"] == 1, rendered["masks"] == 0)
    assert rendered["depth"].min() > 0
    assert rendered["depth"].max() == 1


def test_pixels_agree_with_the_colour_label():
    scenes = render_scenes(600, image_size=32, seed=1, max_objects=1)
    plain = scenes["texture"] == TEXTURES.index("plain")
    means = {}
    for name in ("red", "green", "blue"):
        chosen = np.flatnonzero(plain & (scenes["colour"] == COLOURS.index(name)))
        pixels = [scenes["images"][i][scenes["masks"][i] > 0].mean(0) for i in chosen]
        means[name] = np.mean(pixels, axis=0)
    for channel, mean in enumerate(means.values()):
        assert mean[channel] > np.delete(mean, channel).max() + 40  # of 255


def test_the_main_object_is_painted_last():
    scenes = render_scenes(320, image_size=48, seed=5)
    chosen = np.flatnonzero((scenes["texture"] == TEXTURES.index("plain")) & (scenes["count"] > 1))
    assert chosen.size > 20
    spread = []
    for i in chosen:
        inside = scenes["depth"][i] == scenes["depth"][i].min()
        inside[1:-1, 1:-1] &= (
            inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
        )
        spread.append(scenes["images"][i][inside].std(0).max())
    assert np.quantile(spread, 0.9) < 20  # of 255: only light and grain vary on a plain surface


def test_the_outline_agrees_with_the_class():
    scenes = render_scenes(400, image_size=64, seed=2, max_objects=1)
    area = (scenes["masks"] > 0).sum((1, 2))
    extent = np.prod(scenes["boxes"][:, 0, 2:] - scenes["boxes"][:, 0, :2], axis=1)
    filled = {name: (area / extent)[scenes["class"] == c].mean() for c, name in enumerate(SHAPES)}
    assert filled["circle"] == pytest.approx(np.pi / 4, abs=0.04)  # a disc in its box
    # ring 0.49 to 0.95 of the radius: (0.95^2 - 0.49^2) pi / 4 / 0.95^2
    assert filled["ring"] == pytest.approx(0.576, abs=0.04)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"n": 0}, r"`n` must be .* Given: 0"),
        ({"n": 1, "image_size": 8}, r"`image_size` must be .* Given: 8"),
        ({"n": 1, "max_objects": 0}, r"`max_objects` must be .* Given: 0"),
        ({"n": 1, "seed": -1}, r"`seed` must be .* Given: -1"),
    ],
)
def test_errors_name_the_argument(arguments, text):
    with pytest.raises(checks.InputError, match=text):
        render_scenes(**arguments)


def test_boxes_masks_and_depths_are_targets_too():
    data = scenes(
        32, image_size=32, targets=("class", "boxes", "mask", "depth_map"), validation=None
    )
    rendered = render_scenes(32, image_size=32)
    targets = data.targets["train"]
    there = rendered["box_classes"] >= 0
    rows = np.asarray(targets["boxes"])
    np.testing.assert_allclose(rows[there][:, :4], rendered["boxes"][there])
    assert rows[there][:, 4].tolist() == rendered["box_classes"][there].tolist()
    np.testing.assert_array_equal(targets["mask"], rendered["masks"])
    np.testing.assert_allclose(targets["depth_map"], rendered["depth"][..., None])
    assert data.class_names["mask"] == ["background", *SHAPES]
