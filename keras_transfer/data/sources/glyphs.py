"""Alphabets of random stroke characters, drawn by a seeded, shaky hand.

A character is a few strokes (lines, polylines, arcs, loops, curves) that often start on one another.
A drawing of it bends, slants, turns, scales and recolours the strokes, blurs them and adds noise.
"""

import numpy as np

from keras_transfer.core import checks
from keras_transfer.data import base
from keras_transfer.data.sources import arrays

__all__ = ["glyphs", "render_glyphs"]

_STROKES = 4
_SEGMENTS = 8  # of one stroke
_CHUNK = 64  # drawings at once: keeps the arrays in the processor's cache
# Pixels to which a drawing may be reduced before it is enlarged again.
_LOW_SIZES = (7, 8, 9, 10, 12, 16)


def glyphs(
    classes: int = 100,
    per_class: int = 20,
    *,
    image_size: int = 32,
    validation: float | None = 0.2,
    test: float | None = None,
    batch_size: int = 32,
    seed: int = 0,
) -> base.Data:
    """Renders an alphabet of random stroke characters and splits the drawings.

    Args:
        classes: Number of characters.
        per_class: Drawings of each character, all splits together.
        image_size: Height and width in pixels.
        validation: Share to hold out for validation.
        test: Share to hold out for testing.
        batch_size: Images in a batch.
        seed: Chooses the alphabet, the drawings, the splits and the orders.

    Example:
        >>> glyphs(5, 10)
        Data(train=40, validation=10, classes=5, image_size=32x32, batch_size=32)
    """
    images, labels = render_glyphs(classes, per_class, image_size=image_size, seed=seed)
    return arrays.from_arrays(
        images, labels, validation=validation, test=test, batch_size=batch_size, seed=seed
    )


