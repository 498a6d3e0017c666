"""A positive number for every pixel: how far things are."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_transfer import losses
from keras_transfer.core import checks
from keras_transfer.metrics import depth as scoring
from keras_transfer.pages import overlays
from keras_transfer.tasks import dense

__all__ = ["Depth", "DepthScorer"]

HEADLINES = {  # score: (title, help)
    "abs_rel": ("Relative error", "|answer - truth| / truth, mean over pixels"),
    "rmse": ("RMS error", ""),
    "log_rmse": ("RMS error of logarithms", ""),
    "delta_1": ("δ < 1.25", "share of pixels that are wrong by less than a quarter"),
    "delta_2": ("δ < 1.25²", ""),
    "delta_3": ("δ < 1.25³", ""),
}

STEPS = 32  # bins of depths within a factor of 2: neighbours differ by 2 %


@keras.saving.register_keras_serializable("keras_transfer")
class Depth(dense.DenseTask):
    """Answers with a positive number for every pixel of the model's image, in the unit of the labels.

    Targets are maps `(images, height, width[, 1])`; pixels that are not above 0, or not finite, are not known and count
    nowhere. The head learns logarithms, whose mean and deviation `kt.fine_tune` takes from the training targets.

    Args:
        unit: Name of the unit, for reports.
        decoder: "unet", "fpn" or "deeplab": how the levels of the backbone are joined.
        width: Channels of the decoder.
        loss: One or several of "log", "l1" and "gradient", which are added; see `kt.losses.DepthLoss`.
        dropout: Share of the decoder's channels that is dropped before the last layer.
        stop_gradient: As for `Task`.

    Example:
        >>> import keras_transfer as kt
        >>> kt.build_model(kt.backbone("tiny", weights=None), Depth(width=8)).output_shape
        (None, 32, 32, 1)
    """

    kind = "depth"
    pipeline = "depth-estimation"
    score = "abs_rel"
    higher_is_better = False
    has_unit = True
    hides_picture = True
    headlines = HEADLINES
    mistakes_title = "Largest errors"
    target_title = "The true depths (near is bright)"

    def __init__(
        self,
        *,
        unit: str | None = None,
        decoder: str = "unet",
        width: int = 64,
        loss: str | Sequence[str] = ("log", "gradient"),
        dropout: float = 0.0,
        stop_gradient: bool = False,
    ) -> None:
        super().__init__(decoder=decoder, width=width, dropout=dropout, stop_gradient=stop_gradient)
        self.unit = unit
        self.chosen_loss = losses.DepthLoss(loss).parts

    @property
    def units(self) -> int:
        """One channel."""
        return 1

    def activate(self, outputs: keras.KerasTensor) -> keras.KerasTensor:
        """Returns the depths, whose logarithms the head learns."""
        return ops.exp(outputs)

    def spread(self, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns deviation (1 where there is none) and mean of the known logarithms."""
        maps = self.encode(targets)
        known = np.log(maps[np.isfinite(maps) & (maps > 0)].astype("float64"))
        if not known.size:
            raise checks.error("`labels` must have a known depth", given="no number above 0")
        deviation = known.std()
        return np.array([deviation if deviation > 0 else 1.0]), np.array([known.mean()])

    def loss(self, targets: np.ndarray | None = None) -> losses.DepthLoss:
        """Returns the sum of the chosen losses."""
        return losses.DepthLoss(self.chosen_loss)

    def metrics(self) -> list[keras.metrics.Metric]:
        """Returns none: the loss says which epoch is best."""
        return []

    def encode(self, targets: np.ndarray) -> np.ndarray:
        """Returns float32 maps (images, height, width, 1)."""
        maps = np.asarray(targets)
        if maps.ndim == 3:
            maps = maps[..., None]
        if maps.ndim != 4 or maps.shape[-1] != 1 or maps.dtype.kind not in "iuf":
            raise checks.error(
                "`labels` must be maps of numbers, (images, height, width, 1)",
                given=f"{maps.dtype} of shape {maps.shape}",
            )
        return maps.astype("float32")

    def check(
        self, targets: np.ndarray, outputs: np.ndarray, *, first: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns two arrays of maps of one shape."""
        maps, outputs = self.encode(targets), np.asarray(outputs, "float32")
        if maps.shape != outputs.shape:
            raise checks.error(f"maps must have the shape {outputs.shape}", given=maps.shape)
        return maps, outputs

    def scorer(self) -> "DepthScorer":
        """Returns what keeps the scores of each image, and how often each depth is true."""
        return DepthScorer(self)

    def score_images(self, targets: np.ndarray, outputs: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the errors of each image."""
        return scoring.depth_scores(targets, outputs)

    def errors(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Returns the relative error of each image; 0 where nothing is known."""
        return np.nan_to_num(scoring.depth_scores(targets, outputs)["abs_rel"])

    def describe(self, value: np.ndarray) -> str:
        """Returns the nearest, middle and farthest depth."""
        known = value[np.isfinite(value) & (value > 0)]
        if not known.size:
            return "nothing known"
        low, middle, high = np.quantile(known, [0.02, 0.5, 0.98])
        unit = f" {self.unit}" if self.unit else ""
        return f"{low:.3g} to {high:.3g}{unit}, half of it below {middle:.3g}"

    def describe_error(self, error: float) -> str:
        """Returns the relative error."""
        return f"wrong by {error:.0%}"

    def draw(
        self, picture: np.ndarray, value: np.ndarray, *, image_size: tuple[int, int]
    ) -> np.ndarray:
        """Returns the depths as shades: near is bright, what is not known is black."""
        return overlays.shade(value[..., 0], picture.shape[:2])

    def headline(self, score: str, scores: Mapping) -> tuple[str, str]:
        """Returns title and help."""
        title, more = super().headline(score, scores)
        return title, self.unit or "" if score == "rmse" else more

    def decode(self, outputs: Any) -> dict:
        """Returns `depth`, (images, height, width)."""
        return {"depth": outputs[..., 0]}

    def answer(self, output: np.ndarray, *, top: int = 3) -> list[float]:
        """Returns the nearest, middle and farthest depth."""
        return [round(float(value), 6) for value in np.quantile(output, [0.02, 0.5, 0.98])]

    def row(
        self, output: np.ndarray, *, top: int = 3, scale: tuple[float, float] = (1.0, 1.0)
    ) -> dict:
        """Returns the depths of one image in the size of the picture that was given, and in words."""
        depths = dense.fit_to_pictures(output[None, ..., 0], [scale], is_smooth=True)
        return {
            "label": self.describe(output),
            "value": self.answer(output),
            "depth": depths.numpy()[0],
        }

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {**super().get_config(), "unit": self.unit, "loss": self.chosen_loss}

    @classmethod
    def example(cls, **options: Any) -> tuple["Depth", np.ndarray]:
        """Returns slopes, with pixels that are not known."""
        maps = np.ones((4, 32, 32, 1), "float32") * np.linspace(0.5, 2, 32)[:, None]
        maps[1] *= 2
        maps[2, :4] = 0
        maps[3, :, 7] = np.nan
        return cls(width=8, dropout=options.get("dropout", 0.0), unit="m"), maps


class DepthScorer(dense.MeanScorer):
    """Keeps the scores of each image, and counts depths; no map is kept.

    Args:
        task: A task of depths.

    Example:
        >>> scorer = DepthScorer(Depth(unit="m"))
        >>> truth = np.array([[[[2.0], [2.0], [4.0]]]])
        >>> scorer.add(truth, truth)
        >>> scorer.baseline()["answer"]
        '2 m'
    """

    task: Depth

    def __init__(self, task: Depth) -> None:
        super().__init__(task)
        self.shares: dict[
            int, float
        ] = {}  # by bin: sum over images of the share of their known pixels

    def add(self, targets: np.ndarray, outputs: np.ndarray) -> None:
        """Adds a batch."""
        super().add(targets, outputs)
        for truth in targets:
            known = truth[np.isfinite(truth) & (truth > 0)]
            bins, counts = np.unique(np.rint(STEPS * np.log2(known)), return_counts=True)
            for number, count in zip(bins.astype(int).tolist(), counts.tolist(), strict=True):
                self.shares[number] = self.shares.get(number, 0.0) + count / known.size

    def baseline(self) -> dict | None:
        """Compares with the depth that has the lowest relative error everywhere; None where all is one depth."""
        if len(self.shares) < 2:
            return None
        depths = 2.0 ** (np.array(sorted(self.shares)) / STEPS)
        shares = np.array([self.shares[number] for number in sorted(self.shares)])
        errors = np.abs(depths[:, None] / depths - 1) @ (shares / shares.sum())
        best = int(errors.argmin())

        own = self.scores()
        _, highest = own["intervals"].get("abs_rel", (None, own["abs_rel"]))
        unit = f" {self.task.unit}" if self.task.unit else ""
        return {
            "answer": f"{depths[best]:.3g}{unit}",
            "scores": {"abs_rel": float(errors[best])},
            "is_beaten": bool(highest < errors[best]),
        }
