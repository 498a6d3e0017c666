"""One training of a comparison: an arm at a seed, trained and measured."""

import contextlib
import dataclasses
import io
import logging
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import keras

from keras_transfer import backbones, evaluation, models, tasks, training
from keras_transfer.core import checks
from keras_transfer.layers import marks
from keras_transfer.studies.arms import Arm
from keras_transfer.studies.initial import InitialWeights
from keras_transfer.studies.kept_model import KeptModel, can_be_kept
from keras_transfer.studies.scores import Score
from keras_transfer.training.methods import solved_head

__all__ = ["Setting", "Trial", "measure", "train", "without_advice"]


class Trial(NamedTuple):
    """What is trained: an arm at a seed, on so many labelled images (None for all)."""

    arm: str
    seed: int
    images: int | None = None


@dataclasses.dataclass
class Setting:
    """What all trainings of a comparison have in common; it goes to other processes.

    Attributes:
        data: From `kt.data`, or a function of a seed that returns such data.
        task: A task, or tasks by name.
        backbone: A backbone, or what `kt.backbone` makes one of.
        arms: By name.
        scores: Of each task.
        options: Arguments of `kt.fine_tune` for all arms.
        folder: Where outputs of frozen layers are kept for all arms and seeds.
    """

    data: Any
    task: tasks.Task | Mapping[str, tasks.Task]
    backbone: Any
    arms: Mapping[str, Arm]
    scores: Mapping[str, Score]
    options: Mapping[str, Any]
    folder: str

    def __post_init__(self) -> None:
        self._trunks: dict[Any, InitialWeights] = {}
        self._kept: dict[str, KeptModel] = {}  # of the arm that is trained

    def __getstate__(self) -> dict:
        """Returns what another process needs: it builds backbones and models of its own."""
        return {**self.__dict__, "_trunks": {}, "_kept": {}}

    def data_of(self, seed: int, images: int | None = None) -> Any:
        """Returns the data of a seed, with orders of its own, or some of its labelled images."""
        if callable(self.data):
            data = self.data(seed)
        else:
            data = self.data.with_orders(self.data.seed + seed)
        if images is None:
            return data
        with contextlib.redirect_stdout(io.StringIO()):  # a small part lacks classes
            return data.sample(images, seed=seed)

    def backbone_of(self, arm: Arm, data: Any) -> keras.Model:
        """Returns an arm's backbone, as it was before any training; one with random weights is made anew."""
        source = self.backbone if arm.source is None else arm.source
        if arm.is_random:
            return _make_random(source, data)
        key = source if isinstance(source, str) else id(source)
        if key not in self._trunks:
            self._trunks[key] = InitialWeights(_make(source, data))
        self._trunks[key].restore()
        return self._trunks[key].model

    def backbone_for_checks(self, arm: Arm, data: Any) -> keras.Model:
        """Returns a backbone of an arm's form, whatever its weights; none is made twice."""
        source = self.backbone if arm.source is None else arm.source
        key: Any = source if isinstance(source, str) else id(source)
        if arm.is_random and key not in self._trunks:
            key = (key, "random")
            if key not in self._trunks:
                self._trunks[key] = InitialWeights(_make_random(source, data))
        if key in self._trunks:
            return self._trunks[key].model
        return self.backbone_of(arm, data)

    def model_of(
        self, name: str, data: Any, seed: int
    ) -> tuple[keras.Model, training.Traces | None]:
        """Returns an arm's model as it is before any training, and where runs keep what they trace.

        The seeds of an arm, if they come one after the other, get the same object, as `kt.build_model` makes it.
        """
        arm = self.arms[name]
        backbone = self.backbone_of(arm, data)
        new = models.build_model(backbone, self.task, seed=seed, **arm.scheme)
        if arm.is_random or not can_be_kept(new):
            return new, None
        if name in self._kept:
            self._kept[name].begin_as(new)
        else:
            self._kept = {name: KeptModel(new)}
        return self._kept[name].model, self._kept[name].traces

    def restore(self) -> None:
        """Puts all backbones back to where they were."""
        for trunk in self._trunks.values():
            trunk.restore()


def _make(source: Any, data: Any, **options: Any) -> keras.Model:
    if isinstance(source, keras.Model):
        return source
    if data.channels != 3:
        options["channels"] = data.channels
    return backbones.backbone(source, image_size=data.image_size, **options)


def _make_random(source: Any, data: Any) -> keras.Model:
    if not isinstance(source, keras.Model):
        return _make(source, data, weights=None)
    if marks.representation(source) is None:
        fix = "Make it with kt.backbone(model, preprocess=...)."
        raise checks.error(
            "a backbone must come from kt.backbone", given=repr(source.name), fix=fix
        )
    return backbones.backbone(source, weights=None)


