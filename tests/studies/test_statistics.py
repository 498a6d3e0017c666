import numpy as np
import pytest

from keras_transfer.studies import statistics


def test_the_interval_is_students():
    """Mean 2, standard error 1, and the 97.5 % quantile of one degree of freedom, 12.706."""
    np.testing.assert_allclose(
        statistics.interval(np.array([1.0, 3.0])), [2 - 12.7062, 2 + 12.7062], rtol=1e-4
    )
    assert statistics.interval(np.array([1.0])) is None


@pytest.mark.parametrize(
    ("gains", "level", "verdict"),
    [
        ([1.0, 1.1, 0.9], 0.95, "positive"),
        ([-1.0, -1.1, -0.9], 0.95, "negative"),
        ([1.0, -1.1, 0.9], 0.95, "neutral"),
        ([1.0], 0.95, "one seed tells nothing"),
        ([0.3, 0.1 + 0.2, 0.3], 0.95, "equal seeds tell nothing"),
        ([0.0, 0.0], 0.95, "neutral"),
        ([1.0, 1.1, 0.9], None, "not judged"),
    ],
)
def test_verdicts(gains, level, verdict):
    found = statistics.judge(np.array(gains), level=level)
    assert found["verdict"] == verdict
    assert (found["interval"] is not None) == (verdict in ("positive", "negative", "neutral"))


def test_the_mean_of_tables_leaves_out_what_is_not_known():
    tables = [[[1.0, None], [None, 2.0]], None, [[3.0, None], [4.0, 4.0]]]
    assert statistics.mean_table(tables) == [[2.0, None], [4.0, 3.0]]
    assert statistics.mean_table([None, None]) is None
