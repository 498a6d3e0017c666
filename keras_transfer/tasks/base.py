"""What a task is: everything that differs between kinds of answers, and the head of answers without places."""

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any  # an answer is whatever the task says

import keras
import numpy as np

from keras_transfer import layers
from keras_transfer.core import checks
from keras_transfer.tasks import reporting

__all__ = ["POOLING", "Scorer", "Task", "require"]

POOLING = ("avg", "max", "concat")


class Task(reporting.Reporting):
    """One question that a model answers; subclass it for a kind of your own.

    A subclass must have `kind`, `units`, `activate`, `loss`, `metrics`, `encode`, `decode` and `measure`; to be a row
    of `TASKS` also `example`. All else has a default: no mistakes are shown, the report has the numbers of `measure`
    only and compares them with nothing (`baseline`), the loss says which epoch is best, the head is trained in epochs,
    not solved (`link`), and answers are taken to have places in the image (`moves_with_image`): its random changes need
    targets that can be moved with it.

    Targets are arrays of one of the kinds in `data/targets/`. Tasks with a value a pixel share `tasks.dense.DenseTask`.

    The constructor checks and stores, and `get_config` returns what it takes: the task is saved inside the model, so
    register the class with `keras.saving.register_keras_serializable`. `kt.testing.check_task` runs the checks that the
    package's own pass.

    Args:
        hidden: Widths of the hidden layers between pooling and output.
        dropout: Share dropped before every dense layer of the head.
        pooling: "avg", "max" or "concat" (both) over the feature map's places.
        level: Where in the trunk the head starts, "P2" to "P5" of `backbone.levels`; by default at its end.
        stop_gradient: Whether the task trains its head only: the trunk learns nothing from it.

    Example:
        >>> Task(hidden=[64]).hidden
        [64]
    """

    kind = "task"
    """Its name in `TASKS`, in reports, and of its output where a model has one task only."""

    class_names: list[str] | None = None
    has_unit = False
    """Whether the answer has a unit, which is taken from the training targets.

    Such a task has a method `spread(targets)` that returns scale and offset: `activate` gets the head times scale plus
    offset.
    """

    pipeline: str | None = None
    """What model hubs call such a task, for the model card."""

    # How epochs are compared.
    monitor: str | None = None
    """The metric of `metrics` that says which epoch is best, a share of right answers; None for the loss."""

    loss_tells_best = True
    """Whether, without `monitor`, the validation loss says which epoch is best; else the last one counts.

    That holds for a model with other tasks, too.
    """

    # What training may do with targets and head.
    mixed_classes: int | None = None
    """The number of classes where targets are class ids, which MixUp and label smoothing make distributions of."""

    label_smoothing = 0.0
    """Share of a target that training spreads over all classes."""

    moves_with_image = True
    """Whether a flip or a crop must change the targets, too (boxes, masks, pictures), not only the image."""

    bears_changes = False
    """Whether a target, moved along, stays right when its image is mirrored, cropped and coloured a little."""

    link: str | None = None
    """How a linear head becomes the answer, "softmax", "sigmoid" or "identity"; such a head can be solved for."""

    calibrates = False
    """Whether `calibrate` chooses something on the validation data once training is over."""

    has_operating_points = False
    """Whether its scorer says which threshold gives how much precision or recall."""

    # Where the head starts.
    levels: tuple[str, ...] = ()
    """The levels whose maps `head` takes, as far as the backbone has them, "P0" for the image; () for one tensor."""

    needed_levels: tuple[str, ...] = ()
    """Those of `levels` that the backbone must have."""

    level: str | None = None
    stop_gradient = False

    def __init__(
        self,
        *,
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
        pooling: str = "avg",
        level: str | None = None,
        stop_gradient: bool = False,
    ) -> None:
        self.hidden = [checks.integer(width, name="hidden") for width in hidden]
        self.dropout = checks.share(dropout, name="dropout")
        self.pooling = checks.choice(pooling, POOLING, name="pooling")
        if level is not None and not (isinstance(level, str) and re.fullmatch(r"P\d", level)):
            raise checks.error(
                "`level` must be None or a level of the backbone such as 'P4'", given=repr(level)
            )
        self.level = level
        self.stop_gradient = bool(checks.choice(stop_gradient, (False, True), name="stop_gradient"))

    # The head.

    @property
    def units(self) -> int:
        """Width of the head's last dense layer."""
        raise NotImplementedError

    def head(
        self, features: Any, *, name: str, image_size: tuple[int, int] | None = None
    ) -> keras.KerasTensor:
        """Puts the head on a feature map (or vector); its layers are named `<name>_...`, its output `name`.

        A task with `levels` is given a dict of maps by level, from the lowest up, and the height and width of the
        model's images as `image_size`; others get a tensor, and no `image_size`.
        """
        x = self._pool(features, name)
        for number, width in enumerate(self.hidden, 1):
            x = self._drop(x, f"{name}_dropout_{number}")
            x = keras.layers.Dense(width, activation="relu", name=f"{name}_hidden_{number}")(x)
        x = self._drop(x, f"{name}_dropout")
        x = keras.layers.Dense(self.units, name=f"{name}_logits")(x)
        return layers.TaskOutput(self, name=name)(x)

    def _pool(self, features: keras.KerasTensor, name: str) -> keras.KerasTensor:
        if len(features.shape) == 2:
            return features
        pools = {"avg": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}
        if self.pooling in pools:
            return pools[self.pooling](name=f"{name}_pool")(features)
        both = [pool(name=f"{name}_pool_{key}")(features) for key, pool in pools.items()]
        return keras.layers.Concatenate(name=f"{name}_pool")(both)

    def _drop(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        return keras.layers.Dropout(self.dropout, name=name)(x) if self.dropout else x

    def on_level_ends(self, ends: layers.LevelEnds) -> "Task":
        """Returns the task for a trunk that has a feature pyramid or a decoder of its own, which ends in `ends`.

        By default nothing changes: the head takes those of its `levels` that the trunk names.
        """
        return self

    def activate(self, outputs: keras.KerasTensor) -> keras.KerasTensor:
        """Turns the head's last tensor into the answer that `predict` returns."""
        raise NotImplementedError

    # Explaining.

    def evidence(self, logits: Any, answers: Any) -> Any:
        """Returns how much speaks for each thing that an explanation may ask for, (batch, things), with `keras.ops`.

        By default these are the classes, and their logits speak for them; without classes the answer's numbers. What
        has places is averaged over them.

        Args:
            logits: The head's last tensor, in float32.
            answers: What `activate` makes of it.
        """
        values = answers if self.class_names is None else logits
        places = keras.ops.reshape(values, (keras.ops.shape(values)[0], -1, values.shape[-1]))
        return keras.ops.mean(places, axis=1)

    @property
    def explained_names(self) -> list[str]:
        """The names of the columns of `evidence`."""
        return self.class_names or [str(number) for number in range(self.units)]

    # Training.

    def loss(self, targets: np.ndarray | None = None) -> keras.losses.Loss:
        """Returns the loss of targets and answers, best a `kt.losses.TaskLoss`, whose mean leaves missing labels out.

        Args:
            targets: All labelled training targets, maybe not encoded, for what depends on them (class weights, a unit);
                None where the model is made before there is data.
        """
        raise NotImplementedError

    def metrics(self) -> list[keras.metrics.Metric]:
        """Returns new metrics for `compile`."""
        raise NotImplementedError

    def needs_targets(self) -> bool:
        """Returns whether `loss` or the answer's unit depends on the training targets."""
        return self.has_unit

    def encode(self, targets: np.ndarray) -> np.ndarray:
        """Checks targets and returns them as the loss takes them.

        The loss must take the targets of `kt.data` as they are, too: `fit` reads its batches as they come. `encode`
        checks them before training starts, and a solved head is fitted to what it returns.
        """
        raise NotImplementedError

    def adversary(self) -> dict | None:
        """Returns the arguments of the `models.adversary.Adversary` that learns beside the model; None for none."""
        return None

    def check_targets(self, targets: np.ndarray, image_size: Sequence[int | None]) -> None:
        """Raises an error for targets that the loss cannot take, or that do not suit images of this size.

        By default `encode` says.
        """
        self.encode(targets)

    def check_shape(self, targets: Sequence[int | None], answers: Sequence[int | None]) -> None:
        """Raises an error where targets of a shape cannot be compared with answers of another; None is any length.

        By default all shapes that `encode` takes will do.
        """

    def linear_rows(
        self, targets: np.ndarray, loss: keras.losses.Loss, *, smoothing: float | None = None
    ) -> np.ndarray:
        """Returns what a linear head is fitted to, one row an example, for tasks with a `link`.

        Args:
            targets: Encoded.
            loss: Of all training targets.
            smoothing: Of the labels; None for that of the loss.
        """
        return np.asarray(targets, "float64").reshape(len(targets), self.units)

    def logit_shift(self, loss: keras.losses.Loss) -> np.ndarray:
        """Returns what the loss adds to the answer's logits while training."""
        return np.zeros(self.units)

    def calibrate(self, targets: np.ndarray, outputs: np.ndarray) -> str:
        """Chooses what answers depend on from validation data, and returns one line about it."""
        raise NotImplementedError

    def temperature(self, targets: np.ndarray, outputs: np.ndarray) -> tuple[float, str] | None:
        """Returns what the logits should be divided by so that answers are as sure as they are right, and a line.

        Args:
            targets: Of the validation data.
            outputs: The model's answers.

        Returns:
            None for a task whose answers have no confidence, or are not meant to suit the validation data.
        """
        return None

    # Measuring.

    @classmethod
    def infer(
        cls, targets: np.ndarray, outputs: np.ndarray, class_names: Sequence[str] | None
    ) -> "Task | None":
        """Returns a task that fits the outputs of a model without tasks, or None if this kind does not."""
        return None

    def renamed(self, class_names: Sequence[str] | None) -> "Task":
        """Returns the task with other names for its classes."""
        if class_names is None or self.class_names is None:
            return self
        task = copy.copy(self)
        task.class_names = list(class_names)
        return task

    def check(
        self, targets: np.ndarray, outputs: np.ndarray, *, first: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns targets and outputs as `measure` takes them, or raises an error; `first` is the first row's index."""
        return targets, outputs

    def scorer(self) -> "Scorer":
        """Returns what collects checked targets and outputs batch by batch and measures them in the end.

        By default it keeps all of them, for `measure` and `baseline`. A task whose answers are large has one that keeps
        sums.
        """
        return Scorer(self)

    def measure(self, targets: np.ndarray, outputs: np.ndarray) -> dict:
        """Scores outputs against targets, as a dict that goes into JSON; `score` is one of its keys."""
        raise NotImplementedError

    def baseline(self, targets: np.ndarray, outputs: np.ndarray) -> dict | None:
        """Compares outputs with the best answer that is the same for all images.

        Args:
            targets: As `check` returns them.
            outputs: As `check` returns them.

        Returns:
            None where there is nothing to compare with; else a dict that goes into JSON: `answer` (that answer in
            words), `scores` (what it scores, by the names of `measure` or `metrics`, `score` among them), `is_beaten`
            (whether the outputs are better by more than chance).
        """
        return None

    def doubts(self, outputs: np.ndarray) -> np.ndarray | None:
        """Returns how unsure each answer is, from 0 to 1; None for a task whose answers do not say."""
        return None

    def errors(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray | None:
        """Returns how wrong each answer is, 0 where it is right; None for a task that shows no mistakes."""
        return None

    # Serving.

    def decode(self, outputs: Any) -> dict:
        """Turns a batch of the model's output into the answers that a server gives, with TensorFlow operations.

        Returns:
            Tensors by name, one row an image.
        """
        raise NotImplementedError

    def differences(self, key: str, expected: np.ndarray, given: np.ndarray) -> np.ndarray | None:
        """Returns how far the answers of an export are from Keras's, a number an image; None to compare each number.

        Args:
            key: Of the answers, as `decode` names them.
            expected: Keras's, a row an image.
            given: Those of the export, of the same shape.
        """
        return None

    def answer(self, output: np.ndarray, *, top: int = 3) -> dict[str, float] | list[float]:
        """Returns what `keras-transfer predict` says about one image: shares by name, at most `top`, or numbers."""
        return [float(value) for value in np.ravel(output)]

    def compact(self, outputs: np.ndarray) -> np.ndarray:
        """Returns what `row` and `draw` need of a batch of outputs, where that is less than all of them."""
        return outputs

    def place(self, answers: Mapping, scales: Any) -> Mapping:
        """Returns the answers of `decode` for the pictures that were given, which had another size than the model's.

        Args:
            answers: From `decode`.
            scales: Height and width of each picture, as a share of the model's image, a tensor (batch, 2).
        """
        return answers

    def row(
        self, output: np.ndarray, *, top: int = 3, scale: tuple[float, float] = (1.0, 1.0)
    ) -> dict:
        """Returns what `kt.predict` says about one image.

        Args:
            output: The model's output for the image.
            top: How many classes to list.
            scale: Height and width of the picture that was given, as a share of the model's image.
        """
        answer = self.answer(output, top=top)
        if isinstance(answer, Mapping):
            return {"label": self.describe(output), "probabilities": dict(answer)}
        return {"value": answer[0] if len(answer) == 1 else list(answer)}

    # Saving and checks.

    def intervals_of_groups(
        self, targets: np.ndarray, outputs: np.ndarray, groups: np.ndarray
    ) -> dict[str, list[float]]:
        """Returns the 95 % intervals of scores where images are not independent; none where the task cannot say."""
        return {}

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        config = {"hidden": self.hidden, "dropout": self.dropout, "pooling": self.pooling}
        # Only where they are set: a task of somebody's own may have a constructor that does not take them.
        places = {"level": self.level, "stop_gradient": self.stop_gradient}
        return config | {name: value for name, value in places.items() if value}

    @classmethod
    def from_config(cls, config: dict) -> "Task":
        """Makes the task again from its config."""
        return cls(**config)

    @classmethod
    def example(cls, **options: Any) -> tuple["Task", np.ndarray]:
        """Returns a small task of this kind with four or more targets, for checks.

        Args:
            options: For the constructor: `hidden`, `dropout` and `pooling`.
        """
        raise NotImplementedError


class Scorer:
    """Collects the targets and outputs of a task, as `Task.check` returns them, and measures them in the end.

    Args:
        task: The task.

    Example:
        >>> Scorer(Task()).is_empty
        True
    """

    groups: np.ndarray | None = None
    """A number for each image that was added, equal for those that belong together; None where each is by itself."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._targets: list[np.ndarray] = []
        self._outputs: list[np.ndarray] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing was added."""
        return not self._targets

    def add(self, targets: np.ndarray, outputs: np.ndarray) -> None:
        """Adds a batch."""
        self._targets.append(targets)
        self._outputs.append(outputs)

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns all targets and outputs."""
        return np.concatenate(self._targets), np.concatenate(self._outputs)

    def scores(self) -> dict:
        """Returns what `Task.measure` does, with the intervals of groups where there are any."""
        scores = dict(self.task.measure(*self.arrays()))
        if self.groups is not None:
            scores["intervals"] = self.task.intervals_of_groups(*self.arrays(), self.groups)
        return scores

    def baseline(self) -> dict | None:
        """Returns what `Task.baseline` does."""
        return self.task.baseline(*self.arrays())

    def operating_points(self, measure: str, least: float) -> dict | None:
        """Returns the thresholds that give at least so much "precision" or "recall"; None for answers without any."""
        return None


def require(task: Any) -> Task:
    """Returns `task` if it is one."""
    if not isinstance(task, Task):
        raise checks.error(
            "`task` must be a task or a dict of tasks by name",
            given=repr(task),
            fix="Use one of kt.tasks, or a subclass of kt.tasks.Task.",
        )
    return task
