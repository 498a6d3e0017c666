"""What `kt.fine_tune` will do, checked and chosen as a whole before anything trains."""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras

from keras_transfer.core import checks
from keras_transfer.features import block_probes
from keras_transfer.graphs import compiling, paths
from keras_transfer.layers import marks
from keras_transfer.machine import strategy
from keras_transfer.training import augmenting, inputs, plans, refitting
from keras_transfer.training.cache.settings import Cache
from keras_transfer.training.checking import check_plan
from keras_transfer.training.rates import batch_rules
from keras_transfer.training.run import facts
from keras_transfer.training.run.record import plain
from keras_transfer.training.stages import Stage

__all__ = ["Recipe", "decide"]

# Arguments of `kt.fine_tune` that make a plan, so `stages` takes their place.
PLANNING = ("epochs", "unfreeze", "learning_rate", "batch_norm")


class Recipe(NamedTuple):
    """What a call of `kt.fine_tune` will do.

    Attributes:
        source: The data as the user gave it.
        data: The same, checked, with random changes.
        plan: The stages.
        cache: Where outputs of frozen layers are kept.
        views: How many random views of each training image are kept.
        seed: Of the user, or None.
        refit: Whether a second run trains on all images.
        calibrate: Whether answers are made to fit the validation data in the end.
        notes: What was chosen for the user, a line each.
        replicas: How many devices share a step.
    """

    source: Any
    data: inputs.Inputs
    plan: list[Stage]
    cache: Cache
    views: int
    seed: int | None
    refit: bool
    calibrate: bool
    notes: list[str]
    replicas: int = 1

    def fingerprint(self, model: keras.Model) -> dict:
        """Returns what two runs must have in common for one to go on where the other stopped."""
        weights = [[path, list(value.shape)] for path, value in paths.variables(model).items()]
        changes = self.data.changes
        arguments: dict[str, Any] = {
            "stages": facts.of_plan(self.plan),
            "augment": None if changes is None else changes.get_config(),
            "refit": self.refit,
        }
        if self.views != 1:
            arguments["views"] = self.views
        return {
            "model": hashlib.sha256(json.dumps(weights).encode()).hexdigest(),
            "data": self.data.identity,
            "arguments": json.loads(json.dumps(plain(arguments))),
            "seed": self.seed,
            "number of devices": self.replicas,
        }


def decide(model: keras.Model, source: object, arguments: Mapping) -> Recipe:
    """Checks everything that was asked for, and chooses what was left open.

    Args:
        model: The model to train; it stays as it is.
        source: The data as the user gave it.
        arguments: Of `kt.fine_tune`, by name.

    Raises:
        InputError: If something cannot work.
    """
    data = inputs.check(model, inputs.inputs(source))
    plan, notes = _make_plan(model, source, data, arguments)
    has_weights = data.is_weighted and not data.is_masked
    if has_weights and any(stage.applied_method.replaces_fit for stage in plan):
        raise checks.error(
            "a head must be trained where examples have weights other than 0 and 1",
            given="a plan that solves for it",
            fix="Use a plan without `solve`.",
        )

    is_open = arguments["epochs"] is None and arguments["stages"] is None
    asked, views = arguments["augment"], arguments["views"]
    if asked == "auto":
        asked = None
        if is_open and arguments["plan"] == "two_stage" and augmenting.suits(model, data):
            asked, views = "light", augmenting.VIEWS if views is None else views
            notes.append(f"augment='light' and views={views} chosen for {data.examples} images.")
    changes = augmenting.choose(asked, model)
    notes += _note_ignored_masks(model, data)
    data = augmenting.apply(changes, model, data, seed=arguments["seed"])

    replicas = strategy.count_replicas(model)
    plan, shared = batch_rules.apply(
        plan, arguments["rate_rule"], batch_size=_batch_size(data), replicas=replicas
    )
    return Recipe(
        source=source,
        data=data,
        plan=plan,
        views=checks.integer(1 if views is None else views, name="views"),
        cache=Cache.of(arguments["cache"]),
        seed=arguments["seed"],
        refit=refitting.choose(arguments["refit"], source, is_open=is_open, decided=notes),
        calibrate=bool(checks.choice(arguments["calibrate"], (True, False), name="calibrate")),
        notes=[*shared, *notes],
        replicas=replicas,
    )


def _make_plan(
    model: keras.Model, source: Any, data: inputs.Inputs, arguments: Mapping
) -> tuple[list[Stage], list[str]]:
    """Returns the stages, and a line for everything that was chosen for the user."""
    if arguments["stages"] is None:
        request = plans.Request(
            **{name: arguments[name] for name in PLANNING},
            examples=data.examples,
            batches=data.known_steps,
            is_weighted=data.is_weighted and not data.is_masked,
            recommend=_block_probe(model, source),
        )
        plan = plans.make(arguments["plan"], model, request)
        check_plan(model, plan, argument="unfreeze", one_example=_has_single_examples(data))
        return plan, request.notes

    if arguments["plan"] != "two_stage":
        raise checks.error(
            "`plan` must be left out where `stages` is given", given=repr(arguments["plan"])
        )
    for name in PLANNING:
        if arguments[name] is not None:
            raise checks.error(
                f"`{name}` must be None where `stages` is given", given=repr(arguments[name])
            )
    check_plan(model, arguments["stages"], one_example=_has_single_examples(data))
    return list(arguments["stages"]), []


def _block_probe(model: keras.Model, source: Any) -> Callable[[], str] | None:
    """Returns what finds the block that has most to learn, by the first task that has classes or numbers."""
    for name, output in marks.outputs(model).items():
        if output.task.link in ("softmax", "identity"):
            task = name if isinstance(model.output, Mapping) else None
            probe = functools.partial(block_probes.probe_blocks, model, source, task=task)
            return lambda: block_probes.recommend(probe())
    return None


def _has_single_examples(data: inputs.Inputs) -> bool:
    """Whether the training batches hold one example each."""
    size = _batch_size(data)
    if size is not None:
        return size == 1
    if data.known_steps is not None and data.examples is not None:
        return data.known_steps == data.examples
    first = next(iter((data.sample or data.train).take(1)))
    return int(keras.tree.flatten(first)[0].shape[0]) == 1


def _batch_size(data: inputs.Inputs) -> int | None:
    """Returns how many examples a training batch holds, None where that is not known without reading one."""
    shape = keras.tree.flatten(data.train.element_spec)[0].shape
    if shape.rank and shape[0] is not None:
        return int(shape[0])
    return None if data.order[1:2] in ((), (None,)) else int(data.order[1])


def _note_ignored_masks(model: keras.Model, data: inputs.Inputs) -> list[str]:
    """Returns a note on the user's losses and metrics that count missing labels as examples."""
    if data.weights is None:
        return []
    arguments = compiling.arguments(model)
    names = []
    for loss in keras.tree.flatten(arguments.get("loss")):
        reduction = getattr(loss, "reduction", "sum_over_batch_size")
        if loss is not None and reduction in ("sum_over_batch_size", "mean"):
            name = getattr(loss, "name", loss)
            names.append(f"the loss {name} (unless its reduction is 'mean_with_sample_weight')")
    for metric in keras.tree.flatten(arguments.get("metrics")):
        if metric is not None:
            name = getattr(metric, "name", metric)
            names.append(f"the metric {name} (unless it is one of `weighted_metrics`)")
    return [f"Missing labels count as examples in {', '.join(names)}."] if names else []
