"""Ready-made plans, and what is chosen where the user does not choose."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_transfer.core import checks, lookup
from keras_transfer.layers import marks
from keras_transfer.training import freezing
from keras_transfer.training.methods import solved_head
from keras_transfer.training.stages import Stage

__all__ = ["PLANS", "Request", "make"]

STEPS = 200  # of a stage whose length is left open
EPOCHS = (4, 50)
AFTER_HEAD = (4, 15)  # epochs of the trunk, above a head that is fitted already
BATCH = 32  # examples, where it is not known how many batches there are
# Rates from a solved head on: few examples are soon learned by heart, so they may change less.
RATES = ((300, 3e-4), (0, 1e-4))
# Of heads on maps, and of them and the trunk: steps, limits of epochs, rates.
STEPS_OF_MAPS, EPOCHS_OF_MAPS, RATES_OF_MAPS = (80, 260), ((2, 20), (6, 60)), (2e-3, 5e-4)
FALLING = {"schedule": "cosine", "warmup": 0.1}
# Epochs of two stages that are both trained: from so many examples on, fewer passes do.
PAIRS = ((50_000, (2, 4)), (10_000, (4, 8)), (500, (10, 10)), (0, (20, 20)))


@dataclasses.dataclass
class Request:
    """What the user asked for, None where a plan is to choose; it adds a note about each of its choices.

    Attributes:
        epochs: Of the stages: a pair, or one number where the plan has one stage.
        unfreeze: What trains beside the head.
        learning_rate: Of the stages, as `epochs`.
        batch_norm: As for `Stage`.
        examples: Size of the training set if known.
        batches: Batches in a pass over it if known.
        is_weighted: Whether examples have weights other than 0 and 1.
        notes: What was chosen, a line each.
        recommend: Returns the block that has most to learn; None where that cannot be asked.
    """

    epochs: int | Sequence[int] | None = None
    unfreeze: str | Sequence[str] | None = None
    learning_rate: float | str | Sequence[float] | None = None
    batch_norm: str | None = None
    examples: int | None = None
    batches: int | None = None
    is_weighted: bool = False
    notes: list[str] = dataclasses.field(default_factory=list)
    recommend: Callable[[], str] | None = None

    def choose(self, name: str, default: object, *, why: str = "") -> Any:
        """Notes that the default was chosen, and returns it."""
        self.notes.append(f"{name}={default!r} chosen{why}.")
        return default

    def pair(self, name: str, default: tuple, *, why: str = "") -> tuple[Any, Any]:
        """Returns two values, one a stage."""
        value = getattr(self, name)
        if value is None:
            return self.choose(name, default, why=why)
        if value == "auto":
            return ("auto", "auto")
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise checks.error(f"`{name}` must be a pair, one entry a stage", given=repr(value))
        return tuple(value)

    def single(self, name: str, default: object, *, why: str = "") -> Any:
        """Returns the value of a plan with one stage, or of the stage after a solved head."""
        value = getattr(self, name)
        if value is None:
            return self.choose(name, default, why=why)
        if isinstance(value, list | tuple) and name != "unfreeze":
            raise checks.error(
                f"`{name}` must be one number for a plan of one stage", given=repr(value)
            )
        return value

    def refuse(self, *names: str) -> None:
        """Raises an error for arguments that the plan has no use for."""
        for name in names:
            value = getattr(self, name)
            if value is not None:
                raise checks.error(f"`{name}` must be left out for this plan", given=repr(value))

    def epochs_of_two(self) -> tuple[int, int]:
        """Returns the epochs of two stages that are both trained."""
        examples = self.examples or 0
        default = next(epochs for least, epochs in PAIRS if examples >= least)
        return self.pair("epochs", default, why=self._for_examples())

    def epochs_of_one(self, of: str = "") -> int:
        """Returns the epochs of a stage: about `STEPS` steps, within `EPOCHS`; `of` is what trains, for the note."""
        why = f"{self._for_examples()}{of}, fewer if they stop helping"
        return self.single("epochs", self._epochs_within(EPOCHS), why=why)

    def epochs_falling(self, limits: tuple[int, int]) -> int:
        """Returns the epochs of a stage whose rate falls to 0: about `STEPS` steps, within the limits."""
        why = f"{self._for_examples()}, all of them: the rate falls to 0"
        return self.single(
            "epochs", self._epochs_within(limits), why=f"{why}, so the last ones help most"
        )

    def rate_after_head(self) -> float | str:
        """Returns the highest rate of a stage above a head that is solved for."""
        default = next(rate for least, rate in RATES if (self.examples or 0) >= least)
        return self.single("learning_rate", default, why=f"{self._for_examples()} (after the head)")

    def _epochs_within(self, limits: tuple[int, int]) -> int:
        batches = self.batches or -(-(self.examples or 1) // BATCH)
        return int(np.clip(-(-STEPS // batches), *limits))

    def upper_half(self, model: keras.Model) -> Any:
        """Returns what trains beside the head: the upper half of the trunk's blocks."""
        names = freezing.thawable(model) if self.unfreeze is None else []
        if len(names) < 2:
            return self.single("unfreeze", "all")
        frozen = len(names) // 2
        why = f" (the upper {len(names) - frozen} of {len(names)} blocks)"
        return self.choose("unfreeze", names[frozen], why=why)

    @property
    def stopping(self) -> str | None:
        """Early stopping of stages whose length was left open; a length that was asked for stays."""
        return "auto" if self.epochs is None else None

    def _for_examples(self) -> str:
        return f" for {'unknown many' if self.examples is None else self.examples} examples"

    def train_head(self, epochs: int, rate: float | str, **options: Any) -> Stage:
        """Returns the stage in which only the head trains, on a frozen trunk, which has no statistics to estimate."""
        batch_norm = self.batch_norm or "inference"
        if batch_norm == "recalibrate":
            batch_norm = "inference"
        return Stage(
            epochs=epochs, train="head", learning_rate=rate, batch_norm=batch_norm, **options
        )

    def train_upper(self, epochs: int, train: Any, rate: float | str, **options: Any) -> Stage:
        """Returns the stage in which the head and the trunk from `train` on train."""
        return Stage(
            epochs=epochs,
            train=train,
            learning_rate=rate,
            batch_norm=self.batch_norm or "inference",
            **options,
        )

    def train_falling(self, epochs: int, train: Any, rate: float | str) -> Stage:
        """Returns the stage in which the head and the trunk train at a rate that falls to 0.

        It is not stopped early: in the middle, at the highest rates, it looks as if it had stopped helping.
        """
        return self.train_upper(epochs, train, rate, **FALLING)


