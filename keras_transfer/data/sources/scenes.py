"""Rendered scenes of textured, coloured, overlapping shapes, with a label for every kind of head.

Nearer objects are larger, cover farther ones and stand out more, since distance fades colours into the
background's; so class, number, boxes, masks and depth can all be told from the pixels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_transfer.core import checks
from keras_transfer.data import base
from keras_transfer.data.sources import arrays

__all__ = ["COLOURS", "SHAPES", "TEXTURES", "render_scenes", "scenes"]

COLOURS = (
    "red",
    "orange",
    "yellow",
    "green",
    "cyan",
    "blue",
    "purple",
    "brown",
    "white",
    "grey",
    "black",
)
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "crescent", "heart")
TEXTURES = ("plain", "stripes", "checks", "dots", "noise", "gradient")

_NAMES = {"class": SHAPES, "texture": TEXTURES, "colour": COLOURS, "background": TEXTURES}
_NUMBERS = {
    "count": lambda rendered: rendered["count"].astype(np.float32),
    "depth": lambda rendered: rendered["depth"].min(axis=(1, 2)),
}
_KINDS = {"boxes": "boxes", "mask": "mask", "depth_map": "image"}  # those that have places
_RGB = np.array(
    [
        (0.85, 0.12, 0.12), (0.95, 0.52, 0.10), (0.95, 0.88, 0.15), (0.15, 0.62, 0.20), (0.20, 0.80, 0.85),
        (0.15, 0.25, 0.80), (0.58, 0.20, 0.70), (0.45, 0.27, 0.12), (0.96, 0.96, 0.96), (0.52, 0.52, 0.52),
        (0.06, 0.06, 0.06),
    ],
    np.float32,
)  # fmt: skip
_BLOCK = 16  # scenes of one random stream: a multiple of the shapes, small enough for the processor's cache
_GRID = 7  # points of the coarse noise in each direction
_NEAR, _FAR, _BACKGROUND = 0.1, 0.8, 1.0  # depths
_VISIBLE = 0.35  # share of an object that must stay in sight


def scenes(
    n: int = 1000,
    *,
    image_size: int = 64,
    targets: str | Sequence[str] = "class",
    validation: float | None = 0.2,
    test: float | None = None,
    batch_size: int = 32,
    seed: int = 0,
    max_objects: int = 4,
) -> base.Data:
    """Renders scenes of overlapping shapes and splits them.

    Args:
        n: Number of scenes, all splits together.
        image_size: Height and width in pixels, at least 32.
        targets: "class" (the nearest object's shape), "texture" or "colour" (of the nearest object), "background" (its
            texture), "count" (objects in sight) and "depth" (of the nearest object; smaller is nearer), numbers to
            predict, "boxes" (of all objects, whose classes are shapes), "mask" (the shape at every pixel, or
            background), "depth_map" (the depth at every pixel), or several of them for a dict of targets.
        validation: Share to hold out for validation.
        test: Share to hold out for testing.
        batch_size: Images in a batch.
        seed: Chooses the scenes, the splits and the orders.
        max_objects: Largest number of objects in a scene.

    Raises:
        InputError: If a target is unknown or a number is out of range.

    Example:
        >>> scenes(80, image_size=32)
        Data(train=64, validation=16, classes=8, image_size=32x32, batch_size=32)
    """
    chosen = [targets] if isinstance(targets, str) else list(targets)
    for name in chosen:
        checks.choice(name, (*_NAMES, *_NUMBERS, *_KINDS), name="targets")
    rendered = render_scenes(n, image_size=image_size, seed=seed, max_objects=max_objects)
    places = {"boxes": _list_boxes, "mask": lambda r: r["masks"], "depth_map": _maps_of_depth}
    labels: Any = {}
    for name in chosen:
        read = {**_NUMBERS, **places}.get(name)
        labels[name] = rendered[name] if read is None else read(rendered)
    all_names = {**_NAMES, "boxes": SHAPES, "mask": ("background", *SHAPES)}
    names: Any = {name: all_names[name] for name in chosen if name in all_names}
    kinds: Any = {name: _KINDS[name] for name in chosen if name in _KINDS}
    if isinstance(targets, str):
        labels, names, kinds = labels[targets], names.get(targets), kinds.get(targets)
    return arrays.from_arrays(
        rendered["images"],
        labels,
        class_names=names,
        targets=kinds or None,
        validation=validation,
        test=test,
        batch_size=batch_size,
        seed=seed,
    )


def _list_boxes(rendered: dict[str, np.ndarray]) -> list[dict]:
    """Returns the boxes of each scene and their shapes, as `from_arrays` takes them."""
    labels = []
    for boxes, classes in zip(rendered["boxes"], rendered["box_classes"], strict=True):
        there = classes >= 0
        labels.append({"boxes": boxes[there].tolist(), "labels": classes[there].tolist()})
    return labels


def _maps_of_depth(rendered: dict[str, np.ndarray]) -> np.ndarray:
    return rendered["depth"][..., None]


def render_scenes(
    n: int, *, image_size: int = 64, seed: int = 0, max_objects: int = 4
) -> dict[str, np.ndarray]:
    """Renders `n` scenes of one to `max_objects` shapes and labels them.

    The same arguments give the same bytes, and scene i does not depend on `n`. An object of which
    nearer ones would hide too much is left out, so every labelled object can be seen. Each run of 16
    scenes has every class twice.

    Args:
        n: Number of scenes.
        image_size: Height and width in pixels, at least 32.
        seed: Chooses the scenes.
        max_objects: Largest number of objects in a scene.

    Returns:
        Arrays with one row a scene. Objects are listed from near to far; the nearest, which nothing covers, is the
        main one.

        - `images`: uint8 (n, h, w, 3).
        - `class`, `texture`, `colour`: int64 (n,), the main object's place in `SHAPES`, `TEXTURES` and `COLOURS`.
        - `background`: int64 (n,), the background's place in `TEXTURES`.
        - `count`: int64 (n,), objects in sight.
        - `boxes`: float32 (n, max_objects, 4), x_min, y_min, x_max, y_max in pixels around the visible part of an
          object (the maximum is exclusive), -1 where there is no object.
        - `box_classes`: int64 (n, max_objects), places in `SHAPES`, -1 where there is no object.
        - `masks`: uint8 (n, h, w), 0 for the background, else 1 + the place in `SHAPES`.
        - `depth`: float32 (n, h, w), 1 for the background, smaller is nearer.

    Raises:
        InputError: If an argument is out of range.

    Example:
        >>> scenes = render_scenes(2, image_size=32)
        >>> scenes["images"].shape, scenes["boxes"].shape
        ((2, 32, 32, 3), (2, 4, 4))
    """
    checks.integer(n, name="n")
    checks.integer(image_size, name="image_size", minimum=32)  # the smallest shapes still show
    checks.integer(seed, name="seed", minimum=0)
    checks.integer(max_objects, name="max_objects")
    blocks = [
        _block(np.random.default_rng((seed, number)), image_size, max_objects)
        for number in range(-(-n // _BLOCK))
    ]
    scenes = {}
    for key in blocks[0]:
        scenes[key] = np.concatenate([block[key] for block in blocks])[:n]
    return scenes


def _block(rng: np.random.Generator, size: int, max_objects: int) -> dict[str, np.ndarray]:
    shape = (_BLOCK, max_objects)
    wanted = rng.integers(1, max_objects + 1, _BLOCK)
    depth = np.sort(rng.uniform(_NEAR, _FAR, shape), axis=1)
    radius = (0.36 - 0.28 * depth) * rng.uniform(0.9, 1.1, shape)  # in image sizes
    centre = (
        rng.uniform(0, 1, (*shape, 2)) * (1 - 1.4 * radius[..., None]) + 0.7 * radius[..., None]
    )
    angle = rng.uniform(0, 2 * np.pi, shape)
    kind, texture = rng.integers(len(SHAPES), size=shape), rng.integers(len(TEXTURES), size=shape)
    kind[:, 0] = rng.permutation(_BLOCK) % len(SHAPES)  # few scenes already have every class
    background = rng.integers(len(TEXTURES), size=_BLOCK)
    colour, paints = _colours(rng, (_BLOCK, max_objects + 1))  # the last column is the background's
    haze = paints[:, -1:].mean(2, keepdims=True)
    clear = np.concatenate([1 - 0.55 * depth, np.full((_BLOCK, 1), 0.9)], axis=1)[..., None, None]
    paints = paints * clear + haze * (1 - clear)

    u, v = _local(centre.reshape(-1, 2), radius.ravel(), angle.ravel(), size)
    cover = np.clip(
        0.5 - _signed(kind.ravel(), u, v) * (radius.ravel() * size)[:, None, None], 0, 1
    )
    cover = cover.reshape(*shape, size, size).astype(np.float32)
    visible = _visible(cover >= 0.5, wanted)
    kept = np.any(visible, axis=(2, 3))

    everywhere = np.full(_BLOCK, 0.5)
    u, v = _local(np.full((_BLOCK, 2), 0.5), everywhere, rng.uniform(0, 2 * np.pi, _BLOCK), size)
    image = _paint(rng, background, u, v, everywhere, paints[:, -1])
    masks, depths = (
        np.zeros((_BLOCK, size, size), np.uint8),
        np.full((_BLOCK, size, size), _BACKGROUND, np.float32),
    )
    for k in reversed(range(max_objects)):  # far to near
        u, v = _local(centre[:, k], radius[:, k], rng.uniform(0, 2 * np.pi, _BLOCK), size)
        painted = _paint(rng, texture[:, k], u, v, radius[:, k], paints[:, k])
        image += (cover[:, k] * kept[:, k, None, None])[..., None] * (painted - image)
        masks = np.where(visible[:, k], (kind[:, k] + 1).astype(np.uint8)[:, None, None], masks)
        depths = np.where(visible[:, k], depth[:, k].astype(np.float32)[:, None, None], depths)

    order = np.argsort(~kept, axis=1, kind="stable")  # what is kept first, still near to far
    boxes, classes, colour, texture = (
        np.take_along_axis(values, order.reshape(*shape, *[1] * (values.ndim - 2)), axis=1)
        for values in (_boxes(visible), np.where(kept, kind, -1), colour[:, :-1], texture)
    )
    return {
        "images": _expose(rng, image),
        "class": classes[:, 0],
        "texture": texture[:, 0],
        "colour": colour[:, 0],
        "background": background,
        "count": kept.sum(1),
        "boxes": boxes,
        "box_classes": classes,
        "masks": masks,
        "depth": depths,
    }


def _colours(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Returns places in `COLOURS` (*shape) and the two paints of a texture (*shape, 2, 3), the first so coloured."""
    colour = rng.integers(len(COLOURS), size=shape)
    first = _RGB[colour] + rng.normal(0, 0.04, (*shape, 3))
    lighter = np.where(first.mean(-1, keepdims=True) < 0.5, 1.0, -1.0) * rng.uniform(
        0.15, 0.6, (*shape, 1)
    )
    related = first + lighter + rng.normal(0, 0.05, (*shape, 3))
    other = rng.uniform(0, 1, (*shape, 3))
    second = np.where(rng.random((*shape, 1)) < 0.6, related, other)
    return colour, np.clip(np.stack([first, second], -2), 0, 1).astype(np.float32)


