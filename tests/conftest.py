"""Shared by all tests: quiet TensorFlow, fixed seeds, the folder of real data."""

import gc
import multiprocessing
import os
import pathlib
import random
import subprocess
import textwrap

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # what users get, on every processor
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # there is a process for each core already
if os.environ.get("KERAS_BACKEND") == "jax":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=3")

import keras
import pytest
import tensorflow as tf
from tensorflow.python.eager import context

from keras_transfer.machine import progress

reset_seed = tf.random.set_seed
OPTIMIZED_LESS = "disable_meta_optimizer"


def pytest_ignore_collect(collection_path):
    """Keras has one engine in a process: the tests of JAX lie in tests/engine, all others are TensorFlow's."""
    if collection_path.is_dir():
        return None
    is_of_jax = collection_path.parent.name == "engine"
    return True if is_of_jax != (keras.backend.backend() == "jax") else None


def pytest_collection_finish():
    """A tenth of the suite's time went into searching what the imports left in memory, over and over."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _set_eager(node):
    """Runs functions eagerly where the mark `compiled` is missing, and optimizes no graph of a data set.

    Such a graph lives for a few batches: optimizing it took half of the time of beginning a pass.
    """
    is_eager = node.get_closest_marker("compiled") is None
    tf.config.run_functions_eagerly(is_eager)
    tf.config.optimizer.set_experimental_options({OPTIMIZED_LESS: is_eager})


@pytest.fixture(scope="module", autouse=True)
def _eager_module(request):
    """For the module's own fixtures: they are compiled where `pytestmark` says so."""
    _set_eager(request.node)


@pytest.fixture(autouse=True)
def _eager(request):
    """Runs TensorFlow's functions eagerly: most of a small test's time would go into tracing them.

    A test with the mark `compiled` runs as users run.
    """
    _set_eager(request.node)
    yield
    _set_eager(request.node.getparent(pytest.Module))


def set_seed(seed):
    """Sets TensorFlow's seed and keeps its kernels.

    `tf.random.set_seed` deletes them all, so that random operations that run eagerly begin anew. Every test and every
    run sets the seed, and making the kernels again took a tenth of the suite's time; Keras and we draw by other means.
    """
    context.context()._seed = seed
    context.context()._rng = random.Random(seed)


@pytest.fixture(scope="session", autouse=True)
def _keep_kernels():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.random, "set_seed", set_seed)
        yield


@pytest.fixture(scope="module", autouse=True)
def _delete_kernels():
    """Once a file, or those of data sets that are gone would pile up."""
    reset_seed(0)


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def _no_progress(monkeypatch):
    """On a busy machine any pass may take long enough to print a line."""
    monkeypatch.setattr(progress, "PATIENCE", 600.0)


@pytest.fixture(autouse=True)
def _default_precision():
    yield
    keras.mixed_precision.set_global_policy("float32")


@pytest.fixture(scope="session")
def fork():
    """Runs code in a process of its own that may be killed, started from one that has imported everything already.

    `fork(code, *arguments)` returns the `multiprocessing.Process`; the code finds `arguments` as a list of strings.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["numpy", "tensorflow", "keras", "keras_transfer.training", "keras_transfer.models"]
    )

    def start(code, *arguments):
        names = {"__name__": "__main__", "arguments": [str(each) for each in arguments]}
        process = context.Process(target=exec, args=(textwrap.dedent(code), names))
        process.start()
        return process

    return start


REDIRECT = """
import os, sys
for number in (1, 2):
    os.dup2(os.open(arguments.pop(0), os.O_WRONLY | os.O_CREAT), number)
