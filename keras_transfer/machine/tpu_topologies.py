"""TPU slices by name: generation, arrangement of the chips, memory of a chip."""

import math
import re
from dataclasses import dataclass

from keras_transfer.core import checks, lookup

__all__ = ["GENERATIONS", "Generation", "Topology", "find"]

GIB = 1 << 30


@dataclass(frozen=True)
class Generation:
    """What a chip of a generation has.

    Attributes:
        memory: Bytes a program may use, as the compiler counts them.
        exchange: Bytes that a chip sends to its neighbours in a second, all links together.
        flops: Operations in a second, in bfloat16.
        bandwidth: Bytes that it reads and writes in its memory in a second.
    """

    memory: int
    exchange: float
    flops: float
    bandwidth: float


# Speeds are those of the public system descriptions.
GENERATIONS = {
    "v5e": Generation(int(15.75 * GIB), 200e9, 197e12, 819e9),
    "v6e": Generation(int(31.25 * GIB), 400e9, 918e12, 1640e9),
}
# Chips of a slice: its arrangement.
SLICES = {
    1: (1, 1), 4: (2, 2), 8: (2, 4), 16: (4, 4), 32: (4, 8), 64: (8, 8), 128: (8, 16), 256: (16, 16),
}  # fmt: skip


@dataclass(frozen=True)
class Topology:
    """A slice of TPU chips.

    Attributes:
        generation: A name of `GENERATIONS`.
        sides: How the chips are arranged, such as (2, 2).
    """

    generation: str
    sides: tuple[int, ...]

    @property
    def chips(self) -> int:
        """How many chips there are."""
        return math.prod(self.sides)

    @property
    def name(self) -> str:
        """The name that the TPU compiler knows it by.

        Example:
            >>> Topology("v5e", (2, 4)).name
            'v5e:2x4'
        """
        return f"{self.generation}:{'x'.join(map(str, self.sides))}"

    @property
    def memory(self) -> int:
        """Bytes of memory of one chip."""
        return GENERATIONS[self.generation].memory

    def least_seconds(self, flops: float, accessed: float) -> float:
        """Returns the least time in which a chip does so many operations and moves so many bytes.

        Example:
            >>> Topology("v5e", (1, 1)).least_seconds(197e12, 0.0)
            1.0
        """
        generation = GENERATIONS[self.generation]
        return max(flops / generation.flops, accessed / generation.bandwidth)

    def exchange_seconds(self, size: int) -> float:
        """Returns the least time for summing `size` bytes over all chips.

        In a ring, each chip sends what it has and what it was sent, without its own share, twice.

        Example:
            >>> Topology("v5e", (1, 1)).exchange_seconds(1000)
            0.0
        """
        sent = 2 * size * (self.chips - 1) / self.chips
        return sent / GENERATIONS[self.generation].exchange


def find(name: str) -> Topology:
    """Returns the slice of a name such as "v5e-1" or "v5e-8" (chips), or "v5e:2x4" (their arrangement).

    Raises:
        InputError: If there is no such slice.

    Example:
        >>> find("v5e-8") == find("v5e:2x4")
        True
    """
    match = re.fullmatch(r"(v\d+\w*)(?:-(\d+)|:(\d+)x(\d+))", str(name))
    if match is None:
        raise checks.error(
            "`topology` must be a TPU generation and its number of chips",
            given=repr(name),
            fix="Use 'v5e-1' (Colab), 'v5e-8' or 'v6e-64'.",
        )
    lookup.find(match[1], GENERATIONS, argument="topology")
    if match[2] is not None:
        chips = int(match[2])
        if chips not in SLICES:
            counts = ", ".join(map(str, SLICES))
            raise checks.error(
                f"`topology` must be a slice of {counts} chips", given=f"{chips} chips"
            )
        return Topology(match[1], SLICES[chips])

    sides = int(match[3]), int(match[4])
    if sides not in SLICES.values():
        shapes = ", ".join(f"{down}x{across}" for down, across in SLICES.values())
        raise checks.error(f"`topology` must be one of {shapes} chips", given=repr(name))
    return Topology(match[1], sides)
