"""`kt.training.ray_trainer`: a run on several machines, whose workers Ray starts, watches and starts again."""

import logging
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any  # a trainer and checkpoints of Ray, which is imported only here

import keras

from keras_transfer.core import checks, optional
from keras_transfer.machine import ray_cluster
from keras_transfer.storage import files
from keras_transfer.training.run import state

__all__ = ["RayTrainer", "RayWorker", "ray_trainer"]

STORAGE = "ray"  # the folder in `run_dir`
REFUSAL = "refused.txt"  # what was wrong with the input, for workers that are started again


@dataclass(frozen=True)
class RayWorker:
    """What a worker needs to do its share of a run, and to go on where the last group of workers was.

    Attributes:
        rank: Which worker this is, from 0, the one that writes files.
        count: How many workers there are.
        run_dir: This worker's folder, for `kt.fine_tune`. What worker 0 has in it in the end is the result.
        resume: Whether the folder has the state of workers that ended, for `kt.fine_tune`.
        callbacks: Those that hand the state over to Ray, for `kt.fine_tune`.
    """

    rank: int
    count: int
    run_dir: pathlib.Path
    resume: bool
    callbacks: tuple[keras.callbacks.Callback, ...]


@dataclass(frozen=True)
class RayTrainer:
    """A run that waits for its `fit`.

    Attributes:
        trainer: Ray's own trainer, a `ray.train.tensorflow.TensorflowTrainer`.
        run_dir: Where worker 0's folder ends up.
        storage: Where Ray keeps the state, if that is a folder of this run alone; else None.
    """

    trainer: Any
    run_dir: pathlib.Path
    storage: pathlib.Path | None

    def fit(self) -> Any:
        """Runs the workers to the end, and copies worker 0's folder to `run_dir`.

        Returns:
            A `ray.train.Result`: its `metrics` are those of the last epoch.

        Raises:
            InputError: If a worker's input was wrong: it would be wrong again.
            ray.train.v2.api.exceptions.TrainingFailedError: If workers died more often than `restarts`.
        """
        result = self.trainer.fit()
        if result.return_value is not None:
            shutil.rmtree(self.storage or "", ignore_errors=True)
            raise checks.InputError(result.return_value)
        with result.checkpoint.as_directory() as written:
            shutil.copytree(written, self.run_dir, dirs_exist_ok=True)
        if self.storage is not None:
            shutil.rmtree(self.storage)
        return result


def ray_trainer(
    train: Callable[[RayWorker], object],
    *,
    workers: int,
    run_dir: str | os.PathLike,
    cpus: float = 1,
    gpus: float = 0,
    restarts: int = 3,
    storage: str | os.PathLike | None = None,
    environment: Mapping[str, str] | None = None,
) -> RayTrainer:
    """Returns a trainer that runs a function on several workers, which train one model together.

    Its `fit()` has Ray start the workers, tell each of them of the others and run `train` on all of them. When a worker
    dies or its machine goes away, the group starts again and goes on with the last finished epoch: the result is that
    of a run without the accident. So does a trainer for the same `run_dir` when the whole run was killed. Needs the
    extra "ray".

    For a cluster of several machines call `ray.init(address=...)` before, or set the environment variable RAY_ADDRESS.
    Without them a cluster of this machine alone is started.

    Args:
        train: What a worker does. It gets a `RayWorker`, makes `kt.strategy("multiworker")`, builds the model in its
            scope, and passes `run_dir`, `resume` and `callbacks` of the worker on to `kt.fine_tune`.
        workers: How many workers train together.
        run_dir: The folder for all that worker 0 writes to its `run_dir`.
        cpus: Processors of each worker.
        gpus: GPUs of each worker.
        restarts: How often workers that died are started again.
        storage: Where the state is kept while the run lasts: a folder that all machines see, or an address such as
            "gs://bucket/runs"; by default a folder in `run_dir`.
        environment: More environment variables of the workers.

    Raises:
        InputError: If a number is out of range.
        MissingExtraError: If Ray is not installed.

    Example:
        >>> import keras_transfer as kt
        >>> def train(worker):
        ...     strategy = kt.strategy("multiworker")
        ...     data = kt.data.from_folder("/shared/photos", image_size=160)
        ...     with strategy.scope():
        ...         backbone = kt.backbone("MobileNetV2", image_size=160)
        ...         model = kt.build_model(backbone, kt.tasks.Classification(data.class_names), seed=0)
        ...     options = {"run_dir": worker.run_dir, "resume": worker.resume}
        ...     kt.fine_tune(model, data, seed=0, callbacks=worker.callbacks, **options)
        ...     model.save(worker.run_dir / "model.keras")
        >>> ray_trainer(train, workers=0, run_dir="/shared/runs/photos")
        Traceback (most recent call last):
        keras_transfer.core.checks.InputError: `workers` must be a whole number of at least 1. Given: 0.
    """
    checks.integer(workers, name="workers")
    checks.number(cpus, name="cpus", above=0)
    checks.number(gpus, name="gpus", minimum=0)
    checks.integer(restarts, name="restarts", minimum=0)
    if not callable(train):
        raise checks.error("`train` must be a function of a RayWorker", given=repr(train))
    ray_cluster.load()
    folder = files.check_writable(run_dir, argument="run_dir")
    name = folder.absolute().name or "run"
    own = folder.absolute() / STORAGE if storage is None else None
    ray_cluster.connect(cpus=workers * cpus, gpus=workers * gpus)
    ray_train = optional.require("ray.train", extra="ray", purpose=ray_cluster.PURPOSE)
    flavour = optional.require("ray.train.tensorflow", extra="ray", purpose=ray_cluster.PURPOSE)

    place = str(own) if storage is None else os.fspath(storage)
    trainer = flavour.TensorflowTrainer(
        _work,
        train_loop_config={
            "train": train,
            "name": name,
            "refusal": None if own is None else own / REFUSAL,
        },
        scaling_config=ray_train.ScalingConfig(
            num_workers=workers,
            use_gpu=gpus > 0,
            resources_per_worker={"CPU": cpus, **({"GPU": gpus} if gpus else {})},
        ),
        run_config=ray_train.RunConfig(
            name=name,
            storage_path=place if "://" in place else os.path.abspath(place),
            failure_config=ray_train.FailureConfig(max_failures=restarts),
            checkpoint_config=ray_train.CheckpointConfig(num_to_keep=1),
            worker_runtime_env={"env_vars": ray_cluster.variables(environment or {})},
        ),
    )
    return RayTrainer(trainer, folder, own)


