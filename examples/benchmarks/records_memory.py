"""How does memory grow with the number of examples in records?

    python examples/benchmarks/records_memory.py

Writes small rendered images as records, a part at a time, then reads them: a pass over the training images in a new
order, the validation images, the summary. Each number of examples has a process of its own, whose largest resident
memory is told. The images of 80,000 examples would take 250 MB. A minute or two; one JSON line.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile

import numpy as np
import tensorflow as tf

import keras_transfer as kt


def write(folder, count):
    """Writes one of the folders; the writer needs all labels in memory, and here the images, too."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (count, 32, 32, 3), np.uint8)
    data = kt.data.from_arrays(images, {"kind": np.arange(count) % 7, "age": draw.random(count)})
    kt.data.write_records(data, folder, megabytes=16)


def read(folder):
    """Reads everything once, and tells the largest memory that the process has had, in MB."""
    data = kt.data.from_records(folder)
    seen = sum(len(images) for images, _ in data.train)
    seen += sum(len(images) for images, _ in data.validation)
    print(data.summary(), file=sys.stderr)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000  # Linux counts kB
    print(json.dumps({"examples": seen, "peak_mb": round(peak, 1)}))


def in_process(verb, folder, count):
    command = [sys.executable, __file__, "--verb", verb, "--folder", folder, "--counts", str(count)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[
        -1
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[5_000, 20_000, 80_000])
    parser.add_argument("--verb", choices=("write", "read"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.verb == "write":
        write(asked.folder, asked.counts[0])
        return
    if asked.verb == "read":
        read(asked.folder)
        return

    rows = []
    for count in asked.counts:
        with tempfile.TemporaryDirectory() as folder:
            in_process("write", folder, count)
            rows.append(json.loads(in_process("read", folder, count)))
    result = {
        "rows": rows,
        "growth_mb": round(rows[-1]["peak_mb"] - rows[0]["peak_mb"], 1),
        "tensorflow": tf.__version__,
        "python": platform.python_version(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
