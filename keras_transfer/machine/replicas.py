"""Sums over the replicas of a distributed training step."""

import tensorflow as tf  # keras.ops has no verb for replicas

__all__ = ["sum_over_replicas"]


def sum_over_replicas(value: object) -> object:
    """Returns the sum of `value` over the replicas of a training step; `value` itself where there is only one."""
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return value
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)
