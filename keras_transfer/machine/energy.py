"""Time and energy of some work: what the processor measured, else an estimate from its time."""

import pathlib
import time

__all__ = ["Meter"]

COUNTERS = pathlib.Path("/sys/class/powercap")  # a folder for each package of the processor
WATTS = 10  # of a busy core with its share of memory, where nothing measures: laptops need less, old servers more


class Meter:
    """Measures from its making on: seconds, seconds of processor time, and watt hours.

    Energy is what the processor's own counters say, of everything that ran on it; where they cannot be read, ten watts
    for every second of processor time.

    Example:
        >>> sorted(Meter().read())
        ['energy', 'processor_seconds', 'seconds']
    """

    def __init__(self) -> None:
        self._seconds, self._processor = time.perf_counter(), time.process_time()
        self._joules = _counters()

    def read(self) -> dict:
        """Returns what was used so far; `energy` says where its number comes from."""
        processor = time.process_time() - self._processor
        measured = _used(self._joules, _counters())
        joules = WATTS * processor if measured is None else measured
        source = (
            f"estimated as {WATTS} W a busy core"
            if measured is None
            else "measured by the processor"
        )
        return {
            "seconds": round(time.perf_counter() - self._seconds, 3),
            "processor_seconds": round(processor, 3),
            "energy": {"watt_hours": round(joules / 3600, 6), "from": source},
        }


def _counters() -> dict[str, tuple[float, float]]:
    """Returns by package the joules that were counted, and at how many the counter begins again."""
    counted = {}
    for folder in sorted(COUNTERS.glob("intel-rapl:[0-9]")):
        try:
            used = int((folder / "energy_uj").read_text()) / 1e6
            span = int((folder / "max_energy_range_uj").read_text()) / 1e6
        except (OSError, ValueError):  # only root may read them on many systems
            continue
        counted[folder.name] = used, span
    return counted


def _used(
    before: dict[str, tuple[float, float]], after: dict[str, tuple[float, float]]
) -> float | None:
    """Returns the joules between two readings; None where nothing was read."""
    if not before or before.keys() != after.keys():
        return None
    total = 0.0
    for name, (first, span) in before.items():
        gone = after[name][0] - first
        total += gone if gone >= 0 else gone + span
    return total
