"""Makes a layer of Keras 3 from a layer in an old Keras file.

The tables below list what was renamed and what may be left out. A layer's configuration is data. Its class must be in
`_KNOWN` (layers that neither run code from a file nor open other files) or be registered with Keras by the user, and
its constructor gets numbers, texts and lists, or objects made here.
"""

import inspect
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_transfer.backbones.legacy import arithmetic, values
from keras_transfer.core import checks, lookup

__all__ = ["REBUILD", "REFUSALS", "build", "check", "class_name", "is_model"]

REBUILD = "Build the network in Keras 3 and pass weights=."
# Raised by Keras and TensorFlow when the arguments or inputs of a layer cannot work.
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
# From Keras 1 to Keras 2, in all layers.
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
# Arguments that Keras 3 no longer takes, with the values that may be left out; `...` stands for any value.
_DROPPED: dict[str, Any] = {
    "activity_regularizer": (None,), "adjustment": (None,), "batch_input_shape": ..., "build_input_shape": ...,
    "filters": ..., "fused": ..., "groups": (1,), "implementation": ..., "input_dim": ..., "input_dtype": ...,
    "input_length": ..., "input_shape": ..., "key_shape": ..., "kernel_constraint": (None,), "kernel_initializer": ...,
    "kernel_regularizer": (None,), "mode": (0,), "noise_shape": (None,), "output_shape": (None,),
    "quantization_config": (None,), "query_shape": ...,
    "ragged": (False, None), "renorm": (False, None), "renorm_clipping": (None, {}),
    "renorm_momentum": ..., "rng_type": ..., "units": (None,), "value_shape": ..., "virtual_batch_size": (None,),
    "softmax_robust_masking": (False, None), "trainable": ..., "weights": (None,),
}  # fmt: skip
# Keras 1 wrote the sides of a kernel one by one.
_SIDES = ("kernel_dim1", "kernel_dim2", "kernel_dim3", "nb_row", "nb_col")
_BASE = {"name", "trainable", "dtype", "activity_regularizer"}


def class_name(entry: dict) -> str:
    """Returns the class of a layer in a file, "?" if the file does not say it."""
    return entry["class_name"] if isinstance(entry.get("class_name"), str) else "?"


def is_model(entry: dict) -> bool:
    """Returns whether `entry` is a nested model, not a layer."""
    return class_name(entry) in _MODELS


def check(entry: dict, *, trust: bool) -> None:
    """Raises an error unless `build` can make the layer; makes nothing.

    Example:
        >>> check({"class_name": "Lambda", "config": {"name": "twice"}}, trust=False)
        Traceback (most recent call last):
        keras_transfer.core.checks.InputError: a model file must not carry code. Given: Lambda layer 'twice'. ...
    """
    kind = class_name(entry)
    given = f"{kind} {entry['config'].get('name')!r}"
    operation = arithmetic.name_of(entry)
    if kind == "Lambda":
        given = f"Lambda layer {entry['config'].get('name')!r}"
        if not trust:
            raise checks.error(
                "a model file must not carry code",
                given=given,
                fix="If you trust the file and its function is registered with Keras, pass trust=True.",
            )
        if values.find_function(entry["config"].get("function")) is None:
            raise checks.error(
                "the function of a Lambda layer must be registered with Keras under its name",
                given=given,
                fix=f"Stored Python bytecode is never run. {REBUILD}",
            )
    elif kind in arithmetic.KINDS and not operation:
        raise checks.error(
            "an operation outside of layers must be plain arithmetic",
            given=given,
            fix=f"These are read: {', '.join(sorted(arithmetic.OPERATIONS))}. {REBUILD}",
        )
    elif not (_kind(entry) in _KNOWN or operation or values.find_layer(kind)):
        cls = kind if kind.isidentifier() else "TheClass"
        near = [f"Close: {name}." for name in lookup.close(kind, _KNOWN, most=1)]
        fix = f"If the class is yours, open the file within keras.saving.custom_object_scope({{{kind!r}: {cls}}})."
        raise checks.error(
            "the layers of a model file must be known", given=given, fix=" ".join([fix, *near])
        )


def _kind(entry: dict) -> str:
    """Returns the name of the class in Keras 3."""
    kind = class_name(entry)
    if kind == "Merge":
        mode = entry["config"].get("mode")
        return _MERGES.get(str(mode), f"Merge(mode={mode!r})")
    return _RENAMED.get(kind, kind)