def two_stage(model: keras.Model, request: Request) -> list[Stage]:
    """The head first, then it and the trunk.

    With `epochs` left open it is the package's recipe, the one that `examples/benchmarks/default_recipe.py` measures: a
    linear head is solved for, then it and the upper half of the trunk train at a low rate that falls along a cosine,
    on outputs of the lower half that are computed once. One number of epochs is that of the second stage. A model with
    a head on maps, for boxes or a value a pixel, has stages of its own.
    """
    if request.epochs is None and _has_head_on_maps(model):
        return _train_maps(model, request)
    has_two_rates = isinstance(request.learning_rate, list | tuple)
    if isinstance(request.epochs, list | tuple):
        unfreeze = request.single("unfreeze", "all")
        rates = request.pair("learning_rate", (1e-3, 1e-4))
        lengths = request.epochs_of_two()
        return [
            request.train_head(lengths[0], rates[0]),
            request.train_upper(lengths[1], unfreeze, rates[1]),
        ]

    unfreeze = request.upper_half(model)
    if not has_two_rates and _can_solve(model, request):
        rate = request.rate_after_head()
        return [
            _solve_head(),
            request.train_falling(request.epochs_falling(AFTER_HEAD), unfreeze, rate),
        ]

    rates = request.pair("learning_rate", (1e-3, 1e-4))
    head_epochs, epochs = request.epochs_of_one(" (the head)"), request.epochs_falling(AFTER_HEAD)
    return [
        request.train_head(head_epochs, rates[0], early_stopping=request.stopping),
        request.train_falling(epochs, unfreeze, rates[1]),
    ]


def _has_head_on_maps(model: keras.Model) -> bool:
    return any(getattr(output.task, "levels", ()) for output in marks.outputs(model).values())


