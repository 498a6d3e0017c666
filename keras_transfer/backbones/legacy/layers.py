"""One layer of an old Keras file, as a layer of Keras 3.

The tables below say what was renamed, what may be left out and why. A layer's configuration is data:
its class must stand in `_KNOWN` (layers that compute with what they are given, and neither run code
from a file nor open other files) or have been registered with Keras by the user's own program, and
what goes into the constructor is plain numbers, texts and lists, or made here.
"""

import inspect

import keras
import tensorflow as tf

from keras_transfer.backbones.legacy import arithmetic, values
from keras_transfer.core import checks, lookup

__all__ = ["REBUILD", "REFUSALS", "build", "check", "class_name", "is_model", "reason"]

REBUILD = "Build the network in Keras 3 and pass weights=."
# What Keras and TensorFlow raise when the arguments of a layer, or its inputs, cannot work.
REFUSALS = (
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    MemoryError,
    tf.errors.OpError,
)

_MODELS = {"Functional", "Model", "Sequential"}

_BY_RANK = (
    "AveragePooling", "Conv", "Cropping", "GlobalAveragePooling", "GlobalMaxPooling", "MaxPooling", "SpatialDropout",
    "UpSampling", "ZeroPadding",
)  # fmt: skip
_KNOWN = {
    "Activation", "ActivityRegularization", "Add", "AlphaDropout", "Average", "BatchNormalization", "CenterCrop",
    "Concatenate", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "Dense", "DepthwiseConv1D",
    "DepthwiseConv2D", "Dot", "Dropout", "ELU", "Embedding", "Flatten", "GaussianDropout", "GaussianNoise",
    "GroupNormalization", "Identity", "InputLayer", "LayerNormalization", "LeakyReLU", "Maximum", "Minimum",
    "MultiHeadAttention", "Multiply", "Normalization", "PReLU", "Permute", "RandomBrightness", "RandomContrast",
    "RandomCrop", "RandomFlip", "RandomRotation", "RandomTranslation", "RandomZoom", "ReLU", "RepeatVector",
    "Rescaling", "Reshape", "Resizing", "SeparableConv1D", "SeparableConv2D", "Softmax", "Subtract",
    "UnitNormalization",
} | {f"{name}{rank}D" for name in _BY_RANK for rank in (1, 2, 3)}  # fmt: skip
_RENAMED = {
    "AtrousConvolution1D": "Conv1D", "AtrousConvolution2D": "Conv2D", "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization", "Convolution1D": "Conv1D", "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D", "FixedDropout": "Dropout", "SeparableConvolution2D": "SeparableConv2D",
    "SyncBatchNormalization": "BatchNormalization", "ThresholdedReLU": "ReLU",
}  # fmt: skip
_MERGES = {
    "sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum", "min": "Minimum", "concat": "Concatenate",
}  # fmt: skip
# Keras 1 to Keras 2, in all layers alike.
_ARGUMENTS = {
    "nb_filter": "filters", "output_dim": "units", "subsample": "strides", "subsample_length": "strides",
    "border_mode": "padding", "dim_ordering": "data_format", "bias": "use_bias", "init": "kernel_initializer",
    "W_regularizer": "kernel_regularizer", "b_regularizer": "bias_regularizer", "W_constraint": "kernel_constraint",
    "b_constraint": "bias_constraint", "filter_length": "kernel_size", "atrous_rate": "dilation_rate",
    "pool_length": "pool_size", "stride": "strides", "beta_init": "beta_initializer", "gamma_init":
    "gamma_initializer", "p": "rate", "sigma": "stddev", "depthwise_init": "depthwise_initializer", "pointwise_init":
    "pointwise_initializer",
}  # fmt: skip
_ARGUMENTS_OF = {
    "LeakyReLU": {"alpha": "negative_slope"},
    "ThresholdedReLU": {"theta": "threshold"},
    "UpSampling1D": {"length": "size"},
    "Embedding": {"output_dim": "output_dim", "init": "embeddings_initializer"},
    "Reshape": {"dims": "target_shape"},
}
# What Keras 3 no longer takes, with the values at which nothing is lost; `...` stands for any.
_DROPPED = {
    "activity_regularizer": (None,), "adjustment": (None,), "batch_input_shape": ..., "build_input_shape": ...,
    "filters": ..., "fused": ..., "groups": (1,), "implementation": ..., "input_dim": ..., "input_dtype": ...,
    "input_length": ..., "input_shape": ..., "key_shape": ..., "kernel_constraint": (None,), "kernel_initializer": ...,
    "kernel_regularizer": (None,), "mode": (0,), "noise_shape": (None,), "output_shape": (None,),
    "quantization_config": (None,), "query_shape": ...,
    "ragged": (False, None), "renorm": (False, None), "renorm_clipping": (None, {}),
    "renorm_momentum": ..., "rng_type": ..., "units": (None,), "value_shape": ..., "virtual_batch_size": (None,),
    "softmax_robust_masking": (False, None), "trainable": ..., "weights": (None,),
}  # fmt: skip
_BASE = {"name", "trainable", "dtype", "activity_regularizer"}


