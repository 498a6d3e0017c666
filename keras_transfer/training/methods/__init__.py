"""What changes a stage's training step, or replaces it: one file and one row of `METHODS` each.

`Method` says what a method needs, `Regulariser` what one needs that adds a penalty to the loss: its row is in
`REGULARISERS`, with entries of `STRONG` and `ABSENT` in `tests/training/methods/test_penalties.py`. Both kinds can be
made without arguments. The class becomes public by its import and its name here and in `training/__init__.py`.
"""

from keras_transfer.training.methods.base import Method, Trainee
from keras_transfer.training.methods.bss import BSS
from keras_transfer.training.methods.delta import Delta, channel_importance
from keras_transfer.training.methods.l2_sp import L2SP
from keras_transfer.training.methods.low_rank import LowRank
from keras_transfer.training.methods.penalties import Penalty, Regulariser
from keras_transfer.training.methods.solved_head import SolvedHead

__all__ = [
    "BSS", "L2SP", "METHODS", "REGULARISERS", "Delta", "LowRank", "Method", "Penalty", "Regulariser", "SolvedHead",
    "Trainee", "channel_importance",
]  # fmt: skip

REGULARISERS = {"l2_sp": L2SP, "delta": Delta, "bss": BSS}

METHODS: dict[str, type[Method]] = {
    "plain": Method,
    "solved_head": SolvedHead,
    "low_rank": LowRank,
    **REGULARISERS,
}
