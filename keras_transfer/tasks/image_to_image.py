"""A picture for a picture: cleaned, coloured, changed, enlarged."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_transfer import layers, losses
from keras_transfer.core import checks
from keras_transfer.graphs import nodes
from keras_transfer.losses import pictures as picture_losses
from keras_transfer.metrics import pictures as scoring
from keras_transfer.pages import overlays
from keras_transfer.tasks import decoders, dense

__all__ = ["ImageToImage"]

HEADLINES = {  # score: (title, help)
    "psnr": ("PSNR", "decibels, mean over pictures; more is better"),
    "ssim": ("SSIM", "structural similarity, at most 1"),
    "mae": ("Mean absolute error", "of values 0 to 255"),
    "perceptual": (
        "Perceptual distance",
        "of what `network` sees, all channels alike; less is better",
    ),
}
STEM = 16  # channels at the size of the image; twice as many at half of it


@keras.saving.register_keras_serializable("keras_transfer")
class ImageToImage(dense.DenseTask):
    """Answers with a picture: denoised, coloured, filled in, or twice as large.

    Targets are pictures with values 0..255. The head is a U-Net on the maps of the backbone, P2 to P5, and on two
    convolutions of its own at and below the size of the image. Where the picture has as many channels and pixels as the
    image, it learns what to add to the image.

    Args:
        channels: Of the answer: 3 for RGB, 1 for grey.
        scale: How many times as high and wide the answer is. `kt.data.from_arrays` keeps such large targets if no image
            is resized; files are resized to the size of the images, and `augment` needs that size, too.
        width: Channels of the decoder.
        loss: One or several of "l1", "l2", "ssim" and "perceptual", which are added; see `kt.losses.PictureLoss`. With
            "adversarial" beside them a discriminator of patches learns in the same `fit`, with an optimizer of its own:
            answers get sharper, and their PSNR lower. It is in no file and no export.
        adversarial_weight: What its judgement counts beside the others.
        network: For "perceptual": a Keras model from pixels to features, such as `kt.backbone("tiny")`; it is not saved
            with the task. With it reports have the `kt.metrics.perceptual_distance` of its levels.
        stop_gradient: As for `Task`.

    Example:
        >>> import keras_transfer as kt
        >>> kt.build_model(kt.backbone("tiny", weights=None), ImageToImage(scale=2, width=8)).output_shape
        (None, 64, 64, 3)
    """

    kind = "image_to_image"
    pipeline = "image-to-image"
    score = "psnr"
    hides_picture = True
    levels = ("P0", "P2", "P3", "P4", "P5")
    headlines = HEADLINES
    mistakes_title = "Pictures that differ most"
    target_title = "The true picture"

    def __init__(
        self,
        channels: int = 3,
        *,
        scale: int = 1,
        width: int = 64,
        loss: str | Sequence[str] = ("l1", "ssim"),
        adversarial_weight: float = 0.01,
        network: keras.Model | None = None,
        stop_gradient: bool = False,
    ) -> None:
        super().__init__(width=width, stop_gradient=stop_gradient)
        self.channels = checks.integer(channels, name="channels")
        self.scale = checks.integer(scale, name="scale")
        self.chosen_loss = losses.PictureLoss(loss).parts
        self.adversarial_weight = checks.number(
            adversarial_weight, name="adversarial_weight", above=0
        )
        self.network = network

    @property
    def units(self) -> int:
        """The channels of the answer."""
        return self.channels

    def head(
        self,
        features: Mapping[str, keras.KerasTensor],
        *,
        name: str,
        image_size: tuple[int, int] | None = None,
    ) -> keras.KerasTensor:
        """Joins all maps down to the image's own size, and adds the image where the answer is alike."""
        maps = dict(features)
        image = maps.pop("P0")
        shares = keras.layers.Rescaling(1 / 127.5, -1, name=f"{name}_shares")(image)
        fine = decoders.convolve(shares, STEM, name=f"{name}_P0_stem")
        half = keras.layers.AveragePooling2D(2, padding="same", name=f"{name}_P1_pool")(fine)
        half = decoders.convolve(half, 2 * STEM, name=f"{name}_P1_stem")
        x = decoders.unet(
            {"P0": fine, "P1": half, **maps}, width=self.width, name=name, widths={"P0": STEM}
        )
        if self.scale > 1:
            size = [self.scale * side for side in image.shape[1:3]]
            x = decoders.enlarge(x, size, times=self.scale, name=f"{name}_larger")
            x = decoders.convolve(x, STEM, name=f"{name}_sharp")
        is_like_image = self.scale == 1 and image.shape[-1] == self.channels
        initial = {"kernel_initializer": "zeros"} if is_like_image else {}
        x = keras.layers.Conv2D(self.channels, 3, padding="same", name=f"{name}_logits", **initial)(
            x
        )
        x = keras.layers.Rescaling(127.5, 0.0 if is_like_image else 127.5, name=f"{name}_values")(x)
        if is_like_image:
            x = keras.layers.Add(name=f"{name}_sum")([x, image])
        return layers.TaskOutput(self, name=name)(x)

    def on_level_ends(self, ends: layers.LevelEnds) -> "ImageToImage":
        """Returns the task; the map of a decoder is no substitute for levels."""
        if ends.is_decoded:
            raise checks.error(
                "a picture for a picture needs a backbone without a decoder",
                given=f"one that ends in a decoder's map, {ends.level_names[0]}",
                fix="Give the preset of its encoder.",
            )
        return self

    def activate(self, outputs: keras.KerasTensor) -> keras.KerasTensor:
        """Returns the values as they are; answers are cut off at 0 and 255."""
        return outputs

    def loss(self, targets: np.ndarray | None = None) -> losses.PictureLoss:
        """Returns the sum of the chosen losses."""
        return losses.PictureLoss(self.chosen_loss, network=self.network)

    def adversary(self) -> dict | None:
        """Returns what the discriminator is made of, where there is one."""
        if picture_losses.ADVERSARIAL not in self.chosen_loss:
            return None
        return {"channels": self.channels, "weight": self.adversarial_weight}

    def metrics(self) -> list[keras.metrics.Metric]:
        """Returns none: the loss says which epoch is best."""
        return []

    def encode(self, targets: np.ndarray) -> np.ndarray:
        """Returns pictures (images, height, width, channels)."""
        pictures = np.asarray(targets)
        if pictures.ndim == 3 and self.channels == 1:
            pictures = pictures[..., None]
        if (
            pictures.ndim != 4
            or pictures.shape[-1] != self.channels
            or pictures.dtype.kind not in "iuf"
        ):
            raise checks.error(
                f"`labels` must be pictures with {self.channels} channel(s), (images, height, width, channels)",
                given=f"{pictures.dtype} of shape {pictures.shape}",
            )
        if pictures.size and (pictures.min() < 0 or pictures.max() > 255):
            given = f"from {pictures.min():g} to {pictures.max():g}"
            raise checks.error("`labels` must have values 0..255", given=given)
        return pictures

    def check(
        self, targets: np.ndarray, outputs: np.ndarray, *, first: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns two arrays of pictures of one shape."""
        pictures, answers = self.encode(targets), np.clip(np.asarray(outputs, "float32"), 0, 255)
        if pictures.shape != answers.shape:
            raise checks.error(
                f"pictures must have the shape {answers.shape}", given=pictures.shape
            )
        return pictures, answers

    def score_images(self, targets: np.ndarray, outputs: np.ndarray) -> dict[str, np.ndarray]:
        """Returns PSNR, structural similarity and mean absolute error of each picture."""
        likeness = picture_losses.ssim(
            ops.convert_to_tensor(targets.astype("float32")), ops.convert_to_tensor(outputs)
        )
        scores = scoring.picture_scores(targets, outputs)
        scores = {
            "psnr": scores["psnr"],
            "ssim": ops.convert_to_numpy(likeness),
            "mae": scores["mae"],
        }
        if self.network is not None:
            scores["perceptual"] = scoring.perceptual_distance(self.eye, targets, outputs)
        return scores

    @functools.cached_property
    def eye(self) -> keras.Model:
        """The network that looks at pictures: up to its levels, where it has any."""
        levels = getattr(self.network, "levels", None)
        return nodes.tap(self.network, list(levels.values())) if levels else self.network

    def errors(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Returns the mean absolute error of each picture."""
        return scoring.picture_scores(targets, outputs)["mae"]

    def describe(self, value: np.ndarray) -> str:
        """Returns the mean brightness."""
        return f"mean brightness {np.mean(np.clip(value, 0, 255)):.0f}"

    def describe_error(self, error: float) -> str:
        """Returns the mean absolute error."""
        return f"off by {error:.1f} of 255"

    def draw(
        self, picture: np.ndarray, value: np.ndarray, *, image_size: tuple[int, int]
    ) -> np.ndarray:
        """Returns the picture itself."""
        return overlays.fit(np.clip(value, 0, 255), picture.shape[:2])

    def decode(self, outputs: Any) -> dict:
        """Returns `picture`, uint8 (images, height, width, channels); exports add `picture_png`, PNG files of it."""
        import tensorflow as tf

        return {"picture": tf.cast(tf.clip_by_value(tf.round(outputs), 0.0, 255.0), tf.uint8)}

    def differences(self, key: str, expected: np.ndarray, given: np.ndarray) -> np.ndarray | None:
        """Compares pictures: rounding may differ by one."""
        if key == "picture":
            gaps = abs(expected.astype(int) - given.astype(int)).max(axis=(1, 2, 3))
            return np.maximum(gaps - 1.0, 0.0)
        return np.zeros(len(expected)) if key == "picture_png" else None  # a copy of the picture

    def answer(self, output: np.ndarray, *, top: int = 3) -> list[float]:
        """Returns the mean of each channel."""
        means = np.clip(output, 0, 255).mean(axis=(0, 1))
        return [round(float(mean), 3) for mean in means]

    def row(
        self, output: np.ndarray, *, top: int = 3, scale: tuple[float, float] = (1.0, 1.0)
    ) -> dict:
        """Returns the picture as an array, as large as the given one (times `scale` of the task), and in words."""
        pixels = np.clip(np.rint(output), 0, 255).astype("uint8")
        fitted = dense.fit_to_pictures(pixels[None], [scale], is_smooth=True).numpy()[0]
        return {"label": self.describe(output), "value": self.answer(output), "picture": fitted}

    def get_config(self) -> dict:
        """Returns what the constructor takes, without `network`."""
        config = super().get_config()
        del config["decoder"], config["dropout"]
        own = {
            "channels": self.channels,
            "scale": self.scale,
            "loss": self.chosen_loss,
            "adversarial_weight": self.adversarial_weight,
        }
        return {**config, **own}

    @classmethod
    def example(cls, **options: Any) -> tuple["ImageToImage", np.ndarray]:
        """Returns grey ramps."""
        ramps = np.zeros((4, 32, 32, 1), "uint8")
        ramps[...] = np.arange(0, 256, 8, dtype="uint8")[:, None]
        ramps[1] = 255 - ramps[1]
        ramps[2] //= 2
        return cls(1, width=8), ramps