def class_name(entry: dict) -> str:
    """Returns the class of a layer in a file, "?" where the file does not say it."""
    return entry["class_name"] if isinstance(entry.get("class_name"), str) else "?"


def reason(refused: Exception) -> str:
    """Returns the first line of what an exception says."""
    return (str(refused).strip() or type(refused).__name__).splitlines()[0]


def is_model(entry: dict) -> bool:
    """Whether `entry` is a nested model and not a layer."""
    return class_name(entry) in _MODELS


def check(entry: dict, *, trust: bool) -> None:
    """Raises an error unless the layer is one that `build` makes; makes nothing.

    Example:
        >>> check({"class_name": "Lambda", "config": {"name": "twice"}}, trust=False)
        Traceback (most recent call last):
        keras_transfer.core.checks.InputError: a model file must not carry code. Given: Lambda layer 'twice'. ...
    """
    kind, name = class_name(entry), entry["config"].get("name")
    if kind == "Lambda":
        _check_lambda(entry["config"], trust=trust)
    elif kind in arithmetic.KINDS and arithmetic.name_of(entry) is None:
        raise checks.error(
            "an operation outside of layers must be plain arithmetic",
            given=f"{kind} {name!r}",
            fix=f"These are read: {arithmetic.known()}. {REBUILD}",
        )
    elif not (_kind(entry) in _KNOWN or arithmetic.name_of(entry) or values.registered(kind)):
        near = lookup.close(kind, _KNOWN)
        raise checks.error(
            "the layers of a model file must be known",
            given=f"{kind} {name!r}",
            fix="If the class is yours, open the file within keras.saving.custom_object_scope({"
            f"{kind!r}: {kind if kind.isidentifier() else 'TheClass'}}})"
            + "."
            + (f" Close: {near[0]}." if near else ""),
        )


def _check_lambda(config: dict, *, trust: bool) -> None:
    given = f"Lambda layer {config.get('name')!r}"
    if not trust:
        fix = "If you trust the file and its function is registered with Keras, pass trust=True."
        raise checks.error("a model file must not carry code", given=given, fix=fix)
    if values.registered_function(config.get("function")) is None:
        raise checks.error(
            "the function of a Lambda layer must be registered with Keras under its name",
            given=given,
            fix=f"Stored Python bytecode is never run. {REBUILD}",
        )


def _kind(entry: dict) -> str:
    """The class's name in Keras 3."""
    kind = class_name(entry)
    if kind == "Merge":
        return _MERGES.get(
            str(entry["config"].get("mode")), f"Merge(mode={entry['config'].get('mode')!r})"
        )
    return _RENAMED.get(kind, kind)


def build(entry: dict, *, keras_version: int) -> keras.layers.Layer:
    """Makes the layer that `check` has let pass, without weights.

    Args:
        entry: `{"class_name": ..., "config": {...}}` as the file has it.
        keras_version: Major version of the Keras that wrote it.

    Example:
        >>> build({"class_name": "LeakyReLU", "config": {"alpha": 0.1}}, keras_version=2).negative_slope
        0.1
    """
    config = entry["config"]
    own = values.registered(class_name(entry))
    if own is not None:
        config = {key: value for key, value in config.items() if key != "batch_input_shape"}
        return _constructed(
            own.from_config, entry, ({**config, "dtype": values.dtype(config.get("dtype"))},), {}
        )
    if class_name(entry) == "Lambda":
        return _lambda(entry)
    kind = _kind(entry)
    if class_name(entry) == "Merge":
        config = _merge(config, kind)
    renamed = (
        {**_ARGUMENTS, **_ARGUMENTS_OF.get(class_name(entry), {})} if keras_version < 3 else {}
    )
    arguments = {renamed.get(key, key): value for key, value in _kernel_size(config).items()}
    if (
        kind == "Activation"
        and isinstance(arguments.get("activation"), dict)
        and is_layer(arguments["activation"])
    ):
        return build(
            _named(arguments["activation"], config.get("name")), keras_version=keras_version
        )
    cls = getattr(keras.layers, kind)
    accepted = set(inspect.signature(cls.__init__).parameters)
    accepted |= _BASE if "kwargs" in accepted else set()
    arguments = {
        key: _converted(key, value, entry, keras_version)
        for key, value in arguments.items()
        if key in accepted or not _is_lost(key, value, entry)
    }
    if kind == "BatchNormalization":
        arguments["axis"] = _one_axis(arguments.get("axis", -1), entry)
    if (
        kind == "ZeroPadding2D" and len(arguments["padding"]) == 4
    ):  # Keras 1: top, bottom, left, right
        arguments["padding"] = [arguments["padding"][:2], arguments["padding"][2:]]
    # Layers have defaults for these that are no None, and some take no `activity_regularizer` at all.
    default = {
        key
        for key, value in arguments.items()
        if value is None and key.endswith(("_initializer", "ty_regularizer"))
    }
    return _constructed(
        cls, entry, (), {key: arguments[key] for key in arguments if key in accepted - default}
    )


