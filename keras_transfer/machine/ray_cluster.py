"""Finds or starts the Ray cluster that a run uses."""

import atexit
import logging
import math
import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any

from keras_transfer.core import checks, optional
from keras_transfer.machine import kernels

__all__ = ["PURPOSE", "connect", "load", "quiet", "variables"]

PURPOSE = "Training with Ray"
ADDRESS = "RAY_ADDRESS"
# Ray imports TensorFlow in a worker before anything of ours, so what TensorFlow reads then must be set outside.
HANDED_ON = (
    "JAX_COMPILATION_CACHE_DIR", "JAX_PLATFORMS", "XLA_FLAGS",
    kernels.SWITCH, "KERAS_BACKEND", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS",
    "TF_DETERMINISTIC_OPS", "PYTHONPATH",
)  # fmt: skip
DEFAULTS = {
    "GRPC_FAIL_FAST": "use_caller",  # so that a worker that is gone is noticed
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # prints lines twice
}
# Asks the dashboard, which is not there, in every second, and complains.
CLEANER = "ray.train.v2._internal.execution.controller.placement_group_cleaner"


def load() -> Any:
    """Imports Ray as this package uses it, and returns the module.

    Raises:
        MissingExtraError: If it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    if not os.environ.get(ADDRESS):
        # Read when Ray is imported: it keeps a cluster of this machine to 127.0.0.1.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    return optional.require("ray", extra="ray", purpose=PURPOSE)


def connect(*, cpus: float, gpus: float) -> None:
    """Uses the cluster that this process is connected to, or that RAY_ADDRESS names; else starts one here.

    Args:
        cpus: Processors that a cluster of this machine offers.
        gpus: GPUs that it offers.
    """
    ray = load()
    if ray.is_initialized():
        return
    if os.environ.get(ADDRESS):
        ray.init()
        return
    # Without it Ray writes a token into the home folder.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    folder = tempfile.mkdtemp(prefix="ray_")  # a short path: names of sockets have 107 bytes
    atexit.register(_stop, ray, folder)
    ray.init(
        address="local",
        num_cpus=math.ceil(cpus),
        num_gpus=math.ceil(gpus),
        include_dashboard=False,
        runtime_env={"worker_process_setup_hook": f"{__name__}.{quiet.__name__}"},
        _temp_dir=folder,
    )
    checks.note(
        "Ray runs on this machine alone: call ray.init(address=...) before, or set RAY_ADDRESS, for a cluster."
    )


def _stop(ray: Any, folder: str) -> None:
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def quiet() -> None:
    """Silences complaints of Ray's processes about the dashboard; they call it when they start."""
    logging.getLogger(CLEANER).setLevel(logging.CRITICAL)


def variables(more: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment variables of workers: those of this process that TensorFlow reads, and `more`.

    Example:
        >>> variables({"OMP_NUM_THREADS": "2"})["OMP_NUM_THREADS"]
        '2'
    """
    mine = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
    return {**DEFAULTS, **mine, **more}
