"""One class out of several."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from keras_transfer import losses, metrics
from keras_transfer.core import checks, lookup, one_hot
from keras_transfer.metrics import baselines, temperature
from keras_transfer.metrics import classification as scoring
from keras_transfer.pages import document
from keras_transfer.tasks import base, class_scores, naming

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ClassScorer", "Classification"]

TOP = 5
LOSSES = {
    "crossentropy": losses.Crossentropy,
    "focal": losses.Focal,
    "logit_adjusted": losses.LogitAdjusted,
}
HEADLINES = {  # score: (title, help)
    "accuracy": ("Accuracy", ""),
    "precision": ("Precision", "mean over classes"),
    "recall": ("Recall", "mean over classes"),
    "f1": ("F1", "mean over classes"),
    "top_5": ("Top-5 accuracy", "among the five best"),
    "auc": ("Area under ROC", "mean over classes"),
    "average_precision": ("Average precision", "mean over classes"),
    "ece": ("Calibration error", "confidence vs. accuracy"),
}


@keras.saving.register_keras_serializable("keras_transfer")
class Classification(base.Task):
    """Answers with the probability of each class.

    Args:
        classes: Their names in the order of the class ids, or their number.
        loss: "crossentropy", "focal" (examples that are classified well count little), "logit_adjusted"
            (answers suit data in which all classes are alike frequent), or a Keras loss of class ids and
            probabilities. What one of `kt.losses` lacks (class weights, priors) comes from here and from
            the training data.
        class_weights: None, "balanced" (each class counts alike: weights n / (classes * count), taken
            from the training data), "effective" (between none and balanced; `kt.losses.effective_weights`),
            or the weight by class name, or one per class.
        label_smoothing: Share of the target that is spread over all classes.
        hidden: As for `Task`.
        dropout: As for `Task`.
        pooling: As for `Task`.
        level: As for `Task`.
        stop_gradient: As for `Task`.

    Example:
        >>> Classification(["cat", "dog"], hidden=[256], dropout=0.2).units
        2
    """

    kind = "classification"
    pipeline = "image-classification"
    class_names: list[str]
    score = "accuracy"
    monitor = "accuracy"
    bears_changes = True
    moves_with_image = False
    link = "softmax"
    has_operating_points = True
    headlines = HEADLINES
    mistakes_title = "Most confident mistakes"
    target_title = "The true class"

    def __init__(
        self,
        classes: int | Sequence[str],
        *,
        loss: str | keras.losses.Loss = "crossentropy",
        class_weights: str | Mapping[str, float] | Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
        pooling: str = "avg",
        level: str | None = None,
        stop_gradient: bool = False,
    ) -> None:
        super().__init__(
            hidden=hidden,
            dropout=dropout,
            pooling=pooling,
            level=level,
            stop_gradient=stop_gradient,
        )
        self.class_names = naming.read_names(classes, argument="classes", minimum=2)
        self.mixed_classes = len(self.class_names)
        self.class_weights = naming.read_class_weights(class_weights, self.class_names)
        self.label_smoothing = checks.share(label_smoothing, name="label_smoothing")
        self.chosen_loss = _loss(loss)
        _check_once(
            self.chosen_loss,
            {"class_weights": self.class_weights, "label_smoothing": self.label_smoothing},
        )

    @property
    def units(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    def activate(self, outputs: keras.KerasTensor) -> keras.KerasTensor:
        """Softmax."""
        return ops.softmax(outputs)

    def loss(self, targets: np.ndarray | None = None) -> keras.losses.Loss:
        """Returns the loss; class weights and priors that come from the training data are counted in `targets`."""
        if not isinstance(self.chosen_loss, str | losses.ClassLoss):
            return self.chosen_loss
        kind = (
            LOSSES[self.chosen_loss]
            if isinstance(self.chosen_loss, str)
            else type(self.chosen_loss)
        )
        config = {} if isinstance(self.chosen_loss, str) else self.chosen_loss.get_config()
        if self.label_smoothing:
            config["label_smoothing"] = self.label_smoothing
        if self.class_weights is not None:
            config["class_weights"] = self.class_weights
        if targets is not None and self.needs_targets():
            counts = np.bincount(self.encode(targets), minlength=self.units)
            if isinstance(weights := config.get("class_weights"), str):
                config["class_weights"] = losses.WEIGHTS[weights](counts).tolist()
            if kind is losses.LogitAdjusted and config.get("priors") is None:
                config["priors"] = (np.maximum(counts, 1) / counts.sum()).tolist()
        return kind.from_config(config)

    def metrics(self) -> list[keras.metrics.Metric]:
        """Returns the accuracy, which takes class ids and distributions (of MixUp, say)."""
        return [metrics.Accuracy()]

    def encode(self, targets: np.ndarray) -> np.ndarray:
        """Returns class ids of names, ids or one-hot rows."""
        values = np.asarray(targets)
        ids = one_hot.class_ids(values, classes=self.units)
        if ids is not None:
            return ids.astype("int32")
        if values.dtype.kind in "USO":
            table = {name: index for index, name in enumerate(self.class_names)}
            return np.array(
                [lookup.find(str(name), table, argument="labels") for name in values], "int32"
            )
        if values.dtype.kind not in "iub" or values.ndim != 1:
            raise checks.error(
                f"`labels` must be class ids, one a picture, or one-hot rows of {self.units}",
                given=f"{values.dtype} of shape {values.shape}",
            )
        wrong = (values < 0) | (values >= self.units)
        if wrong.any():
            at = int(np.argmax(wrong))
            raise checks.error(
                f"`labels` must lie in [0, {self.units})",
                given=f"{values[at]} at index {at}",
                fix=f"Set `classes={int(values.max()) + 1}`, or check the class names.",
            )
        return values.astype("int32")

    def linear_rows(
        self, targets: np.ndarray, loss: keras.losses.Loss, *, smoothing: float | None = None
    ) -> np.ndarray:
        """Returns the smoothed distribution of each example, times the weight of its class."""
        config = loss.get_config()
        share = config.get("label_smoothing", 0.0) if smoothing is None else smoothing
        weights = config.get("class_weights")
        rows = np.eye(self.units)[targets] * (1 - share) + share / self.units
        return rows if weights is None else rows * np.array(weights)[targets][:, None]

    def logit_shift(self, loss: keras.losses.Loss) -> np.ndarray:
        """Returns tau log(prior) for logit adjustment, else 0."""
        if not isinstance(loss, losses.LogitAdjusted):
            return super().logit_shift(loss)
        priors = np.array(loss.priors, "float64")
        return loss.tau * np.log(priors / sum(priors))

    def temperature(self, targets: np.ndarray, outputs: np.ndarray) -> tuple[float, str] | None:
        """Returns the temperature and the calibration error before and after; None for `LogitAdjusted` answers."""
        if self.chosen_loss == "logit_adjusted" or isinstance(
            self.chosen_loss, losses.LogitAdjusted
        ):
            return None
        ids = self.encode(targets)
        chosen = temperature.fit_temperature(outputs, ids)
        before = scoring.calibration_error(outputs, ids)
        after = scoring.calibration_error(temperature.scaled(outputs, chosen), ids)
        line = (
            f"confidences corrected by temperature {chosen:.2f}, calibration error on the {len(ids)} validation "
            f"images {before:.3f} before, {after:.3f} after"
        )
        return chosen, line

    @classmethod
    def infer(
        cls, targets: np.ndarray, outputs: np.ndarray, class_names: Sequence[str] | None
    ) -> "Classification | None":
        """Returns a classification for integer targets."""
        if targets.dtype.kind == "f":
            return None
        classes = outputs.shape[1]
        if classes < 2:
            raise checks.error(
                "outputs must have a column for each class",
                given=outputs.shape,
                fix="Say what they are with `task=`.",
            )
        if class_names is not None and len(class_names) == classes:
            return cls(class_names)
        return cls(classes)

    def check(
        self, targets: np.ndarray, outputs: np.ndarray, *, first: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns class ids and probabilities."""
        outputs = np.asarray(outputs, "float32")
        scoring.probability_rows(outputs, classes=self.units, first=first)
        ids = scoring.class_ids(targets, examples=len(outputs), classes=self.units, first=first)
        return ids, outputs

    def verdict(self, scores: Mapping) -> str:
        """Returns the share of right answers, with its interval and the share of the most frequent class."""
        line = (
            f"{100 * scores['accuracy']:.1f} % of {scores['support']:,} images are answered right"
        )
        bounds = (scores.get("intervals") or {}).get("accuracy")
        if bounds:
            low, high = (100 * bound for bound in bounds)
            line += f" (95 %: {low:.0f} to {high:.0f} %)"
        baseline = scores.get("baseline")
        if baseline:
            share = baseline["scores"]["accuracy"]
            line += (
                f"; always answering {baseline['answer']} would be right for {100 * share:.1f} %"
            )
        return f"{line}."

    def advice(self, scores: Mapping, counts: Mapping[str, int]) -> list[str]:
        """Names the classes that need more photos, and the two that are hardest to tell apart."""
        return class_scores.advice(scores, counts)

    def doubts(self, outputs: np.ndarray) -> np.ndarray:
        """Returns 1 minus the lead of the likeliest class over the next."""
        second, first = np.sort(outputs, axis=1)[:, -2:].T
        return 1 - (first - second)

    def errors(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Returns the confidence of each wrong answer."""
        return np.where(outputs.argmax(axis=1) == targets, 0, outputs.max(axis=1))

    def describe(self, value: np.ndarray) -> str:
        """Returns the name of a class id, or of the likeliest class."""
        return self.class_names[int(value if np.ndim(value) == 0 else value.argmax())]

    def describe_error(self, error: float) -> str:
        """Returns how sure the model was."""
        return f"{error:.0%} sure"

    def text(self, scores: Mapping) -> list[str]:
        """Returns a table of classes, the numbers, and what was mixed up most."""
        lines = [*class_scores.lines(scores["classes"]), *super().text(scores)]
        pairs = scoring.confused(scores["confusion"], list(scores["classes"]))
        if pairs:
            texts = [f"{true} as {other} ({count})" for true, other, count in pairs]
            lines.append(f"most confused: {', '.join(texts)}")
        return [*lines, *self._sure_lines(scores)]

    def _sure_lines(self, scores: Mapping) -> list[str]:
        """Returns from which confidence on answers are right often enough."""
        points = scores.get("operating_points") or {}
        sure = points.get("answers")
        if not sure:
            return []
        return [
            f"answers that are at least {sure['threshold']:.1%} sure: {sure['share']:.0%} of the images, "
            f"{sure['precision']:.1%} of them right"
        ]

    def figures(
        self, scores: Mapping, targets: np.ndarray | None, outputs: np.ndarray | None
    ) -> "dict[str, Figure]":
        """Returns the confusion matrix, and how often answers of each confidence are right."""
        from keras_transfer.pages import plots  # brings matplotlib

        figures = {"confusion": plots.confusion(scores["confusion"], list(scores["classes"]))}
        if scores.get("reliability"):
            figures["reliability"] = plots.reliability(scores["reliability"])
        return figures

    def section(
        self,
        scores: Mapping,
        targets: np.ndarray | None,
        outputs: np.ndarray | None,
        *,
        name: str,
    ) -> str:
        """Returns the table of classes, the confusion matrix and the reliability of confidences."""
        from keras_transfer.pages import plots  # brings matplotlib

        names, counts = list(scores["classes"]), scores["confusion"]
        label = "Confusion matrix, rows true, columns predicted"
        figures = self.figures(scores, targets, outputs)
        picture = plots.svg(figures["confusion"], name=f"confusion-{name}", label=label)
        caption = "Blue is right, red is wrong; the stronger, the larger its share of the row."
        wide = ' class="wide" tabindex="0" role="group" aria-label="Confusion matrix"'
        figure = f"<figure{wide}>{picture}<figcaption>{caption}</figcaption></figure>"

        items = []
        for true, other, count in scoring.confused(counts, names, limit=8):
            said = f'<span class="said">{document.breakable(other)}</span>'
            items.append(f"<li>{document.breakable(true)} taken for {said}: {count}</li>")
        listed = "".join(items)
        if listed:
            listed = f'<p class="quiet">Most confused:</p><ul class="notes">{listed}</ul>'
        confusion = f'<div class="beside">{figure}<div>{listed}</div></div>'
        parts = class_scores.table(scores["classes"]) + document.box("Confusion", confusion)
        if "reliability" in figures:
            parts += _reliability(figures["reliability"], name)
        return parts

    def decode(self, outputs: Any) -> dict:
        """Returns `probabilities`, the best `label`, and the top `classes`, best first."""
        import tensorflow as tf

        names = tf.constant(self.class_names)
        top = tf.math.top_k(outputs, k=min(TOP, self.units)).indices
        classes = tf.gather(names, top)
        return {"probabilities": tf.identity(outputs), "label": classes[:, 0], "classes": classes}

    def measure(self, targets: np.ndarray, outputs: np.ndarray) -> dict:
        """Returns accuracy, precision, recall, F1, scores per class and the confusion matrix."""
        return metrics.classification_scores(targets, outputs, self.class_names)

    def scorer(self) -> "ClassScorer":
        """Returns what keeps a few numbers of each image."""
        return ClassScorer(self)

    def baseline(self, targets: np.ndarray, outputs: np.ndarray) -> dict | None:
        """Compares with always answering the most frequent class; None where all images are of one class."""
        scorer = self.scorer()
        scorer.add(targets, outputs)
        return scorer.baseline()

    def needs_targets(self) -> bool:
        """Whether class weights or priors come from the training data."""
        given = {} if isinstance(self.chosen_loss, str) else self.chosen_loss.get_config()
        by_priors = self.chosen_loss == "logit_adjusted" or isinstance(
            self.chosen_loss, losses.LogitAdjusted
        )
        from_data = by_priors and given.get("priors") is None
        return (
            from_data
            or isinstance(self.class_weights, str)
            or isinstance(given.get("class_weights"), str)
        )

    def answer(self, output: np.ndarray, *, top: int = 3) -> dict[str, float]:
        """Returns the probabilities of the likeliest classes by name, best first."""
        best = output.argsort()[::-1][:top]
        return {self.class_names[index]: round(float(output[index]), 6) for index in best}

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        loss = self.chosen_loss
        if not isinstance(loss, str):
            loss = keras.saving.serialize_keras_object(loss)
        own = {
            "classes": self.class_names,
            "loss": loss,
            "class_weights": self.class_weights,
            "label_smoothing": self.label_smoothing,
        }
        return {**super().get_config(), **own}

    @classmethod
    def example(cls, **options: Any) -> tuple["Classification", np.ndarray]:
        """Returns three animals."""
        return cls(["cat", "dog", "emu"], **options), np.array([0, 2, 1, 2])


class ClassScorer(base.Scorer):
    """Keeps a few numbers of each image; a million images take about 150 MB.

    Args:
        task: A classification.

    Example:
        >>> scorer = ClassScorer(Classification(["cat", "dog"]))
        >>> scorer.add(np.array([0]), np.array([[0.9, 0.1]]))
        >>> scorer.scores()["accuracy"]
        1.0
    """

    task: Classification

    def __init__(self, task: Classification) -> None:
        super().__init__(task)
        self.tally = scoring.ClassTally(task.class_names)
        self.images = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing was added."""
        return not self.images

    def add(self, targets: np.ndarray, outputs: np.ndarray) -> None:
        """Adds a batch."""
        self.images += len(targets)
        self.tally.add(targets, outputs)

    def scores(self) -> dict:
        """Returns the scores of all images."""
        return self.tally.scores(groups=self.groups)

    def operating_points(self, measure: str, least: float) -> dict:
        """Returns the thresholds of `ClassTally.operating_points`."""
        return self.tally.operating_points(measure, least)

    def baseline(self) -> dict | None:
        """Compares with always answering the most frequent class; None where all images are of one class."""
        counts = self.tally.counts()
        support = counts.sum(axis=1)
        share = float(support.max() / self.images)
        if share == 1.0:
            return None
        right = int(counts.diagonal().sum())
        return {
            "answer": repr(self.task.class_names[int(support.argmax())]),
            "scores": {"accuracy": share},
            "is_beaten": baselines.is_share_above(right, self.images, share),
        }


def _reliability(figure: "Figure", name: str) -> str:
    """Returns the reliability diagram with what it means, as HTML."""
    from keras_transfer.pages import plots  # brings matplotlib

    label = "How often answers are right, by the confidence that the model gives them"
    picture = plots.svg(figure, name=f"reliability-{name}", label=label)
    help_line = (
        '<p class="quiet">How often answers are right, by the confidence that the model gives them. On the dashed line '
        "confidence is what it says; below it the model is too sure. Large dots stand for many images.</p>"
    )
    figure_and_help = f'<div class="beside"><figure>{picture}</figure><div>{help_line}</div></div>'
    return document.box("Confidence", figure_and_help)


def _loss(loss: object) -> str | keras.losses.Loss:
    """Returns a known name or a Keras loss."""
    if isinstance(loss, Mapping):
        loss = keras.saving.deserialize_keras_object(loss)
    if isinstance(loss, keras.losses.Loss):
        return loss
    if not isinstance(loss, str):
        raise checks.error("`loss` must be a name or a Keras loss", given=repr(loss))
    lookup.find(loss, LOSSES, argument="loss")
    return loss


def _check_once(loss: str | keras.losses.Loss, mine: dict) -> None:
    """Raises an error for what a loss would not see, or has already."""
    if isinstance(loss, str):
        return
    own = loss.get_config() if isinstance(loss, losses.ClassLoss) else None
    for name, value in mine.items():
        if value and (own is None or own[name]):
            given = f"{type(loss).__name__}, which {'does not know it' if own is None else 'has its own'}"
            raise checks.error(
                f"`{name}` must go with a loss of kt.losses that has none yet", given=given
            )
