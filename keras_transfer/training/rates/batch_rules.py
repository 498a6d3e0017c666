"""How many examples a step has over all devices, and how learning rates follow from that number."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from keras_transfer.core import checks, lookup
from keras_transfer.training.stages import Stage

__all__ = ["RULES", "USUAL", "apply"]

USUAL = 32  # the batch size that rates are meant for
RULES = {
    "none": lambda growth: 1.0,
    "linear": lambda growth: growth,
    "square_root": math.sqrt,
}


def apply(
    plan: Sequence[Stage], rule: str, *, batch_size: int | None, replicas: int
) -> tuple[list[Stage], list[str]]:
    """Returns the stages with their rates for the batch size, and lines that say so.

    Args:
        plan: The stages, with rates for batches of 32.
        rule: "none", "linear" (Goyal et al. 2017, arXiv:1706.02677), or "square_root".
        batch_size: Examples in a step, over all devices; None where unknown.
        replicas: How many devices share a step.

    Raises:
        InputError: If there are more devices than examples in a batch, or the rule cannot be applied.

    Example:
        >>> (stage,), notes = apply([Stage(epochs=1)], "linear", batch_size=128, replicas=4)
        >>> stage.learning_rate, notes[0]
        (0.004, 'Each batch of 128 is shared by 4 devices, 32 each.')
    """
    change = lookup.find(rule, RULES, argument="rate_rule")
    notes = []
    if replicas > 1 and batch_size is not None:
        if batch_size < replicas:
            raise checks.error(
                f"`batch_size` must be at least the number of devices, {replicas}",
                given=batch_size,
                fix="A batch is that of all devices together.",
            )
        each = -(-batch_size // replicas)
        notes.append(f"Each batch of {batch_size} is shared by {replicas} devices, {each} each.")
    if rule == "none":
        return list(plan), notes
    if batch_size is None:
        fix = "Use data from kt.data, or rate_rule='none'."
        raise checks.error("`rate_rule` needs a known batch size", given="none", fix=fix)

    factor = change(batch_size / USUAL)
    notes.append(
        f"Learning rates are multiplied by {factor:.4g}: rate_rule={rule!r}, batches of {batch_size} instead of "
        f"{USUAL}."
    )
    return [_scaled(stage, factor) for stage in plan], notes


def _scaled(stage: Stage, factor: float) -> Stage:
    """Returns a stage whose rates are `factor` times as high; a rate that is searched for is right already."""
    rate = stage.learning_rate
    if rate == "auto" or stage.applied_method.replaces_fit:
        return stage
    if isinstance(rate, Mapping):
        rates = {pattern: value * factor for pattern, value in rate.items()}
        return dataclasses.replace(stage, learning_rate=rates)
    if not isinstance(rate, float):
        raise checks.error(
            "`rate_rule` must be 'none' where a stage has a schedule of its own",
            given=repr(stage),
            fix="Multiply the schedule's rates.",
        )
    return dataclasses.replace(stage, learning_rate=rate * factor)
