import numpy as np

from keras_transfer import balancing


def test_imtl_g_projects_equally_onto_all(vectors, found):
    positive = 0
    for each in vectors:
        answer, _ = found(balancing.IMTLG(), each)
        units = each / np.linalg.norm(each, axis=1, keepdims=True)
        projections = units @ (answer @ each)
        np.testing.assert_allclose(projections, np.full(len(each), projections.mean()), rtol=1e-3)
        assert projections.mean() > 0
        exact = np.linalg.solve(units @ units.T, np.ones(len(each))) / np.linalg.norm(each, axis=1)
        if exact.sum() > 0.1 * np.abs(exact).sum():
            positive += 1
            np.testing.assert_allclose(answer.sum(), len(each), rtol=1e-4)
    assert positive >= len(vectors) / 2


def test_imtl_g_does_not_turn_round(found):
    """The closed form's coefficients sum to a negative number here: divided by it, all losses would rise."""
    units = np.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.8, 0.5, np.sqrt(0.11)]])
    lengths = np.array([1.0, 1.0, 0.01])
    assert (np.linalg.solve(units @ units.T, np.ones(3)) / lengths).sum() < 0
    vectors = units * lengths[:, None]
    answer, _ = found(balancing.IMTLG(), vectors)
    assert (vectors @ (answer @ vectors) > 0).all()


def test_aligned_gradients_have_condition_number_1(vectors, found):
    """The new gradients are B g with B B^T = min l * G^-1 and coefficients B^T 1; by singular values."""
    for each in vectors:
        left, singular, right = np.linalg.svd(each, full_matrices=False)
        aligned = singular.min() * left @ right
        np.testing.assert_allclose(np.linalg.cond(aligned), 1, rtol=1e-9)
        answer, _ = found(balancing.AlignedMTL(), each)
        np.testing.assert_allclose(
            answer @ each, aligned.sum(axis=0), rtol=1e-2, atol=1e-3 * singular.max()
        )


def test_aligned_leaves_out_what_is_no_component(found):
    """Parallel gradients have one component, sqrt(5) long; (1, 2) / sqrt(5) says how much of it each one has."""
    answer, _ = found(balancing.AlignedMTL(), np.array([[1.0, 0.0], [2.0, 0.0]]))
    np.testing.assert_allclose(answer @ [1.0, 2.0], 3.0, rtol=1e-5)


def test_db_mtl_makes_all_as_long_as_the_longest(vectors, found):
    for each in vectors:
        answer, _ = found(balancing.DBMTL(), each)
        lengths = np.linalg.norm(each, axis=1)
        np.testing.assert_allclose(answer * lengths, np.full(len(each), lengths.max()), rtol=1e-5)
