"""Compiles a model's training step for a TPU slice, on a machine without a TPU, and reads what the program costs.

The compiler is libtpu's. It needs Keras on JAX: only there does Keras train on TPUs.
"""

import contextlib
import math
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any  # arrays and trees of JAX, which has no types here

import keras
import numpy as np

from keras_transfer.core import optional
from keras_transfer.machine import tpu_faults, tpu_topologies

__all__ = ["PURPOSE", "Program", "compile_step"]

PURPOSE = "Compiling for a TPU"
BITS = {"pred": 8, "bf16": 16}  # of types whose name does not end with their bits
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@dataclass(frozen=True, kw_only=True)
class Program:
    """What a training step takes on each chip; None where the compiler did not come to tell.

    Attributes:
        problems: What does not run on a TPU, and where; in plain words.
        memory: Bytes of weights, batch, results and intermediate values.
        flops: Floating-point operations.
        accessed: Bytes that are read and written in memory.
        seconds: The compiler's estimate of the time, without the exchange between chips; below 0 where it has none.
        all_reduces: How often chips sum up something.
        exchanged: Bytes that are summed up.
        compile_seconds: How long tracing and compiling took here.
    """

    problems: tuple[str, ...] = ()
    memory: int | None = None
    flops: float | None = None
    accessed: float = 0.0
    seconds: float | None = None
    all_reduces: int | None = None
    exchanged: int | None = None
    compile_seconds: float = 0.0


def compile_step(model: keras.Model, batch: Any, topology: tpu_topologies.Topology) -> Program:
    """Compiles the training step of a compiled model, with its weights on every chip and the batch divided.

    Args:
        model: A model that runs under JAX.
        batch: The tree of a batch, (images, targets[, weights]), with anything that has `shape` and `dtype`.
        topology: The slice.

    Raises:
        MissingExtraError: If JAX or libtpu is absent.
    """
    jax = optional.require("jax", extra="jax-tpu", purpose=PURPOSE)
    optional.require("libtpu", extra="jax-tpu", purpose=PURPOSE)
    replicated, divided = _shardings(topology)
    begin = time.perf_counter()
    try:
        model.optimizer.build(model.trainable_variables)
        model._symbolic_build(data_batch=batch)  # makes the metrics' variables, as `fit` does
        state = []
        for variables in (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        ):
            state.append([_place(variable.value, replicated) for variable in variables])
        data = jax.tree.map(lambda part: _place(part, divided), batch)
        step = jax.jit(model.train_step, donate_argnums=0)
        traced = step.trace(tuple(state), data)
    except tpu_faults.FAILURES as failed:
        return Program(problems=(tpu_faults.explain_failure(failed),))

    problems = tpu_faults.find(traced.jaxpr.jaxpr)
    try:
        with _without_cache(jax):
            compiled = traced.lower().compile()
    except jax.errors.JaxRuntimeError as refused:
        memory = _needed_memory(str(refused))
        if memory is None:
            problems.append(f"the TPU compiler refuses the step: {_sentence(str(refused))}")
        return Program(problems=tuple(problems), memory=memory)
    facts = _read(compiled)
    if facts.pop("calls_host") and not problems:
        problems.append("the compiled step calls the host: a TPU waits for it in every step")
    seconds = time.perf_counter() - begin
    return Program(problems=tuple(problems), compile_seconds=seconds, **facts)


def _shardings(topology: tpu_topologies.Topology) -> tuple[Any, Any]:
    """Returns how arrays lie on the slice: the same on every chip, and divided by rows."""
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # asks no server which TPU this machine has
    # Nothing runs on chips here, so that several processes may compile at once.
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "true")
    sharding = optional.require("jax.sharding", extra="jax-tpu", purpose=PURPOSE)
    topologies = optional.require("jax.experimental.topologies", extra="jax-tpu", purpose=PURPOSE)
    # Without it a slice has the four chips of a host at least.
    options = {"chips_per_host_bounds": (1, 1, 1)} if topology.chips == 1 else {}
    with _without_messages():
        described = topologies.get_topology_desc(
            platform="tpu", topology_name=topology.name, **options
        )
    mesh = sharding.Mesh(np.array(described.devices), ("batch",))
    specs = sharding.PartitionSpec(), sharding.PartitionSpec("batch")
    replicated, divided = (sharding.NamedSharding(mesh, spec) for spec in specs)
    return replicated, divided


