"""Models beside which discriminators learn, in Keras's own `fit`."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from keras_transfer.core import labelled
from keras_transfer.graphs import compiling
from keras_transfer.layers import marks
from keras_transfer.models.adversary import Adversary
from keras_transfer.models.joint import JointModel
from keras_transfer.models.task_model import TaskModel, call_functional

__all__ = ["AdversarialJointModel", "AdversarialModel"]


class _Adversarial(keras.Model):
    """What the models have in common: a step also lets the discriminators judge and learn.

    Measuring knows nothing of them: a discriminator changes, so its judgements cannot be compared between epochs.
    """

    # A function, not an attribute: Keras would track, save and count the discriminators as parts of the model.
    _opponents: Callable[[], dict[str, Adversary]] | None = None

    def opponents(self) -> dict[str, Adversary]:
        """Returns the discriminators by task; they are made when they are first asked for."""
        if self._opponents is None:
            made = {}
            with compiling.scope(self):
                for name, output in marks.outputs(self).items():
                    options = output.task.adversary()
                    if options is not None:
                        made[name] = Adversary(**options)
            self._opponents = lambda: made
        return self._opponents()

    @property
    def companions(self) -> list[keras.Variable]:
        """What learns beside the model: a run that goes on needs it, and nobody else."""
        found: list[keras.Variable] = []
        for opponent in self.opponents().values():
            found += opponent.variables
        return found

    def forget_companions(self) -> None:
        """Puts what learns beside the model back to its start."""
        for opponent in self.opponents().values():
            opponent.reset()

    def part(self, inputs: object, outputs: object, *, name: str | None = None) -> keras.Model:
        """Returns a model of other tensors of this one's graph that trains as this one does."""
        whole = getattr(super(), "part", type(self))
        made = whole(inputs, outputs, name=name)
        opponents = self.opponents()
        made._opponents = lambda: opponents
        return made

    def make_train_function(self, force: bool = False) -> Any:
        """Makes the discriminators before a step is traced."""
        self.opponents()
        return super().make_train_function(force)

    def compute_loss(
        self,
        x: object = None,
        y: object = None,
        y_pred: object = None,
        sample_weight: object = None,
        training: bool = True,
    ) -> object:
        """Returns the loss; in training the discriminators judge the answers, and learn."""
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if not training:
            return loss
        for name, opponent in self.opponents().items():
            targets, answers = _of_task(y, name), _of_task(y_pred, name)
            targets = ops.reshape(targets, ops.shape(answers))
            weights = labelled.of_task(sample_weight, name)
            judged = opponent.judge(answers, weights)
            loss = loss + self._aggregate_additional_loss(judged)
            opponent.learn(targets, answers, weights)
        return loss

    def train_step(self, *arguments: Any) -> dict:
        """Takes one step, and returns the logs."""
        logs = dict(super().train_step(*arguments))
        opponents = self.opponents()
        for name, opponent in opponents.items():
            prefix = f"{name}_" if len(opponents) > 1 else ""
            logs[f"{prefix}{opponent.cost.name}"] = opponent.cost.result()
        return logs

    def reset_metrics(self) -> None:
        """Starts the means of an epoch anew."""
        super().reset_metrics()
        for opponent in self.opponents().values():
            opponent.cost.reset_state()

    def _get_metrics_result_or_logs(self, logs: dict) -> dict:
        """Returns metrics over all replicas; where there are other logs Keras takes the mean of each replica's."""
        return {**logs, **self.get_metrics_result()}


@keras.saving.register_keras_serializable("keras_transfer", "AdversarialModel")
@call_functional
class AdversarialModel(_Adversarial, TaskModel):
    """A model of one task beside which a discriminator learns.

    Example:
        >>> import keras_transfer as kt
        >>> task = kt.tasks.ImageToImage(width=8, loss=("l1", "adversarial"))
        >>> isinstance(kt.build_model(kt.backbone("tiny", weights=None), task), AdversarialModel)
        True
    """


@keras.saving.register_keras_serializable("keras_transfer", "AdversarialJointModel")
@call_functional
class AdversarialJointModel(_Adversarial, JointModel):
    """A model of several tasks beside which discriminators learn."""


def _of_task(values: Any, name: str) -> Any:
    return values[name] if isinstance(values, Mapping) else values
