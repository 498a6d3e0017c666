"""Keras's optimizers with a learning rate for each variable: a class for each of them, in the table `SCALED`.

The rate is multiplied, never the gradient, because Adam makes the same step for a gradient a hundred times smaller.
Decoupled weight decay is a share of the rate, so it is multiplied as well.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras

from keras_transfer.core import checks

__all__ = ["NAMES", "SCALED", "Row", "Scaled", "rounded", "scaled"]

NAMES = (
    "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Lamb", "Lion", "Muon", "Nadam", "RMSprop",
    "SGD", "ScheduleFreeAdamW",
)  # fmt: skip


class Row(NamedTuple):
    """A trainable variable and its group."""

    path: str
    """Keras's own path."""
    shape: tuple[int, ...]
    group: str
    decayed: bool
    """Whether it has weight decay."""


# Any, so that type checkers find what the class takes from the optimizer that it is mixed into.
_Mixin: Any = object


class Scaled(_Mixin):
    """Makes a Keras optimizer train each variable at `learning_rate` times a factor of its own.

    A variable moves exactly as under the Keras optimizer with that rate. The optimizer is made for certain variables,
    in their order, and refuses others; factors and variables are saved with it.

    Args:
        factors: Of each group of variables.
        rows: One for each trainable variable of the model, in Keras's order; of `Row`, or what it consists of.
        **arguments: Of the Keras optimizer.

    Example:
        >>> kernel = keras.Variable([1.0], name="kernel")
        >>> optimizer = SCALED["SGD"](factors={"trunk": 0.1}, rows=[("kernel", (1,), "trunk", True)], learning_rate=0.5)
        >>> optimizer.build([kernel])
        >>> optimizer.apply([keras.ops.ones(1)])
        >>> print(keras.ops.convert_to_numpy(kernel), optimizer.learning_rates)
        [0.95] {'trunk': 0.05}
    """

    plain: type[keras.optimizers.Optimizer]
    """The class without rates for each variable."""
    _decaying_at = 1.0  # the factor of the variables that decay at this moment

    def __init__(
        self, *, factors: Mapping[str, float], rows: Sequence[Row], **arguments: object
    ) -> None:
        super().__init__(**arguments)
        made = [Row(path, tuple(shape), group, decayed) for path, shape, group, decayed in rows]
        for name, factor in factors.items():
            checks.number(factor, name=f"factors[{name!r}]", above=0)
        for row in made:
            checks.choice(row.group, factors, name="group")
        self._layout = _Layout(dict(factors), made)

    def build(self, variables: list[keras.Variable]) -> None:
        """Makes the slots.

        Raises:
            InputError: If the variables are not those that the optimizer was made for.
        """
        if not self.built:
            self._layout.check(variables)
        super().build(variables)
        # Inside a LossScaleOptimizer Keras would not save what is no slot, such as the momentum product of Nadam.
        for own in [value for value in vars(self).values() if isinstance(value, keras.Variable)]:
            if not any(own is known for known in self.variables):
                self._track_variable(own)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Moves one variable at its own rate."""
        factor = self._layout.factor(self._get_variable_index(variable))
        super().update_step(
            gradient, variable, learning_rate if factor == 1.0 else learning_rate * factor
        )

    def _apply_weight_decay(self, variables: list) -> None:
        if (
            self.weight_decay is None and getattr(self, "adam_weight_decay", None) is None
        ):  # Muon has two
            return
        together: dict[float, list] = {}
        for variable in variables:
            position = self._get_variable_index(variable)
            if self._layout.rows[position].decayed:
                together.setdefault(self._layout.factor(position), []).append(variable)
        for factor, group in together.items():
            self._decaying_at = factor
            try:
                super()._apply_weight_decay(group)  # reads `learning_rate`
            finally:
                self._decaying_at = 1.0

    @property
    def learning_rate(self) -> object:
        """The rate of a variable with factor 1, for callbacks to read and set."""
        rate = super().learning_rate
        return rate if self._decaying_at == 1.0 else rate * self._decaying_at

    @learning_rate.setter
    def learning_rate(self, value: object) -> None:
        super(Scaled, type(self)).learning_rate.fset(self, value)

    @property
    def learning_rates(self) -> dict[str, float]:
        """The present rate of each group."""
        rate = float(keras.ops.convert_to_numpy(self.learning_rate))
        return {name: rounded(rate * factor) for name, factor in self._layout.factors.items()}

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        rows = [[row.path, list(row.shape), row.group, row.decayed] for row in self._layout.rows]
        return {**super().get_config(), "factors": dict(self._layout.factors), "rows": rows}


def rounded(rate: float) -> float:
    """Returns a rate of type float32 as it was meant.

    Example:
        >>> rounded(0.10000000149011612)
        0.1
    """
    return float(f"{rate:.7g}")


class _Layout:
    """Factors and rows. An object of its own, because an optimizer wraps lists and dicts that it is given."""

    def __init__(self, factors: dict[str, float], rows: list[Row]) -> None:
        self.factors = factors
        self.rows = rows

    def factor(self, position: int) -> float:
        return self.factors[self.rows[position].group]

    def check(self, variables: Sequence[keras.Variable]) -> None:
        for position, (row, variable) in enumerate(zip(self.rows, variables, strict=False)):
            if tuple(variable.shape) != row.shape or not _same(variable.path, row.path):
                shown = f"{variable.path!r} {tuple(variable.shape)} in place of {row.path!r} {row.shape}"
                raise _others(f"{shown} at position {position}")
        if len(variables) != len(self.rows):
            raise _others(f"{len(variables)} in place of {len(self.rows)}")


def _others(given: str) -> checks.InputError:
    return checks.error(
        "the optimizer must be built on the trainable variables that it was made for",
        given=given,
        fix="Freeze and thaw layers first, then make the optimizer.",
    )


def _same(one: str, other: str) -> bool:
    """Whether two paths can be those of one variable before saving and after loading.

    Loading may give automatic names other numbers, and leave out the outer layers.
    """
    one, other = (f"/{re.sub(r'_[0-9]+(?=/)', '', path)}" for path in (one, other))
    return one.endswith(other) or other.endswith(one)


@functools.cache
def scaled(base: type[keras.optimizers.Optimizer]) -> type[keras.optimizers.Optimizer]:
    """Returns the class that is the optimizer `base` with a rate for each variable, registered under "keras_transfer".

    Those of Keras are made already, in `SCALED`. Call this for a class of your own where you define it, so that a
    saved model finds it.

    Raises:
        InputError: If another class of the same name was there first.

    Example:
        >>> scaled(keras.optimizers.Adam) is SCALED["Adam"]
        True
    """
    name = f"Scaled{base.__name__}"
    if keras.saving.get_registered_object(f"keras_transfer>{name}") is not None:
        raise checks.error(
            "`base` must have a name of its own",
            given=f"a second optimizer called {base.__name__!r}",
        )
    words = {
        "__module__": __name__,
        "__doc__": f"`{base.__name__}` with a rate for each variable.",
        "plain": base,
    }
    return keras.saving.register_keras_serializable("keras_transfer", name)(
        type(name, (Scaled, base), words)
    )


SCALED = {
    name: scaled(getattr(keras.optimizers, name))
    for name in NAMES
    if hasattr(keras.optimizers, name)
}
