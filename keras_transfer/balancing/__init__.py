"""How several tasks on one trunk are balanced: pure functions of losses and of inner products of gradients.

A balancer is one file and one row of `BALANCERS`; `Balancer` says what it needs.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from keras_transfer.balancing.base import Balancer
from keras_transfer.balancing.common_descent import MGDA, CAGrad
from keras_transfer.balancing.dwa import DWA
from keras_transfer.balancing.even import DBMTL, IMTLG, AlignedMTL
from keras_transfer.balancing.fixed import Fixed
from keras_transfer.balancing.gradnorm import GradNorm
from keras_transfer.balancing.logarithms import FAMO, GeometricMean, LogLosses
from keras_transfer.balancing.nash import NashMTL
from keras_transfer.balancing.rlw import RLW
from keras_transfer.balancing.surgery import GradVac, PCGrad
from keras_transfer.balancing.uncertainty import IMTLL, Uncertainty
from keras_transfer.core import checks, lookup

__all__ = [
    "BALANCERS",
    "DBMTL",
    "DWA",
    "FAMO",
    "IMTLG",
    "IMTLL",
    "MGDA",
    "RLW",
    "AlignedMTL",
    "Balancer",
    "CAGrad",
    "Fixed",
    "GeometricMean",
    "GradNorm",
    "GradVac",
    "LogLosses",
    "NashMTL",
    "PCGrad",
    "Uncertainty",
    "balancer_of",
]

if not TYPE_CHECKING:  # type checkers know the names, and would take any other for one of them
    __getattr__ = lookup.no_such_name(__name__, __all__)

# name: its class, which can be made without arguments.
BALANCERS = {
    "sum": Fixed,
    "uncertainty": Uncertainty,
    "dwa": DWA,
    "rlw": RLW,
    "log": LogLosses,
    "geometric_mean": GeometricMean,
    "imtl_l": IMTLL,
    "famo": FAMO,
    "gradnorm": GradNorm,
    "pcgrad": PCGrad,
    "gradvac": GradVac,
    "mgda": MGDA,
    "cagrad": CAGrad,
    "imtl_g": IMTLG,
    "nash_mtl": NashMTL,
    "aligned_mtl": AlignedMTL,
    "db_mtl": DBMTL,
}


def balancer_of(
    balancing: str | Balancer | Mapping[str, float] | None, names: Sequence[str]
) -> Balancer:
    """Returns the balancer that is meant.

    Args:
        balancing: A name of `BALANCERS`; a balancer; weights by the task's name, 1 where it is left out; None for
            the plain sum.
        names: The tasks, in the order of their losses.

    Raises:
        InputError: If a name is unknown.

    Example:
        >>> balancer_of({"age": 0.5}, ["breed", "age"])
        Fixed(weights=[1.0, 0.5])
        >>> balancer_of("cagrad", ["breed", "age"])
        CAGrad(c=0.5)
    """
    if balancing is None:
        return Fixed()
    if isinstance(balancing, Balancer):
        return balancing
    if isinstance(balancing, str):
        return lookup.find(balancing, BALANCERS, argument="balancing")()
    if not isinstance(balancing, Mapping):
        raise checks.error(
            "`balancing` must be a name, a balancer or weights by task",
            given=repr(balancing),
            fix=f"Names: {', '.join(BALANCERS)}.",
        )
    for name in balancing:
        lookup.find(name, dict.fromkeys(names), argument="balancing")
    weights = [
        checks.number(balancing.get(name, 1.0), name=f"balancing[{name!r}]", minimum=0)
        for name in names
    ]
    return Fixed(weights)
