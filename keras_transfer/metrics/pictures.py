"""Scores of pictures against pictures, with values 0..255."""

import keras
import numpy as np

from keras_transfer.core import checks

__all__ = ["perceptual_distance", "picture_scores"]

WHITE = 255.0
HIGHEST = 100.0  # dB of a picture that is met exactly
SMALL = 1e-9


def picture_scores(targets: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of each picture: `psnr` in dB (at most 100) and `mae`, the mean absolute error.

    Args:
        targets: Pictures (pictures, height, width, channels).
        answers: Of the same shape; what lies beyond 0..255 is cut off.

    Example:
        >>> scores = picture_scores(np.zeros((1, 2, 2, 1)), np.full((1, 2, 2, 1), 25.5))
        >>> float(scores["psnr"][0]), float(scores["mae"][0])
        (20.0, 25.5)
    """
    if np.shape(targets) != np.shape(answers):
        raise checks.error(
            f"pictures must have the shape {np.shape(targets)}", given=np.shape(answers)
        )
    gaps = np.clip(np.asarray(answers), 0, WHITE) - np.asarray(targets, "float64")
    squares = (gaps**2).mean(axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        psnr = 10 * np.log10(WHITE**2 / squares)
    return {"psnr": np.minimum(psnr, HIGHEST), "mae": np.abs(gaps).mean(axis=(1, 2, 3))}


def perceptual_distance(
    network: keras.Model, targets: np.ndarray, answers: np.ndarray
) -> np.ndarray:
    """Returns how unlike a frozen network finds each pair of pictures: 0 for equal ones, at most 4.

    At each place of a map the channels are scaled to length 1, and the squared distance of the two is taken; the
    result is the mean over places, and over the network's outputs. So does LPIPS (Zhang et al. 2018), but its channels
    have learned weights and here all weigh the same: numbers can be compared with those of the same network only.

    Args:
        network: From pixels 0..255 to one or several maps, such as `kt.backbone("tiny")`.
        targets: Pictures (pictures, height, width, channels); grey ones are taken as RGB.
        answers: Of the same shape.

    Example:
        >>> import keras_transfer as kt
        >>> pictures = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3))
        >>> distances = perceptual_distance(kt.backbone("tiny"), pictures, pictures[::-1])
        >>> distances.shape, bool((distances > 0).all())
        ((2,), True)
    """
    if np.shape(targets) != np.shape(answers):
        raise checks.error(
            f"pictures must have the shape {np.shape(targets)}", given=np.shape(answers)
        )
    seen = [_directions(network, pictures) for pictures in (targets, answers)]
    distances = []
    for one, other in zip(*seen, strict=True):
        gaps = ((one - other) ** 2).sum(axis=-1)
        distances.append(gaps.reshape(len(gaps), -1).mean(axis=1))
    return np.mean(distances, axis=0)


def _directions(network: keras.Model, pictures: np.ndarray) -> list[np.ndarray]:
    """Returns what a network sees, all channels of a place scaled to length 1."""
    pixels = np.asarray(pictures, "float32")
    if pixels.shape[-1] == 1:
        pixels = np.repeat(pixels, 3, axis=-1)
    maps = []
    for seen in keras.tree.flatten(network(pixels, training=False)):
        values = keras.ops.convert_to_numpy(seen).astype("float64")
        lengths = np.linalg.norm(values, axis=-1, keepdims=True)
        maps.append(values / np.maximum(lengths, SMALL))
    return maps
