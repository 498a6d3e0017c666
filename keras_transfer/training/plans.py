"""Ready-made plans, and what is chosen where the user does not choose."""

import dataclasses
from collections.abc import Callable, Sequence

import keras
import numpy as np

from keras_transfer.core import checks, lookup
from keras_transfer.layers import marks
from keras_transfer.training import freezing
from keras_transfer.training.methods import solved_head
from keras_transfer.training.stages import Stage

__all__ = ["PLANS", "Asked", "make"]

STEPS = 200  # of the stage in which everything trains
EPOCHS = (4, 50)
BATCH = 32  # examples, where it is not known how many batches there are
RATE = 3e-4  # from a solved head on
FALLING = {"schedule": "cosine", "warmup": 0.1}


@dataclasses.dataclass
class Asked:
    """What the user asked for, None where it is to be chosen; and what was chosen, for the record.

    Attributes:
        epochs: Of the stages: a pair, or one number where the plan has one stage.
        unfreeze: What trains beside the head.
        learning_rate: Of the stages, as `epochs`.
        batch_norm: As for `Stage`.
        examples: Size of the training set if known.
        batches: Batches in a pass over it if known.
        is_weighted: Whether examples have weights other than 0 and 1.
        decided: What was chosen, one line each.
    """

    epochs: int | Sequence[int] | None = None
    unfreeze: str | Sequence[str] | None = None
    learning_rate: float | str | Sequence[float] | None = None
    batch_norm: str | None = None
    examples: int | None = None
    batches: int | None = None
    is_weighted: bool = False
    decided: list[str] = dataclasses.field(default_factory=list)

    def pair(self, name: str, default: tuple, *, why: str = "") -> tuple:
        """Returns two values, one a stage."""
        value = getattr(self, name)
        if value is None:
            self.decided.append(f"{name}={default} chosen{why}")
            return default
        if value == "auto":
            return ("auto", "auto")
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise checks.error(f"`{name}` must be a pair, one entry a stage", given=repr(value))
        return tuple(value)

    def one(self, name: str, default: object, *, why: str = "") -> object:
        """Returns the value of a plan with one stage."""
        value = getattr(self, name)
        if value is None:
            self.decided.append(f"{name}={default!r} chosen{why}")
            return default
        if isinstance(value, list | tuple) and name != "unfreeze":
            raise checks.error(
                f"`{name}` must be one number for a plan of one stage", given=repr(value)
            )
        return value

    def nothing(self, *names: str) -> None:
        """Raises an error for arguments that the plan has no use for."""
        for name in names:
            if getattr(self, name) is not None:
                raise checks.error(
                    f"`{name}` must be left out for this plan", given=repr(getattr(self, name))
                )

    @property
    def norm(self) -> str:
        """The batch-norm policy."""
        return self.batch_norm or "inference"

    def lengths(self) -> tuple[int, int]:
        """Epochs of two stages that are both trained: few examples are seen more often, many less."""
        default = (20, 20)
        for least, epochs in ((50_000, (2, 4)), (10_000, (4, 8)), (500, (10, 10))):
            if self.examples is not None and self.examples >= least:
                default = epochs
                break
        return self.pair("epochs", default, why=self.why)

    def length(self) -> int:
        """Epochs of one stage in which everything trains: about `STEPS` steps, within `EPOCHS`."""
        batches = self.batches or -(-(self.examples or 1) // BATCH)
        default = int(np.clip(-(-STEPS // batches), *EPOCHS))
        return self.one("epochs", default, why=self.why)

    @property
    def why(self) -> str:
        """What a length depends on."""
        return f" for {self.examples if self.examples is not None else 'unknown many'} examples"


def two_stage(model: keras.Model, asked: Asked) -> list[Stage]:
    """The head first, then it and the trunk.

    With `epochs` left open it is the package's recipe, the one that `examples/benchmarks/default_recipe.py` measures: a
    linear head is solved for, then everything trains at a low rate that falls along a cosine.
    """
    unfreeze = asked.one("unfreeze", "all")
    one_rate = not isinstance(asked.learning_rate, list | tuple)
    if (
        asked.epochs is None
        and one_rate
        and not asked.is_weighted
        and solved_head.can_be_solved(model)
    ):
        asked.decided.append("the head is solved for, because it is linear")
        rate = asked.one("learning_rate", RATE, why=" for the rest")
        return [_solved(), _thawed(asked, asked.length(), unfreeze, rate, **FALLING)]
    rates = asked.pair("learning_rate", (1e-3, 1e-4))
    if asked.epochs is None:
        length = asked.length()
        return [
            _head(asked, length, rates[0]),
            _thawed(asked, length, unfreeze, rates[1], **FALLING),
        ]
    epochs = asked.lengths()
    return [_head(asked, epochs[0], rates[0]), _thawed(asked, epochs[1], unfreeze, rates[1])]


def gradual(model: keras.Model, asked: Asked) -> list[Stage]:
    """The head first, then one block more at a time from the top, each at a lower rate (Howard and Ruder 2018)."""
    epochs, rates = asked.lengths(), asked.pair("learning_rate", (1e-3, 1e-4))
    names = freezing.thawable(model, until=asked.unfreeze)[::-1]
    share = max(1, epochs[1] // len(names))
    return [
        _head(asked, epochs[0], rates[0]),
        *(_thawed(asked, share, name, rates[1], decay=0.9) for name in names),
    ]


def lp_ft(model: keras.Model, asked: Asked) -> list[Stage]:
    """The head solved for, then everything at a low rate (Kumar et al. 2022): no random head distorts the features."""
    unfreeze = asked.one("unfreeze", "all")
    rate = asked.one("learning_rate", RATE)
    return [_solved(), _thawed(asked, asked.length(), unfreeze, rate, **FALLING)]


def surgical(model: keras.Model, asked: Asked) -> list[Stage]:
    """The head first, then it and chosen blocks only (Lee et al. 2023); `unfreeze` names them."""
    if asked.unfreeze is None:
        names = [block.name for block in marks.blocks(model)]
        raise checks.error(
            "`unfreeze` must name the blocks that the surgical plan trains",
            given=None,
            fix=f"The blocks are {', '.join(names[:3])}, ... {names[-1]}.",
        )
    chosen = [asked.unfreeze] if isinstance(asked.unfreeze, str) else list(asked.unfreeze)
    epochs, rates = asked.lengths(), asked.pair("learning_rate", (1e-3, 1e-4))
    return [
        _head(asked, epochs[0], rates[0]),
        Stage(
            epochs=epochs[1], only=["head", *chosen], learning_rate=rates[1], batch_norm=asked.norm
        ),
    ]


def full(model: keras.Model, asked: Asked) -> list[Stage]:
    """Everything at once."""
    asked.nothing("unfreeze")
    return [_thawed(asked, asked.length(), "all", asked.one("learning_rate", 1e-4), **FALLING)]


def head_only(model: keras.Model, asked: Asked) -> list[Stage]:
    """The head on a frozen trunk."""
    asked.nothing("unfreeze")
    return [_head(asked, asked.length(), asked.one("learning_rate", 1e-3))]


def lora(model: keras.Model, asked: Asked) -> list[Stage]:
    """The head first, then it and low-rank updates of the kernels (Hu et al. 2021), merged at the end."""
    epochs, rates = asked.lengths(), asked.pair("learning_rate", (1e-3, 1e-3))
    unfreeze = asked.one("unfreeze", "all")
    return [
        _head(asked, epochs[0], rates[0]),
        _thawed(asked, epochs[1], unfreeze, rates[1], lora=4, name="lora"),
    ]


def norms_and_biases(model: keras.Model, asked: Asked) -> list[Stage]:
    """The head first, then it and the trunk's norms and biases (Frankle et al. 2021; Ben Zaken et al. 2022)."""
    asked.nothing("unfreeze", "batch_norm")
    epochs, rates = asked.lengths(), asked.pair("learning_rate", (1e-3, 1e-3))
    return [
        Stage(epochs=epochs[0], train="head", learning_rate=rates[0]),
        Stage(
            epochs=epochs[1],
            only=freezing.NORMS_AND_BIASES,
            learning_rate=rates[1],
            batch_norm="train",
        ),
    ]


PLANS: dict[str, Callable[[keras.Model, Asked], list[Stage]]] = {
    "two_stage": two_stage,
    "gradual": gradual,
    "lp_ft": lp_ft,
    "surgical": surgical,
    "full": full,
    "head_only": head_only,
    "lora": lora,
    "norms_and_biases": norms_and_biases,
}


def make(name: str, model: keras.Model, asked: Asked) -> list[Stage]:
    """Returns the stages of a plan by name; what was chosen is in `asked.decided`."""
    return lookup.find(name, PLANS, argument="plan")(model, asked)


def _solved() -> Stage:
    return Stage(solve=True, train="head", name="head, solved")


def _head(asked: Asked, epochs: int, rate: float | str) -> Stage:
    return Stage(epochs=epochs, train="head", learning_rate=rate, batch_norm=_calm(asked))


def _thawed(
    asked: Asked, epochs: int, train: object, rate: float | str, **options: object
) -> Stage:
    return Stage(epochs=epochs, train=train, learning_rate=rate, batch_norm=asked.norm, **options)


def _calm(asked: Asked) -> str:
    """A frozen trunk has nothing to estimate anew; its heads' normalisations train in any case."""
    return "inference" if asked.norm == "recalibrate" else asked.norm