@contextlib.contextmanager
def _without_cache(jax: Any) -> Iterator[None]:
    """Compiles within the block whatever was compiled before: kept programs of a TPU can be read on a TPU only."""
    name = "jax_enable_compilation_cache"
    cache = optional.require(
        "jax.experimental.compilation_cache.compilation_cache", extra="jax-tpu", purpose=PURPOSE
    )
    before = getattr(jax.config, name)
    jax.config.update(name, False)
    cache.reset_cache()  # it has looked at the setting once
    try:
        yield
    finally:
        jax.config.update(name, before)
        cache.reset_cache()


@contextlib.contextmanager
def _without_messages() -> Iterator[None]:
    """Hides what libtpu writes to the terminal: that this machine has no TPU."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def _place(part: Any, sharding: Any) -> Any:
    """Returns an array without values that lies on the slice; 64 bits become 32, as in JAX."""
    jax = optional.require("jax", extra="jax-tpu", purpose=PURPOSE)
    dtype = jax.dtypes.canonicalize_dtype(keras.backend.standardize_dtype(part.dtype))
    return jax.ShapeDtypeStruct(tuple(part.shape), dtype, sharding=sharding)


def _read(compiled: Any) -> dict[str, Any]:
    """Returns what a compiled program tells."""
    memory, costs = compiled.memory_analysis(), compiled.cost_analysis()
    costs = costs[0] if isinstance(costs, list) else costs
    text = compiled.as_text()
    sizes = _all_reduced(text)
    return {
        "memory": (
            memory.argument_size_in_bytes
            + memory.output_size_in_bytes
            - memory.alias_size_in_bytes
            + memory.temp_size_in_bytes
            + memory.generated_code_size_in_bytes
        ),
        "flops": float(costs.get("flops", math.nan)),
        "accessed": float(costs.get("bytes accessed", 0.0)),
        "seconds": float(costs.get("optimal_seconds", -1.0)),
        "all_reduces": len(sizes),
        "exchanged": sum(sizes),
        "calls_host": "send(" in text,
    }


def _all_reduced(text: str) -> list[int]:
    """Returns the bytes of each sum over all chips in the text of a program.

    Example:
        >>> _all_reduced("%a = (f32[3,2]{1,0}, bf16[]) all-reduce(%b, %c), channel_id=1")
        [26]
    """
    sizes = []
    for line in text.splitlines():
        match = re.match(r"\s*(?:ROOT )?%?[\w.-]+ = (.*?) all-reduce(?:-start)?\(", line)
        if match is None:
            continue
        size = 0
        for kind, shape in re.findall(r"\b(pred|bf16|[fsu]\d+)\[([\d,]*)\]", match[1]):
            bits = BITS.get(kind) or int(kind[1:])
            size += math.prod(int(side) for side in shape.split(",") if side) * bits // 8
        sizes.append(size)
    return sizes


def _needed_memory(message: str) -> int | None:
    """Returns the bytes that a refused program would need at least, if that is why it was refused.

    Example:
        >>> _needed_memory("Ran out of memory in memory space hbm. Used 20.5G of 15.75G hbm.")
        22011707392
    """
    amount = r"([\d.]+)([KMGT])"
    forms = (rf"Used {amount} of \S+ hbm", rf"\({amount}\) exceeds available HBM")
    matches = [match for form in forms if (match := re.search(form, message))]
    return int(float(matches[0][1]) * UNITS[matches[0][2]]) if matches else None


def _sentence(message: str) -> str:
    return " ".join(message.split())[:300]