def _train_maps(model: keras.Model, request: Request) -> list[Stage]:
    """The heads first, which are large and random, then they and the upper two thirds of the trunk's blocks.

    Small sets need steps, not epochs: about 80 and 260 steps, measured by `examples/benchmarks/dense.py`.
    """
    batches = request.batches or -(-(request.examples or 1) // BATCH)
    steps = zip(STEPS_OF_MAPS, EPOCHS_OF_MAPS, strict=True)
    default = tuple(int(np.clip(-(-count // batches), *limits)) for count, limits in steps)
    epochs = request.choose("epochs", default, why=request._for_examples())
    rates = request.pair("learning_rate", RATES_OF_MAPS)
    names = freezing.thawable(model)
    unfreeze = request.single("unfreeze", names[len(names) // 3] if names else "all")
    return [
        request.train_head(epochs[0], rates[0]),
        request.train_upper(epochs[1], unfreeze, rates[1], **FALLING),
    ]


def gradual(model: keras.Model, request: Request) -> list[Stage]:
    """The head first, then one block more at a time from the top, each at a lower rate (Howard and Ruder 2018)."""
    epochs = request.epochs_of_two()
    rates = request.pair("learning_rate", (1e-3, 1e-4))
    names = freezing.thawable(model, until=request.unfreeze)[::-1]
    each = max(1, epochs[1] // len(names))
    return [
        request.train_head(epochs[0], rates[0]),
        *(request.train_upper(each, name, rates[1], decay=0.9) for name in names),
    ]


def lp_ft(model: keras.Model, request: Request) -> list[Stage]:
    """The head solved for, then everything at a low rate (Kumar et al. 2022): no random head distorts the features."""
    unfreeze = request.single("unfreeze", "all")
    rate = request.rate_after_head()
    return [
        _solve_head(),
        request.train_falling(request.epochs_falling(AFTER_HEAD), unfreeze, rate),
    ]


def surgical(model: keras.Model, request: Request) -> list[Stage]:
    """The head first, then it and chosen blocks only (Lee et al. 2023).

    `unfreeze` names them; by default it is the block above the one from which a linear model reads most, as
    `kt.compare_blocks` finds it: what the task needs is lost there.
    """
    unfreeze = request.unfreeze
    if unfreeze is None and request.recommend is not None:
        why = ": below it, linear models read most of the answer"
        unfreeze = request.choose("unfreeze", request.recommend(), why=why)
    if unfreeze is None:
        names = [block.name for block in marks.blocks(model)]
        raise checks.error(
            "`unfreeze` must name the blocks that the surgical plan trains",
            given=None,
            fix=f"The blocks are {', '.join(names[:3])}, ... {names[-1]}.",
        )
    names = [unfreeze] if isinstance(unfreeze, str) else list(unfreeze)
    epochs = request.epochs_of_two()
    rates = request.pair("learning_rate", (1e-3, 1e-4))
    blocks_only = Stage(
        epochs=epochs[1],
        only=["head", *names],
        learning_rate=rates[1],
        batch_norm=request.batch_norm or "inference",
    )
    return [request.train_head(epochs[0], rates[0]), blocks_only]


def full(model: keras.Model, request: Request) -> list[Stage]:
    """Everything at once."""
    request.refuse("unfreeze")
    epochs, rate = request.epochs_falling(EPOCHS), request.single("learning_rate", 1e-4)
    return [request.train_falling(epochs, "all", rate)]


def head_only(model: keras.Model, request: Request) -> list[Stage]:
    """The head on a frozen trunk: solved for where it is linear and nothing says how to train it."""
    request.refuse("unfreeze")
    is_open = request.epochs is None and request.learning_rate is None
    if is_open and request.batch_norm not in freezing.TRAINING and _can_solve(model, request):
        return [_solve_head()]
    epochs, rate = request.epochs_of_one(), request.single("learning_rate", 1e-3)
    return [request.train_head(epochs, rate, early_stopping=request.stopping)]


def lora(model: keras.Model, request: Request) -> list[Stage]:
    """The head first, then it and low-rank updates of the kernels (Hu et al. 2021), merged at the end."""
    epochs = request.epochs_of_two()
    rates = request.pair("learning_rate", (1e-3, 1e-3))
    unfreeze = request.single("unfreeze", "all")
    return [
        request.train_head(epochs[0], rates[0]),
        request.train_upper(epochs[1], unfreeze, rates[1], lora=4, name="lora"),
    ]


def norms_and_biases(model: keras.Model, request: Request) -> list[Stage]:
    """The head first, then it and the trunk's norms and biases (Frankle et al. 2021; Ben Zaken et al. 2022)."""
    request.refuse("unfreeze", "batch_norm")
    epochs = request.epochs_of_two()
    rates = request.pair("learning_rate", (1e-3, 1e-3))
    norms = Stage(
        epochs=epochs[1],
        only=freezing.NORMS_AND_BIASES,
        learning_rate=rates[1],
        batch_norm="synchronized",
    )
    return [request.train_head(epochs[0], rates[0]), norms]


PLANS: dict[str, Callable[[keras.Model, Request], list[Stage]]] = {
    "two_stage": two_stage,
    "gradual": gradual,
    "lp_ft": lp_ft,
    "surgical": surgical,
    "full": full,
    "head_only": head_only,
    "lora": lora,
    "norms_and_biases": norms_and_biases,
}


def make(name: str, model: keras.Model, request: Request) -> list[Stage]:
    """Returns the stages of a plan by name; what was chosen is in `request.notes`."""
    return lookup.find(name, PLANS, argument="plan")(model, request)


def _can_solve(model: keras.Model, request: Request) -> bool:
    """Whether the head can be solved for; if so, a note says that it is."""
    if request.is_weighted or not solved_head.can_be_solved(model):
        return False
    request.notes.append(
        "The head is one linear layer: it is computed by regression, which takes one pass over the images."
    )
    return True


def _solve_head() -> Stage:
    return Stage(solve=True, train="head", name="head, solved")