def build(entry: dict, *, keras_version: int) -> keras.layers.Layer:
    """Makes a layer that passed `check`, without weights.

    Args:
        entry: `{"class_name": ..., "config": {...}}` as the file has it.
        keras_version: Major version of the Keras that wrote it.

    Example:
        >>> build({"class_name": "LeakyReLU", "config": {"alpha": 0.1}}, keras_version=2).negative_slope
        0.1
    """
    config, kind = entry["config"], _kind(entry)
    own = values.find_layer(class_name(entry))
    if own is not None:
        config = {key: value for key, value in config.items() if key != "batch_input_shape"}
        return _construct(
            own.from_config, entry, {**config, "dtype": values.dtype(config.get("dtype"))}
        )
    if class_name(entry) == "Lambda":
        given = (config.get("arguments") or {}).items()
        arguments = {key: values.plain(value, what=key) for key, value in given}
        function = values.find_function(config["function"])
        return _construct(
            keras.layers.Lambda, entry, function, name=config.get("name"), arguments=arguments
        )

    arguments = _rename(config, entry, keras_version)
    activation = arguments.get("activation")
    if kind == "Activation" and isinstance(activation, dict) and is_layer(activation):
        named = {**activation, "config": {**activation["config"], "name": config.get("name")}}
        return build(named, keras_version=keras_version)

    cls = getattr(keras.layers, kind)
    accepted = set(inspect.signature(cls.__init__).parameters)
    if "kwargs" in accepted:
        accepted |= _BASE
    for key in [key for key in arguments if key not in accepted]:
        _check_harmless(key, arguments.pop(key), entry)
    for key, value in arguments.items():
        arguments[key] = _convert(key, value, entry, keras_version)
    if kind == "BatchNormalization":
        axis = arguments.get("axis", -1)
        if isinstance(axis, list) and len(axis) == 1:
            axis = axis[0]
        if not isinstance(axis, int):
            raise checks.error(
                "batch normalisation in Keras 3 must be over one axis",
                given=f"axis={axis} in {config.get('name')!r}",
            )
        arguments["axis"] = axis
    if kind == "ZeroPadding2D" and len(arguments["padding"]) == 4:
        top, bottom, left, right = arguments["padding"]  # Keras 1
        arguments["padding"] = [[top, bottom], [left, right]]
    # None stands for the default: some layers have another one, and some take no `activity_regularizer` at all.
    omitted = ("_initializer", "activity_regularizer")
    arguments = {
        key: value
        for key, value in arguments.items()
        if not (value is None and key.endswith(omitted))
    }
    return _construct(cls, entry, **arguments)


def is_layer(value: dict) -> bool:
    """Returns whether a value stands for a layer, as the activation of another layer may."""
    return _kind({"config": {}, **value}) in _KNOWN


def _rename(config: dict, entry: dict, keras_version: int) -> dict:
    """Returns the arguments of a layer by their names in Keras 3."""
    kind = class_name(entry)
    if (
        kind == "Merge"
    ):  # in Keras 1 one layer for all ways to merge tensors, with the arguments of all
        axis = {"axis": config.get("concat_axis", -1)} if _kind(entry) == "Concatenate" else {}
        return {"name": config.get("name"), **axis}
    names = {**_ARGUMENTS, **_ARGUMENTS_OF.get(kind, {})} if keras_version < 3 else {}
    arguments = {names.get(key, key): value for key, value in config.items() if key not in _SIDES}
    sides = [config[side] for side in _SIDES if side in config]
    if sides:
        arguments["kernel_size"] = sides
    return arguments


def _check_harmless(key: str, value: Any, entry: dict) -> None:
    """Raises an error for an argument that Keras 3 does not take, unless leaving it out changes nothing."""
    harmless = _DROPPED.get(key, ())
    if harmless is ... or any(value == one and type(value) is type(one) for one in harmless):
        return
    raise checks.error(
        f"what {class_name(entry)} {entry['config'].get('name')!r} does must exist in Keras 3",
        given=f"{key}={value!r}",
        fix=REBUILD,
    )


def _convert(key: str, value: Any, entry: dict, keras_version: int) -> Any:
    """Returns an argument as Keras 3 takes it."""
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


def _construct(
    cls: Callable[..., keras.layers.Layer], entry: dict, /, *positional: object, **arguments: object
) -> keras.layers.Layer:
    try:
        return cls(*positional, **arguments)
    except REFUSALS as refused:
        name = entry["config"].get("name")
        raise checks.error(
            "every layer of a model file must be one that Keras 3 can make",
            given=f"{class_name(entry)} {name!r} ({checks.first_line(refused)})",
        ) from refused
