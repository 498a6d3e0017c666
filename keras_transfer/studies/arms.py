"""The arms of a comparison: ways to a trained model, by name or as a user describes them."""

import dataclasses
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from keras_transfer import backbones, balancing, models, training
from keras_transfer.backbones import sources
from keras_transfer.core import checks, lookup

__all__ = ["NAMED", "Arm", "make"]

PROBE = "probe"
SCHEME = ("sharing", "balancing", "balance_on")
# Arguments of `kt.fine_tune` that a comparison sets itself.
OURS = ("seed", "run_dir", "resume", "verbose", "cache")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to a trained model.

    Attributes:
        source: The backbone, or what `kt.backbone` makes one of; None for that of the comparison.
        is_random: Whether training starts from random weights.
        is_probe: Whether a linear head is fitted to frozen features, and nothing else.
        needs_no_validation: Whether it trains on all labelled images at once, where others are left to measure on.
        scheme: Arguments of `kt.build_model`.
        options: Arguments of `kt.fine_tune`.
        function: Makes the trained model instead, of data and seed.
    """

    source: Any = None
    is_random: bool = False
    is_probe: bool = False
    needs_no_validation: bool = False
    scheme: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    function: Callable | None = None


# name: the arm. All names of plans, of balancing and of sharing are arms, too.
NAMED = {
    # Random weights need more of everything: all layers, a high rate that falls to 0, statistics of their own.
    "scratch": Arm(
        is_random=True,
        needs_no_validation=True,
        options={"plan": "full", "learning_rate": 1e-3, "batch_norm": "train"},
    ),
    PROBE: Arm(is_probe=True, needs_no_validation=True, options={"plan": "head_only"}),
}


def make(arms: Any) -> dict[str, Arm]:
    """Returns the arms by name.

    Args:
        arms: A name, a list of arms, or a dict of them by name. An arm is a name ("scratch", "probe", a plan, a way of
            balancing or of sharing, a backbone), a backbone, a function of data and seed, or a dict of arguments.

    Raises:
        InputError: If an arm has no name, or is none of these, or comes twice.

    Example:
        >>> sorted(make(["scratch", "probe", "two_stage"]))
        ['probe', 'scratch', 'two_stage']
    """
    if isinstance(arms, str) or not isinstance(arms, Mapping | Sequence):
        arms = [arms]
    if not isinstance(arms, Mapping):
        names = [_name_of(each) for each in arms]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise checks.error("`arms` must have different names", given=f"{twice[0]!r} twice")
        arms = dict(zip(names, arms, strict=True))
    if not arms:
        raise checks.error("`arms` must hold an arm", given="none", fix="Such as 'two_stage'.")
    for name in arms:
        if not isinstance(name, str) or not name.strip():
            raise checks.error("an arm must have a name", given=repr(name), fix=NAMING)
    return {name: _make_one(name, arm) for name, arm in arms.items()}


NAMING = 'Give a dict of arms by name, such as {"mine": train}.'


def _name_of(arm: Any) -> str:
    """Returns the name of an arm that the user gave none."""
    if isinstance(arm, str):
        return arm
    if isinstance(arm, keras.Model):
        return arm.name
    name = getattr(arm, "__name__", None)
    if callable(arm) and name and name != "<lambda>":
        return name
    given = "a lambda" if name == "<lambda>" else f"a {type(arm).__name__}"
    raise checks.error("an arm must have a name", given=given, fix=NAMING)


def _make_one(name: str, arm: Any) -> Arm:
    if isinstance(arm, Arm):
        return arm
    if isinstance(arm, Mapping):
        return _of_arguments(name, arm)
    if isinstance(arm, keras.Model):
        return Arm(source=arm)
    if isinstance(arm, str | os.PathLike):
        return _of_name(os.fspath(arm))
    if callable(arm):
        _check_function(name, arm)
        return Arm(function=arm)
    expected = (
        "an arm must be a name, a backbone, a function of data and seed, or a dict of arguments"
    )
    raise checks.error(expected, given=f"{name!r}: {arm!r}")


def _of_name(name: str) -> Arm:
    if name in NAMED:
        return NAMED[name]
    if name == "surgical":
        fix = 'Say which blocks: {"surgical": {"plan": "surgical", "unfreeze": [...]}}.'
        raise checks.error("an arm with this plan needs `unfreeze`", given=repr(name), fix=fix)
    if name in training.PLANS:
        return Arm(options={"plan": name})
    if name in balancing.BALANCERS:
        return Arm(scheme={"balancing": name})
    if name in models.SHARING:
        return Arm(scheme={"sharing": name})
    if sources.recognise(name) is not None:
        return Arm(source=name)
    words = [*NAMED, *training.PLANS, *balancing.BALANCERS, *models.SHARING, *backbones.names()]
    expected = (
        "an arm must be 'scratch', 'probe', a plan, a way of balancing or sharing, or a backbone"
    )
    raise checks.error(expected, given=repr(name), fix=lookup.hint(name, words))


def _of_arguments(name: str, arguments: Mapping[str, Any]) -> Arm:
    """Returns the arm of a dict: an arm to start from, a backbone, arguments of the model and of training."""
    rest = dict(arguments)
    base = _make_one(name, rest.pop("arm")) if "arm" in rest else Arm()
    source = rest.pop("backbone", base.source)
    is_random = base.is_random
    if "weights" in rest:
        weights = rest.pop("weights")
        if weights is not None:
            fix = "Give the backbone that kt.backbone makes of them."
            raise checks.error("`weights` of an arm must be None", given=repr(weights), fix=fix)
        is_random = True
    scheme = {key: rest.pop(key) for key in SCHEME if key in rest}
    known = set(inspect.signature(training.fine_tune).parameters) - {"model", "data", *OURS}
    for key in rest:
        if key not in known:
            names = sorted({"arm", "backbone", "weights", *SCHEME, *known})
            raise checks.error(
                f"the arguments of arm {name!r} must be known",
                given=repr(key),
                fix=lookup.hint(str(key), names),
            )
    if base.is_probe and rest:
        raise checks.error("a probe has no arguments of training", given=", ".join(rest))
    return dataclasses.replace(
        base,
        source=source,
        is_random=is_random,
        scheme={**base.scheme, **scheme},
        options={**base.options, **rest},
    )


def _check_function(name: str, function: Callable) -> None:
    try:
        inspect.signature(function).bind(None, 0)
    except TypeError:
        expected = f"arm {name!r} must be a function of data and seed"
        given = f"{getattr(function, '__name__', function)}{inspect.signature(function)}"
        raise checks.error(expected, given=given, fix="def train(data, seed): ...") from None
    except ValueError:  # a built-in without a signature
        return
