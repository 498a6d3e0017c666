"""What `kt.check_tpu` found."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from keras_transfer.machine import tpu_programs, tpu_topologies

__all__ = ["TpuCheck", "make"]


@dataclass(frozen=True, kw_only=True)
class TpuCheck:
    """What a training step would take on a TPU slice; its text tells all of it.

    Attributes:
        model: The model's name.
        topology: The slice, as the compiler calls it: "v5e:1x1".
        chips: Number of chips.
        batch_size: Images in a batch, over all chips.
        problems: What does not run on a TPU, or slows it down, and where; empty if nothing does.
        memory: Bytes that a step needs on each chip; None where the step could not be compiled.
        available: Bytes of memory that a chip has.
        all_reduces: How often a step sums something over the chips.
        exchanged: Bytes that a step sums over the chips.
        flops: Floating-point operations of a step on each chip.
        seconds: The least time of a step, by the compiler's estimate or by what a chip can compute and move, the
            larger of both, with the exchange; without reading images.
        compile_seconds: How long compiling took.
    """

    model: str
    topology: str
    chips: int
    batch_size: int
    problems: tuple[str, ...] = ()
    memory: int | None = None
    available: int = 0
    all_reduces: int | None = None
    exchanged: int | None = None
    flops: float | None = None
    seconds: float | None = None
    compile_seconds: float = 0.0

    @property
    def compiles(self) -> bool:
        """Whether the compiler made a program of the step."""
        return self.flops is not None

    @property
    def fits(self) -> bool:
        """Whether a step fits into the memory of a chip."""
        return self.memory is not None and self.memory <= self.available

    @property
    def is_fine(self) -> bool:
        """Whether the model trains there: it compiles, fits, and nothing waits for the host."""
        return self.compiles and self.fits and not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain values."""
        return {**asdict(self), "problems": list(self.problems), "fits": self.fits}

    def __str__(self) -> str:
        """Lists what was found, a line each."""
        chips = "1 chip" if self.chips == 1 else f"{self.chips} chips"
        lines = [f"{self.model} on {self.topology} ({chips}), batches of {self.batch_size}"]
        lines += [f"problem: {problem}" for problem in self.problems]
        if self.memory is not None:
            verdict = "fits" if self.fits else "does not fit: lower the batch size"
            lines.append(
                f"memory: {_bytes(self.memory)} of {_bytes(self.available)} on each chip, {verdict}"
            )
        if not self.compiles:
            return "\n".join([*lines, "the training step does not compile"])

        flops, seconds = self.flops or math.nan, self.seconds or math.nan
        rate = self.batch_size / seconds
        lines += [
            f"a step: {flops / 1e9:,.2f} GFLOP on each chip, {seconds * 1e3:,.3f} ms at least "
            f"({rate:,.0f} images a second, if they are read as fast)",
            f"exchange: {self.all_reduces} all-reduces of {_bytes(self.exchanged or 0)} a step",
            f"compiled in {self.compile_seconds:.0f} s",
        ]
        return "\n".join(lines)


def make(
    program: tpu_programs.Program,
    topology: tpu_topologies.Topology,
    *,
    model: str,
    batch_size: int,
    problems: tuple[str, ...] = (),
) -> TpuCheck:
    """Returns the findings about a program; `problems` are those of the data."""
    seconds = program.seconds
    if seconds is not None and program.flops is not None:
        # The compiler's estimates of large programs overflow.
        seconds = max(seconds, topology.least_seconds(program.flops, program.accessed))
        seconds += topology.exchange_seconds(program.exchanged or 0)
    return TpuCheck(
        model=model,
        topology=topology.name,
        chips=topology.chips,
        batch_size=batch_size,
        problems=(*problems, *program.problems),
        memory=program.memory,
        available=topology.memory,
        all_reduces=program.all_reduces,
        exchanged=program.exchanged,
        flops=program.flops,
        seconds=seconds,
        compile_seconds=program.compile_seconds,
    )


def _bytes(size: int) -> str:
    for unit, name in ((1 << 30, "GB"), (1 << 20, "MB")):
        if size >= unit:
            return f"{size / unit:,.2f} {name}"
    return f"{size / 1024:,.1f} kB"