def _local(
    centre: np.ndarray, radius: np.ndarray, angle: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns coordinates (objects, h, w) that are turned and in which the object has radius 1."""
    grid = (np.arange(size) + 0.5) / size
    x = (grid - centre[:, :1]) / radius[:, None]
    y = (grid - centre[:, 1:]) / radius[:, None]
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    along = [a.astype(np.float32) for a in (cos * x, sin * y, -sin * x, cos * y)]
    return along[0][:, None] + along[1][:, :, None], along[2][:, None] + along[3][:, :, None]


def _signed(kind: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Returns about the distance to the outline, negative inside, of the shape that `kind` names in each row."""
    result = np.empty_like(u)
    for number, name in enumerate(SHAPES):
        rows = kind == number
        if rows.any():
            result[rows] = _OUTLINES[name](u[rows], v[rows])
    return result


def _polygon(u: np.ndarray, v: np.ndarray, sides: int, apothem: float) -> np.ndarray:
    turns = 2 * np.pi * np.arange(sides) / sides
    return (
        np.maximum.reduce([u * np.float32(np.cos(a)) + v * np.float32(np.sin(a)) for a in turns])
        - apothem
    )


def _star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    # fold the plane into one half of a point: tip (1, 0), notch at radius 0.42
    step = np.float32(2 * np.pi / 5)
    angle = np.abs(np.mod(np.arctan2(v, u), step) - step / 2)
    radius = np.hypot(u, v)
    x, y = radius * np.cos(step / 2 - angle), radius * np.sin(step / 2 - angle)
    notch = 0.42 * np.array([np.cos(step / 2), np.sin(step / 2)])
    normal = np.array([notch[1], 1 - notch[0]]) / np.hypot(notch[1], 1 - notch[0])
    return (x - 1) * np.float32(normal[0]) + y * np.float32(normal[1])


def _cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    u, v = np.abs(u), np.abs(v)
    return np.minimum(np.maximum(u - 0.95, v - 0.3), np.maximum(u - 0.3, v - 0.95))


def _heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    u, v = u * 1.25 + 0.2, v * 1.25 + 0.2
    square = np.maximum(np.abs(u), np.abs(v)) - 0.55
    return (
        np.minimum(square, np.minimum(np.hypot(u, v - 0.55), np.hypot(u - 0.55, v)) - 0.55) / 1.25
    )


_OUTLINES = {
    "circle": lambda u, v: np.hypot(u, v) - 0.9,
    "square": lambda u, v: _polygon(u, v, 4, 0.75),
    "triangle": lambda u, v: _polygon(u, v, 3, 0.55),
    "star": _star,
    "cross": _cross,
    "ring": lambda u, v: np.abs(np.hypot(u, v) - 0.72) - 0.23,
    "crescent": lambda u, v: np.maximum(np.hypot(u, v) - 0.95, 0.75 - np.hypot(u - 0.5, v)),
    "heart": _heart,
}


def _visible(solid: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Returns the pixels in which each object is seen, none for an object that is left out: like `solid`."""
    taken = np.zeros_like(solid[:, 0])
    kept, visible = np.zeros(len(solid), int), np.zeros_like(solid)
    for k in range(solid.shape[1]):
        seen = solid[:, k] & ~taken
        area = seen.sum((1, 2))
        keep = (kept < wanted) & (area >= 4) & (area >= _VISIBLE * solid[:, k].sum((1, 2)))
        visible[:, k] = seen & keep[:, None, None]
        taken |= visible[:, k]
        kept += keep
    return visible


def _boxes(visible: np.ndarray) -> np.ndarray:
    corners = []
    for axis in (2, 3):  # columns, then rows in which something is seen
        line = np.any(visible, axis=axis)
        first = line.argmax(-1)
        last = line.shape[-1] - line[..., ::-1].argmax(-1)
        corners.append((first, last))
    boxes = np.stack([corners[0][0], corners[1][0], corners[0][1], corners[1][1]], -1)
    return np.where(np.any(visible, axis=(2, 3))[..., None], boxes, -1).astype(np.float32)


def _paint(
    rng: np.random.Generator,
    texture: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    radius: np.ndarray,
    paints: np.ndarray,
) -> np.ndarray:
    """Returns colours (objects, h, w, 3): a texture blends the two `paints` (objects, 2, 3)."""
    n, size, _ = u.shape
    period = np.maximum(
        rng.uniform(0.12, 0.3, n) / radius, 3.5 / (size * radius)
    )  # in radii; seen at 3.5 pixels
    frequency = (2 * np.pi / period).astype(np.float32)[:, None, None]
    coarse = rng.random((n, _GRID, _GRID), np.float32)
    blend = np.zeros_like(u)
    for number, name in enumerate(TEXTURES[1:], start=1):
        rows = texture == number
        if not rows.any():
            continue
        f, s, t = frequency[rows], u[rows], v[rows]
        if name == "stripes":
            blend[rows] = np.clip(0.5 + 1.5 * np.sin(f * s), 0, 1)
        elif name == "checks":
            blend[rows] = np.clip(0.5 + 3 * np.sin(f / 2 * s) * np.sin(f / 2 * t), 0, 1)
        elif name == "dots":
            blend[rows] = np.clip(2 * (np.cos(f * s) + np.cos(f * t)) - 0.8, 0, 1)
        elif name == "noise":
            smooth = _interpolate(_GRID, size)
            fine = (
                rng.random((rows.sum(), size // 2, size // 2), np.float32).repeat(2, 1).repeat(2, 2)
            )
            fine = np.pad(fine, ((0, 0), (0, size % 2), (0, size % 2)), mode="edge")
            blend[rows] = 0.6 * (smooth @ coarse[rows] @ smooth.T) + 0.4 * fine
        else:
            blend[rows] = np.clip(0.5 + 0.5 * s, 0, 1)
    first, second = paints[:, 0, None, None], paints[:, 1, None, None]
    return first + blend[..., None] * (second - first)


def _interpolate(points: int, size: int) -> np.ndarray:
    """Matrix (size, points) that interpolates linearly between `points` that span the image."""
    at = np.linspace(0, points - 1, size)
    return np.maximum(1 - np.abs(at[:, None] - np.arange(points)), 0).astype(np.float32)


def _expose(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Adds uneven light and grain, and returns uint8."""
    n, size, _, _ = image.shape
    grid = np.linspace(-1, 1, size, dtype=np.float32)
    slope = rng.normal(0, 0.1, (2, n, 1)).astype(np.float32)
    light = 1 + (slope[0] * grid)[:, None, :] + (slope[1] * grid)[:, :, None]
    grain = rng.uniform(0, 0.04, (n,)).astype(np.float32)[:, None, None] * rng.standard_normal(
        (n, size, size), np.float32
    )
    return (np.clip(image * light[..., None] + grain[..., None], 0, 1) * 255 + 0.5).astype(np.uint8)