def is_layer(value: dict) -> bool:
    """Whether a value stands for a layer, as the activation of another one may."""
    return _kind({"config": {}, **value}) in _KNOWN


def _merge(config: dict, kind: str) -> dict:
    """Keras 1 had one layer for all ways to merge tensors, with arguments for each."""
    return {"name": config.get("name")} | (
        {"axis": config.get("concat_axis", -1)} if kind == "Concatenate" else {}
    )


def _named(entry: dict, name: str | None) -> dict:
    return {**entry, "config": {**entry["config"], "name": name}}


def _kernel_size(config: dict) -> dict:
    """Keras 1 wrote the sides of a kernel one by one."""
    sides = [
        config[side]
        for side in ("kernel_dim1", "kernel_dim2", "kernel_dim3", "nb_row", "nb_col")
        if side in config
    ]
    rest = {
        key: value
        for key, value in config.items()
        if not key.startswith(("nb_row", "nb_col", "kernel_dim"))
    }
    return {**rest, "kernel_size": sides} if sides else rest


def _is_lost(key: str, value: object, entry: dict) -> bool:
    """Whether an argument that Keras 3 does not take may be left out; an error where it would matter."""
    harmless = _DROPPED.get(key, ())
    if harmless is ... or any(value == one and type(value) is type(one) for one in harmless):
        return True
    raise checks.error(
        f"what {class_name(entry)} {entry['config'].get('name')!r} does must exist in Keras 3",
        given=f"{key}={value!r}",
        fix=REBUILD,
    )


def _converted(key: str, value: object, entry: dict, keras_version: int) -> object:
    if key.endswith("_initializer"):
        return values.initializer(value)
    if key.endswith("_regularizer"):
        return values.regularizer(value)
    if key.endswith("_constraint"):
        return values.constraint(value)
    if key == "activation":
        if isinstance(value, dict) and is_layer(value):
            return build(value, keras_version=keras_version)
        return values.activation(value, keras_version=keras_version)
    if key == "dtype":
        return values.dtype(value)
    if key == "data_format":
        return {"tf": "channels_last", "th": "channels_first"}.get(value, value)
    return values.plain(value, what=f"{key} of {class_name(entry)} {entry['config'].get('name')!r}")


def _one_axis(axis: object, entry: dict) -> int:
    if isinstance(axis, list | tuple) and len(axis) == 1:
        return axis[0]
    if isinstance(axis, int):
        return axis
    raise checks.error(
        "batch normalisation in Keras 3 must be over one axis",
        given=f"axis={axis} in {entry['config'].get('name')!r}",
    )


def _lambda(entry: dict) -> keras.layers.Lambda:
    config = entry["config"]
    arguments = {
        "name": config.get("name"),
        "arguments": {
            key: values.plain(value, what=key)
            for key, value in (config.get("arguments") or {}).items()
        },
    }
    return _constructed(
        keras.layers.Lambda, entry, (values.registered_function(config["function"]),), arguments
    )


def _constructed(
    cls: object, entry: dict, positional: tuple, arguments: dict
) -> keras.layers.Layer:
    try:
        return cls(*positional, **arguments)
    except REFUSALS as refused:
        raise checks.error(
            "every layer of a model file must be one that Keras 3 can make",
            given=f"{class_name(entry)} {entry['config'].get('name')!r} ({reason(refused)})",
        ) from refused