def _work(settings: dict[str, Any]) -> str | None:
    """Runs the user's function on one worker, with what the last group of workers left.

    Returns:
        None, or what was wrong with the user's input. The worker that finds it writes it down and ends with an error,
        so that Ray stops those that wait for it; all workers of the next group return it at once.
    """
    refusal = settings["refusal"]
    if refusal is not None and refusal.is_file():
        return refusal.read_text(encoding="utf-8")
    os.environ.pop("TF_USE_LEGACY_KERAS", None)  # Ray asks for Keras 2
    logging.getLogger("tensorflow").setLevel(logging.WARNING)
    ray_train = optional.require("ray.train", extra="ray", purpose=ray_cluster.PURPOSE)
    context = ray_train.get_context()
    with tempfile.TemporaryDirectory(prefix="run_") as place:
        folder = pathlib.Path(place) / settings["name"]  # which the run's model card tells
        folder.mkdir()
        checkpoint = ray_train.get_checkpoint()
        if checkpoint is not None:
            with checkpoint.as_directory() as earlier:
                shutil.copytree(earlier, folder, dirs_exist_ok=True)
        hand_over = HandOver(folder, is_chief=context.get_world_rank() == 0)
        worker = RayWorker(
            rank=context.get_world_rank(),
            count=context.get_world_size(),
            run_dir=folder,
            resume=(folder / state.FILE).is_file(),
            callbacks=(hand_over,),
        )
        try:
            settings["train"](worker)
        except checks.InputError as wrong:
            if refusal is not None:
                files.write_text(refusal, str(wrong))
            raise
        hand_over.report(finished=True)
    return None


class HandOver(keras.callbacks.Callback):
    """Gives Ray the state of the epoch before, which was written after all callbacks of that epoch.

    All workers report at the same moments, since Ray waits for all of them.
    """

    def __init__(self, folder: pathlib.Path, *, is_chief: bool) -> None:
        super().__init__()
        self.folder = folder
        self.is_chief = is_chief

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Reports what there is."""
        self.report(epoch=epoch)

    def report(self, **facts: object) -> None:
        """Reports facts, and the chief's folder."""
        ray_train = optional.require("ray.train", extra="ray", purpose=ray_cluster.PURPOSE)
        is_due = self.is_chief and any(self.folder.iterdir())
        if not is_due:
            ray_train.report(facts)
            return
        with tempfile.TemporaryDirectory(prefix="state_") as name:
            copy = pathlib.Path(name) / "run"
            shutil.copytree(self.folder, copy, ignore=shutil.ignore_patterns(state.LOCK, ".*"))
            ray_train.report(facts, checkpoint=ray_train.Checkpoint.from_directory(copy))
