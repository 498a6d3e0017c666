"""Scores of pictures against pictures, with values 0..255."""

import numpy as np

from keras_transfer.core import checks

__all__ = ["picture_scores"]

WHITE = 255.0
HIGHEST = 100.0  # dB of a picture that is met exactly


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