def train(setting: Setting, trial: Trial) -> dict:
    """Trains and measures as `measure` does; errors begin with the arm and the seed."""
    try:
        return measure(setting, trial)
    except checks.InputError as wrong:
        raise checks.InputError(f"arm {trial.arm!r}, seed {trial.seed}: {wrong}") from wrong


@contextlib.contextmanager
def without_advice() -> Iterator[None]:
    """Silences TensorFlow's advice against many traces: a study has many models.

    Example:
        >>> with without_advice():
        ...     level = logging.getLogger("tensorflow").level
        >>> level == logging.ERROR
        True
    """
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def measure(setting: Setting, trial: Trial) -> dict:
    """Trains and measures; returns the row of a training: scores by task, their intervals, seconds, parameters."""
    with without_advice():
        return _measure_trained(setting, trial)


def _measure_trained(setting: Setting, trial: Trial) -> dict:
    arm = setting.arms[trial.arm]
    data = setting.data_of(trial.seed, trial.images)
    keras.utils.set_random_seed(trial.seed)
    wall, processors = time.perf_counter(), time.process_time()
    result: Any = None
    if arm.function is not None:
        result = arm.function(data, trial.seed)
    else:
        result = _train_model(setting, trial, data)
    times = {
        "seconds": round(time.perf_counter() - wall, 2),
        "cpu_seconds": round(time.process_time() - processors, 2),
    }
    row = {"arm": trial.arm, "seed": trial.seed, "of": trial.images, "images": _count(data)}
    return {**row, **_measure(setting, result, data), **times}


def _train_model(setting: Setting, trial: Trial, data: Any) -> keras.Model:
    arm = setting.arms[trial.arm]
    model, traces = setting.model_of(trial.arm, data, trial.seed)
    kept = training.Cache(where="disk", folder=setting.folder, traces=traces)
    common: dict[str, Any] = {"watch": (), "cache": kept, **setting.options}
    ours: dict[str, Any] = {"seed": trial.seed, "verbose": 0}
    has_test = data.test is not None
    if arm.needs_no_validation and has_test and data.validation is not None:
        data = data.joined()
    if arm.is_probe and solved_head.can_be_solved(model):
        # The penalty is chosen by cross-validation where there are no validation images.
        stages = [training.Stage(solve=True, train="head")]
        probe: dict[str, Any] = {"stages": stages, "refit": False, "calibrate": False, "watch": ()}
        training.fine_tune(model, data, **probe, cache=common["cache"], **ours)
        return model
    options = {**common, **arm.options, **ours}
    if not has_test:  # scores are measured on validation images
        options.setdefault("refit", False)
    training.fine_tune(model, data, **options)
    return model


def _measure(setting: Setting, result: Any, data: Any) -> dict:
    """Returns scores by task with the report's intervals, which tasks are at chance, and the size of the model."""
    if not isinstance(result, keras.Model):
        own = _read_numbers(setting, result)
        return {"scores": own, "intervals": {}, "chance": {}, "parameters": None}
    task = setting.task if not marks.outputs(result) else None
    report = evaluation.evaluate(result, data, task=task, max_mistakes=0, verbose=0)
    is_single = not isinstance(setting.task, Mapping)
    scores: dict[str, float] = {}
    intervals: dict[str, list[float] | None] = {}
    chance: dict[str, bool | None] = {}
    for name, score in setting.scores.items():
        part = report if is_single else report[name]
        value = part.get(score.name)
        if value is None:
            expected = f"`data` must have held-out images on which {name!r} can be measured"
            raise checks.error(expected, given=f"no {score.name}")
        scores[name] = float(value)
        bounds: list = list((part.get("intervals") or {}).get(score.name) or ())
        intervals[name] = None
        if bounds and None not in bounds:  # what is not finite is None in a report
            intervals[name] = [float(bound) for bound in bounds]
        baseline = part.get("baseline")
        chance[name] = None if not baseline else not baseline["is_beaten"]
    facts = {"scores": scores, "intervals": intervals, "chance": chance}
    return {**facts, "parameters": int(result.count_params())}


def _read_numbers(setting: Setting, result: Any) -> dict[str, float]:
    """Returns what a user's function measured itself."""
    if not isinstance(result, Mapping) and len(setting.scores) == 1:
        result = {next(iter(setting.scores)): result}
    found: dict[str, float] = {}
    with contextlib.suppress(TypeError, ValueError, KeyError):
        found = {name: float(result[name]) for name in setting.scores}
    if not found or not all(map(math.isfinite, found.values())):
        wanted = "a score" if len(setting.scores) == 1 else "a dict of scores by task"
        expected = f"a function must return a Keras model, or {wanted}"
        raise checks.error(expected, given=repr(result))
    return found


def _count(data: Any) -> int:
    """Returns how many labelled images there are, without those that are measured."""
    splits = ("train", "validation") if data.test is not None else ("train",)
    return sum(len(data.examples[split]) for split in splits if split in data.examples)
