"""Replicas of a distributed training step: how many there are, and sums over them."""

import tensorflow as tf  # keras.ops has no verb for replicas

__all__ = ["count_replicas", "sum_over_replicas"]


def count_replicas() -> int:
    """Returns how many replicas the current strategy has; 1 without a strategy."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def sum_over_replicas(value: object) -> object:
    """Returns the sum of `value` over the replicas of a training step; `value` itself where there is only one."""
    if count_replicas() == 1:
        return value
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)