def render_glyphs(
    alphabet_size: int, per_class: int, *, image_size: int = 32, seed: int = 0, hand: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Renders `per_class` drawings of each of `alphabet_size` random characters.

    The same arguments give the same bytes, and a larger alphabet begins with the smaller one. Another
    `hand` draws the same characters anew.

    Args:
        alphabet_size: Number of characters.
        per_class: Drawings of each character.
        image_size: Height and width in pixels.
        seed: Chooses the alphabet.
        hand: Chooses the drawings.

    Returns:
        `images`, uint8 of shape (alphabet_size * per_class, image_size, image_size, 3), and `labels`,
        int64 of shape (alphabet_size * per_class,), sorted by character.

    Raises:
        InputError: If an argument is out of range.

    Example:
        >>> images, labels = render_glyphs(3, 2)
        >>> images.shape, labels.tolist()
        ((6, 32, 32, 3), [0, 0, 1, 1, 2, 2])
    """
    checks.integer(alphabet_size, name="alphabet_size")
    checks.integer(per_class, name="per_class")
    checks.integer(image_size, name="image_size", minimum=16)
    checks.integer(seed, name="seed", minimum=0)
    checks.integer(hand, name="hand", minimum=0)
    characters = [
        _character(np.random.default_rng((seed, number))) for number in range(alphabet_size)
    ]
    labels = np.repeat(np.arange(alphabet_size), per_class)
    images = np.empty((labels.size, image_size, image_size, 3), np.uint8)
    for start in range(0, labels.size, _CHUNK):
        rng = np.random.default_rng((seed, hand, start, 1))
        # a full chunk even at the end, so that drawings do not depend on what follows
        chosen = np.resize(labels[start : start + _CHUNK], _CHUNK)
        points = np.stack([characters[label][0] for label in chosen])
        drawn = np.stack([characters[label][1] for label in chosen])
        ink = _ink(rng, _bend(rng, points), drawn, image_size)
        images[start : start + _CHUNK] = _colour(rng, _reduce(rng, ink))[: labels.size - start]
    return images, labels


def _character(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns the points (strokes, segments + 1, 2) in [-1, 1] and which segments are drawn (strokes, segments)."""
    count = rng.choice([1, 2, 3, 4], p=[0.25, 0.4, 0.25, 0.1])
    strokes: list = []
    for _ in range(count):
        stroke = _stroke(rng)
        if strokes and rng.random() < 0.75:  # start on an earlier stroke, mostly at one of its ends
            other = strokes[rng.integers(len(strokes))]
            at = rng.choice([0, _SEGMENTS, int(rng.integers(_SEGMENTS + 1))])
            stroke += np.clip(other[at], -1, 1) - stroke[0]
        strokes.append(stroke)
    points = np.stack(strokes)
    low, high = points.min((0, 1)), points.max((0, 1))
    extent = np.maximum(high - low, 0.3 * (high - low).max())  # a thin character stays thin
    points = (points - (low + high) / 2) * 2 / extent * np.array([rng.uniform(0.55, 1.0), 1.0])
    padded = np.zeros((_STROKES, _SEGMENTS + 1, 2))
    padded[:count] = points
    return padded, np.repeat(np.arange(_STROKES)[:, None] < count, _SEGMENTS, axis=1)


def _stroke(rng: np.random.Generator) -> np.ndarray:
    along = np.linspace(0, 1, _SEGMENTS + 1)
    kind = rng.choice(["line", "polyline", "curve", "arc", "loop"], p=[0.2, 0.2, 0.15, 0.27, 0.18])
    if kind in ("arc", "loop"):
        turn = 2 * np.pi * (1 if kind == "loop" else rng.uniform(0.3, 0.85)) * rng.choice([-1, 1])
        angle = rng.uniform(0, 2 * np.pi) + turn * along
        return rng.uniform(-0.6, 0.6, 2) + rng.uniform(0.25, 0.9, 2) * np.stack(
            [np.cos(angle), np.sin(angle)], -1
        )
    corners = rng.uniform(-1, 1, (2 if kind == "line" else rng.integers(3, 5), 2))
    if kind != "curve":
        if rng.random() < 0.5:  # upright and level strokes are common in writing
            corners[1, rng.integers(2)] = corners[0, 0]
        at = np.linspace(0, 1, len(corners))
        return np.stack([np.interp(along, at, corners[:, axis]) for axis in (0, 1)], -1)
    while len(corners) > 1:  # de Casteljau: a Bezier curve
        if corners.ndim == 2:
            corners = np.repeat(corners[:, None], along.size, axis=1)
        corners = corners[:-1] * (1 - along[:, None]) + corners[1:] * along[:, None]
    return corners[0] * 1.3


def _bend(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    """Moves each stroke a little, bends all of them smoothly, and slants, turns, scales and shifts the whole."""
    n = len(points)
    points = points * rng.normal(1, 0.13, (n, _STROKES, 1, 2)) + rng.normal(
        0, 0.07, (n, _STROKES, 1, 2)
    )
    wave = rng.normal(0, 1.3, (n, 1, 1, 2, 2))
    phase = rng.uniform(0, 2 * np.pi, (n, 1, 1, 2))
    points = points + rng.uniform(0, 0.24, (n, 1, 1, 1)) * np.sin(
        (wave * points[..., None, :]).sum(-1) + phase
    )
    angle, slant = rng.normal(0, 0.14, n), rng.normal(0, 0.22, n)
    cos, sin, zero, one = np.cos(angle), np.sin(angle), np.zeros(n), np.ones(n)
    turn = np.stack([cos, -sin, sin, cos], -1).reshape(n, 2, 2)
    shear = np.stack([one, slant, zero, one], -1).reshape(n, 2, 2)
    points = np.einsum("nij,njk,nspk->nspi", turn, shear, points)
    scale = rng.uniform(0.6, 1.0, (n, 1, 1, 1)) * rng.uniform(0.72, 1.1, (n, 1, 1, 2))
    return 0.88 * scale * points + rng.normal(0, 0.07, (n, 1, 1, 2))


def _ink(rng: np.random.Generator, points: np.ndarray, drawn: np.ndarray, size: int) -> np.ndarray:
    """Draws strokes as distance to their segments: (n, size, size), 0 paper and 1 ink."""
    n = len(points)
    grid = (np.arange(size, dtype=np.float32) + 0.5) * np.float32(2 / size) - 1
    starts = points[:, :, :-1].reshape(n, -1, 2).astype(np.float32)
    steps = (points[:, :, 1:] - points[:, :, :-1]).reshape(n, -1, 2).astype(np.float32)
    drawn = drawn.reshape(n, -1)
    nearest = np.full((n, size, size), 16, np.float32)  # squared distance
    for segment in np.flatnonzero(drawn.any(0)):
        rows = np.flatnonzero(drawn[:, segment])
        start, step = starts[rows, segment], steps[rows, segment]
        x, y = grid - start[:, :1], grid - start[:, 1:]
        dx, dy = step[:, :1], step[:, 1:]
        length = np.maximum(dx * dx + dy * dy, 1e-6)[..., None]
        along = (x * dx)[:, None, :] + (y * dy)[:, :, None]
        at = np.clip(along / length, 0, 1)
        squared = (x * x)[:, None, :] + (y * y)[:, :, None] - at * (2 * along - at * length)
        nearest[rows] = np.minimum(nearest[rows], squared)
    distance = np.sqrt(np.maximum(nearest, 0))
    thickness = rng.uniform(0.03, 0.17, (n, 1, 1)).astype(np.float32)
    edge = np.maximum(
        2.0 / size, rng.uniform(0, 0.2, (n, 1, 1)) * rng.integers(0, 2, (n, 1, 1))
    ).astype(np.float32)
    return np.clip(0.5 + (thickness - distance) / edge, 0, 1)


def _reduce(rng: np.random.Generator, ink: np.ndarray) -> np.ndarray:
    """Shrinks about half of the drawings and enlarges them again, as if they came from a small scan."""
    size = ink.shape[1]
    low = np.where(rng.random(len(ink)) < 0.55, rng.choice(_LOW_SIZES, len(ink)), size)
    for pixels in np.unique(low[low < size]):
        matrix = _enlarge(pixels, size) @ _shrink(size, pixels)
        ink[low == pixels] = matrix @ ink[low == pixels] @ matrix.T
    peak = ink.max((1, 2), keepdims=True)
    return ink / np.maximum(peak, 0.2)


def _shrink(size: int, pixels: int) -> np.ndarray:
    """Matrix (pixels, size) that averages over areas."""
    edges = np.linspace(0, size, pixels + 1)
    left, right = np.arange(size), np.arange(1, size + 1)
    overlap = np.minimum(edges[1:, None], right) - np.maximum(edges[:-1, None], left)
    return (np.maximum(overlap, 0) * pixels / size).astype(np.float32)


def _enlarge(pixels: int, size: int) -> np.ndarray:
    """Matrix (size, pixels) that interpolates linearly between pixel centres."""
    at = np.clip((np.arange(size) + 0.5) * pixels / size - 0.5, 0, pixels - 1)
    return np.maximum(1 - np.abs(at[:, None] - np.arange(pixels)), 0).astype(np.float32)


def _colour(rng: np.random.Generator, ink: np.ndarray) -> np.ndarray:
    """Paints ink on paper: light on dark or dark on light, grey or coloured, with shading and noise."""
    n, size, _ = ink.shape
    dark, light = rng.uniform(0, 0.35, (n, 1)), rng.uniform(0.6, 1.0, (n, 1))
    pure = rng.random((n, 1)) < 0.4
    dark, light = np.where(pure, 0, dark), np.where(pure, 1, light)
    coloured = rng.random((n, 1)) < 0.4
    swap = rng.random((n, 1)) < 0.5
    tint = rng.normal(0, 0.2, (2, n, 3)) * coloured
    ink_colour = (np.where(swap, dark, light) + tint[0]).astype(np.float32)[:, None, None]
    paper = (np.where(swap, light, dark) + tint[1]).astype(np.float32)[:, None, None]
    image = paper + (ink_colour - paper) * ink[..., None]
    grid = np.linspace(-1, 1, size, dtype=np.float32)
    slope = (rng.normal(0, 0.08, (n, 2)) * (rng.random((n, 1)) < 0.4)).astype(np.float32)
    shade = (slope[:, :1] * grid)[:, None, :] + (slope[:, 1:] * grid)[:, :, None]
    noise = (rng.uniform(0, 0.08, (n,)) * (rng.random(n) < 0.5)).astype(np.float32)[:, None, None]
    shade += noise * rng.standard_normal((n, size, size), np.float32)
    return (np.clip(image + shade[..., None], 0, 1) * 255 + 0.5).astype(np.uint8)