sys.argv = ["-c", *arguments]
"""


@pytest.fixture
def run_code(fork, tmp_path_factory):
    """Runs code as `subprocess.run([sys.executable, "-c", code, *arguments])` would, without importing TensorFlow anew.

    Functions that are registered with `atexit` do not run.
    """

    def run(code, *arguments):
        folder = tmp_path_factory.mktemp("process")
        stdout, stderr = folder / "stdout", folder / "stderr"
        process = fork(REDIRECT + textwrap.dedent(code), stdout, stderr, *arguments)
        process.join()
        return subprocess.CompletedProcess(
            ["python"], process.exitcode, stdout.read_text(), stderr.read_text()
        )

    return run


@pytest.fixture
def real_data() -> pathlib.Path:
    folder = os.environ.get("KERAS_TRANSFER_DATA")
    if not folder:
        pytest.skip("KERAS_TRANSFER_DATA is not set")
    return pathlib.Path(folder)


def save_plain_module(folder):
    """A tf.Module with a convolution, batch normalisation, dropout and an L2 loss, for images of any size."""
    import tensorflow as tf

    class Plain(tf.Module):
        def __init__(self):
            super().__init__(name="plain")
            generator = tf.random.Generator.from_seed(1)
            with self.name_scope:
                self.kernel = tf.Variable(
                    generator.normal([3, 3, 3, 16], stddev=0.3), name="kernel"
                )
                self.scale = tf.Variable(tf.ones(16), name="scale")
                self.shift = tf.Variable(tf.zeros(16), name="shift")
                self.mean = tf.Variable(tf.zeros(16), trainable=False, name="mean")
                self.variance = tf.Variable(tf.ones(16), trainable=False, name="variance")
                self.upper = tf.Variable(generator.normal([3, 3, 16, 32], stddev=0.1), name="upper")
            self.regularization_losses = [self.l2]

        @tf.function
        def l2(self):
            return 0.001 * tf.reduce_sum(self.kernel**2)

        @tf.function
        def __call__(self, images, training=False, batch_norm_momentum=0.9):
            x = tf.nn.conv2d(images, self.kernel, 2, "SAME")
            mean, variance = self.mean, self.variance
            if training:
                mean, variance = tf.nn.moments(x, [0, 1, 2])
                for kept, new in ((self.mean, mean), (self.variance, variance)):
                    kept.assign(kept * batch_norm_momentum + new * (1 - batch_norm_momentum))
            x = tf.nn.relu(
                tf.nn.batch_normalization(x, mean, variance, self.shift, self.scale, 1e-3)
            )
            x = tf.nn.dropout(x, 0.2) if training else x
            x = tf.nn.relu(tf.nn.conv2d(x, self.upper, 2, "SAME"))
            return {"default": x, "pooled": tf.reduce_mean(x, [1, 2])}

    module = Plain()
    for training in (True, False):
        module.__call__.get_concrete_function(
            tf.TensorSpec([None, None, None, 3]),
            training=training,
            batch_norm_momentum=tf.TensorSpec([]),
        )
    module.l2.get_concrete_function()
    tf.saved_model.save(module, str(folder))


def save_tf_keras_module(folder):
    """The same parts in a network of Keras 2, for images of 32 x 32."""
    tf_keras = pytest.importorskip("tf_keras")
    tf_keras.utils.set_random_seed(1)
    layers = tf_keras.layers
    l2 = tf_keras.regularizers.L2(0.001)
    network = tf_keras.Sequential(
        [
            layers.Input((32, 32, 3)),
            layers.Conv2D(16, 3, strides=2, padding="same", kernel_regularizer=l2, name="conv"),
            layers.BatchNormalization(momentum=0.9, name="norm"),
            layers.ReLU(),
            layers.Dropout(0.2),
            layers.Conv2D(32, 3, strides=2, padding="same", activation="relu", name="conv2"),
        ]
    )
    network.save(folder, save_format="tf")


@pytest.fixture(scope="session")
def module_folders(tmp_path_factory) -> dict[str, pathlib.Path]:
    """SavedModels with weights, batch normalisation, dropout and a loss: of a plain module and of Keras 2."""
    root = tmp_path_factory.mktemp("modules")
    save_plain_module(root / "plain")
    save_tf_keras_module(root / "tf_keras")
    return {"plain": root / "plain", "tf_keras": root / "tf_keras"}
