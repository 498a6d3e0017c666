import tensorflow as tf

from keras_transfer.graphs import gradients


def test_values_pass_and_one_gradient_goes_on():
    x = tf.Variable([1.0, 2.0])
    seen = []

    def join(both):
        seen.extend(each.numpy().tolist() for each in both)
        return both[0] - both[1]

    with tf.GradientTape() as tape:
        one, other = gradients.fork(2 * x, 2, join)
        total = tf.reduce_sum(3 * one + 7 * other)
    assert one.numpy().tolist() == other.numpy().tolist() == [2, 4]
    assert tape.gradient(total, x).numpy().tolist() == [-8, -8]  # 2 * (3 - 7)
    assert seen == [[3, 3], [7, 7]]
