"""Keeping the best epoch of a whole run, over all its stages."""

import os
import pathlib

import keras
import numpy as np

from keras_transfer.core import checks
from keras_transfer.graphs import paths
from keras_transfer.training.run import arrays, criteria

__all__ = ["FILE", "Best", "load_best"]

FILE = "best.npz"


class Best:
    """Remembers the weights of the epoch with the best value of `monitor`; of equals, that with the lowest loss.

    Accuracies should be high, anything else low. Where the rate has fallen at the end of a stage, its last epoch counts
    as the best unless another had an accuracy that is higher by more than chance (its standard error). One object
    serves all stages. With a folder, the best weights are written there whenever they improve, all or nothing; a full
    disk costs a note, not the run.

    Args:
        model: Whose weights.
        monitor: A key of the epoch's logs, or None: then the last epoch counts as best.
        folder: Where to write `best.npz`, or None.
        images: How many images an accuracy is measured on; None where unknown.

    Example:
        >>> Best(keras.Sequential([keras.Input((2,))]), "val_loss").epoch is None
        True

    Attributes:
        stage: In which stage the best weights were reached; None until there are some.
        epoch: After which epoch; None if a stage without epochs reached them.
        is_highest: Whether no other epoch had a better value.
    """

    def __init__(
        self,
        model: keras.Model,
        monitor: str | None,
        *,
        folder: str | os.PathLike | None = None,
        images: int | None = None,
    ) -> None:
        self.model = model
        self.monitor = monitor
        self.images = images
        self.file = None if folder is None else pathlib.Path(folder) / FILE
        self.stage: int | None = None
        self.epoch: int | None = None
        self.value = (np.inf, np.inf)
        self.weights: list[np.ndarray] | None = None
        self.is_exact = False
        self.is_highest = True
        self.is_written = True

    def consider(
        self,
        epoch: int | None,
        logs: dict,
        *,
        stage: int = 0,
        is_exact: bool = False,
        has_fallen: bool = False,
    ) -> None:
        """Keeps the model's weights if they are the best so far.

        Args:
            epoch: Whose weights they are; None in a stage without epochs.
            logs: Of the epoch.
            stage: Whose weights they are.
            is_exact: Whether the logs come from images, not from cached features.
            has_fallen: Whether a stage ends here whose rate falls.
        """
        if self.monitor is None:
            self.epoch, self.stage = epoch, stage
            return
        value = logs.get(self.monitor, np.nan)
        loss = logs.get("val_loss", np.inf)
        ranked = (-value if criteria.is_share(self.monitor) else value, loss)
        is_better = is_highest = ranked < self.value
        if has_fallen and criteria.is_share(self.monitor) and self.stage is not None:
            noise = criteria.standard_error(-self.value[0], self.images)
            is_better = is_better or value >= -self.value[0] - noise
        if np.isfinite(loss) and is_better:
            self.is_highest = is_highest
            self.epoch, self.stage, self.value, self.is_exact = epoch, stage, ranked, is_exact
            self.weights = self.model.get_weights()
            self.write()
        elif not self.is_written:  # the disk was full
            self.write()

    def facts(self) -> dict:
        """What has to survive a kill, beside the weights in the file."""
        value = None if self.stage is None else [float(part) for part in self.value]
        return {
            "epoch": self.epoch,
            "stage": self.stage,
            "value": value,
            "written": self.is_written,
            "exact": self.is_exact,
            "highest": self.is_highest,
        }

    def resume(self, facts: dict) -> None:
        """Goes on from `facts()` and the weights in the file."""
        epoch = facts["epoch"]
        stage = facts.get("stage", None if epoch is None else 0)  # 0.1.0 did not write it
        if self.monitor is None or stage is None:
            self.epoch, self.stage = epoch, stage
            return
        if self.file is None or not facts["written"] or not self.file.is_file():
            whose = "the solved head" if epoch is None else f"epoch {epoch + 1}"
            checks.note(
                f"The weights of {whose}, the best so far, were not written; later epochs count."
            )
            return
        self.epoch, self.stage, self.value = epoch, stage, tuple(facts["value"])
        self.is_exact = facts.get("exact", False)
        self.is_highest = facts.get("highest", True)
        kept = self.model.get_weights()
        load_best(self.model, self.file.parent)
        self.weights = self.model.get_weights()
        self.model.set_weights(kept)

    def write(self) -> None:
        """Writes the best weights, or the model's where nothing says which are best, if there is a folder."""
        if self.file is None:
            return
        weights = self.model.get_weights() if self.weights is None else self.weights
        kept = {
            id(variable): value for variable, value in zip(self.model.weights, weights, strict=True)
        }
        values = {
            path: kept[id(variable)] for path, variable in paths.variables(self.model).items()
        }
        self.is_written = False
        self.is_written = arrays.write(self.file, values, what="The best weights")

    def replace(self) -> None:
        """Takes the model's weights, which were changed after training, for the best ones."""
        if self.weights is not None:
            self.weights = self.model.get_weights()

    def finish(self) -> None:
        """Puts the best weights back into the model; writes the last ones where nothing says which are best."""
        if self.weights is not None:
            self.model.set_weights(self.weights)
        if self.monitor is None:
            self.write()


def load_best(model: keras.Model, run_dir: str | os.PathLike) -> None:
    """Puts the best weights of a run that did not finish into `model`.

    Args:
        model: Built as it was for the run; changed in place.
        run_dir: The folder that `kt.fine_tune` was given.

    Raises:
        InputError: If there are none, or they are of another model.

    Example:
        >>> load_best(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), "absent")
        Traceback (most recent call last):
        keras_transfer.core.checks.InputError: `run_dir` must hold best.npz. Given: 'absent'.
    """
    file = pathlib.Path(run_dir).expanduser() / FILE
    if not file.is_file():
        raise checks.error(f"`run_dir` must hold {FILE}", given=repr(str(run_dir)))
    arrays.assign(paths.variables(model), arrays.read(file))
