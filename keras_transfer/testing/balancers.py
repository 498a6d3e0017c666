"""The contract of a balancer."""

import functools
from typing import Any

import numpy as np

import keras_transfer as kt
from keras_transfer.testing.running import rebuild, require, run

__all__ = ["check_balancer"]

Balancer = kt.balancing.Balancer
State = dict[str, Any]  # arrays or tensors by name: scalars, (tasks,) or (tasks, tasks)


def check_balancer(balancer: Balancer, tasks: int = 3) -> None:
    """Checks a balancer that treats all tasks alike: unknown tasks, scale, order, graph mode, its config.

    Args:
        balancer: Of either kind.
        tasks: How many it is tried with, at least 2.

    Raises:
        AssertionError: If it breaks the contract.

    Example:
        >>> check_balancer(kt.balancing.Uncertainty(rate=0.1))
    """
    checks = (
        config_makes_the_balancer_again,
        answers_one_finite_float32_a_task,
        state_keeps_its_form,
        unknown_tasks_have_no_say,
        nothing_known_changes_nothing,
        non_finite_losses_do_not_enter_the_state,
        a_task_alone_gets_1,
        a_common_scale_of_gradients_changes_nothing,
        other_order_same_answers,
        graphs_answer_as_eager_and_are_traced_once,
    )
    run(checks, Steps(balancer), tasks)


class Steps:
    """The step of a balancer as a function that is traced once for each number of tasks: a hundred are run."""

    def __init__(self, balancer: Balancer) -> None:
        import tensorflow as tf

        self.balancer = balancer
        # As in Keras's training steps, Python's `if` on tensors is an error.
        self.function = tf.function(functools.partial(call, balancer), autograph=False)
        self._later_states: dict[int, State] = {}

    def __call__(
        self, gram: Any, losses: Any, known: Any, state: State
    ) -> tuple[np.ndarray, State]:
        """Returns weights and new state as NumPy arrays."""
        weights, new_state = self.function(gram, losses, known, state)
        return np.array(weights), {name: np.array(value) for name, value in new_state.items()}

    def make_later_state(self, tasks: int) -> State:
        """Returns the state after some steps, when it differs from the initial one."""
        if tasks not in self._later_states:
            state: State = self.balancer.initial(tasks)
            for seed in range(1, 5):
                _, state = self(*make_problem(tasks, seed), np.ones(tasks, bool), state)
            self._later_states[tasks] = state
        return self._later_states[tasks]


def config_makes_the_balancer_again(steps: Steps, tasks: int) -> None:
    """Checks that the config gives a balancer of the same class, config and weights."""
    balancer = steps.balancer
    again = rebuild(balancer)
    same = type(again) is type(balancer) and again.get_config() == balancer.get_config()
    require(same, f"{again.get_config()}")

    arguments = (*make_problem(tasks), np.ones(tasks, bool), balancer.initial(tasks))
    expected, _ = call(balancer, *arguments)
    weights, _ = call(again, *arguments)
    np.testing.assert_array_equal(np.array(weights), np.array(expected))


def answers_one_finite_float32_a_task(steps: Steps, tasks: int) -> None:
    """Checks shape, dtype and finiteness of the weights, for small, usual and large losses."""
    for scale in (1e-3, 1.0, 1e3):
        gram, losses = make_problem(tasks)
        known = np.ones(tasks, bool)
        weights, _ = steps(gram, scale * losses, known, steps.balancer.initial(tasks))
        form = weights.shape == (tasks,) and weights.dtype == "float32"
        require(form, f"{weights.dtype} of shape {weights.shape}")
        require(np.isfinite(weights).all(), f"{weights}")


def state_keeps_its_form(steps: Steps, tasks: int) -> None:
    """Checks that the state keeps its names, shapes and dtypes, and has one or two axes of tasks at most."""
    before, after = steps.balancer.initial(tasks), steps.make_later_state(tasks)
    form = {name: (value.shape, value.dtype) for name, value in before.items()}
    require(form == {name: (value.shape, value.dtype) for name, value in after.items()}, f"{form}")
    of_tasks = all(set(shape) <= {tasks} and len(shape) <= 2 for shape, _ in form.values())
    require(of_tasks, f"{form}")


def unknown_tasks_have_no_say(steps: Steps, tasks: int) -> None:
    """Checks that known tasks get what they would get without the unknown ones, whatever stands in those places."""
    state = steps.make_later_state(tasks)
    for known in make_subsets(tasks):
        at = np.flatnonzero(known)
        gram, losses = make_problem(tasks)
        expected, expected_state = steps(
            gram[np.ix_(at, at)], losses[at], np.ones(len(at), bool), select(state, at)
        )
        for nothing in (0.0, np.nan, np.inf, 1e30):
            gram[~known], gram[:, ~known], losses[~known] = nothing, nothing, nothing
            weights, new_state = steps(gram, losses, known, state)
            beside = f"beside unknown tasks with {nothing}"

            require_close(weights[known], expected, beside)
            require(not weights[~known].any(), f"unknown tasks get {weights[~known]}, not 0")
            for name, value in select(new_state, at).items():
                require_close(value, expected_state[name], f"state {name!r} {beside}")
            require_unknown_state_stays(state, new_state, known)


def require_unknown_state_stays(before: State, after: State, known: np.ndarray) -> None:
    """Raises an `AssertionError` if state that does not belong to known tasks alone has changed."""
    for name, value in after.items():
        if value.ndim:
            of_known = np.ix_(*[known] * value.ndim)
            value[of_known] = before[name][of_known]
            np.testing.assert_array_equal(value, before[name], f"state {name!r} of unknown tasks")


def nothing_known_changes_nothing(steps: Steps, tasks: int) -> None:
    """Checks that a batch without any label gives weights of 0 and leaves all state."""
    state = steps.make_later_state(tasks)
    gram, losses = np.full((tasks, tasks), np.nan, "float32"), np.full(tasks, np.nan, "float32")
    weights, new_state = steps(gram, losses, np.zeros(tasks, bool), state)
    require(not weights.any(), f"{weights}")
    for name, value in new_state.items():
        np.testing.assert_array_equal(value, state[name], f"state {name!r}")


def non_finite_losses_do_not_enter_the_state(steps: Steps, tasks: int) -> None:
    """Checks that weights and state stay finite when a task's loss and gradient are not."""
    state = steps.make_later_state(tasks)
    gram, losses = make_problem(tasks)
    gram[0], gram[:, 0], losses[0] = np.inf, np.inf, np.nan
    weights, new_state = steps(gram, losses, np.ones(tasks, bool), state)
    require(np.isfinite(weights).all(), f"{weights}")
    require(all(np.isfinite(value).all() for value in new_state.values()), f"{new_state}")


def a_task_alone_gets_1(steps: Steps, tasks: int) -> None:
    """Checks that the only known task gets weight 1, unless the balancer has a scale of its own."""
    if steps.balancer.own_scale:
        return
    for known in np.eye(tasks, dtype=bool):
        state = steps.make_later_state(tasks)
        weights, _ = steps(*make_problem(tasks), known, state)
        require_close(weights, known, "one task alone")


def a_common_scale_of_gradients_changes_nothing(steps: Steps, tasks: int) -> None:
    """Checks that multiplying all gradients by one number changes neither weights nor state."""
    state = steps.make_later_state(tasks)
    gram, losses = make_problem(tasks)
    known = np.ones(tasks, bool)
    expected, expected_state = steps(gram, losses, known, state)
    for scale in (2.0**-10, 3.0, 2.0**15):
        scaled = (gram * scale**2).astype("float32")
        weights, new_state = steps(scaled, losses, known, state)
        require_close(weights, expected, f"gradients times {scale:g}")
        for name, value in new_state.items():
            require_close(value, expected_state[name], f"state {name!r}, gradients times {scale:g}")


def other_order_same_answers(steps: Steps, tasks: int) -> None:
    """Checks that another order of the tasks gives the same weights in that order."""
    state = steps.make_later_state(tasks)
    if "step" in state:  # the balancer draws random numbers by place
        return
    gram, losses = make_problem(tasks)
    known = np.ones(tasks, bool)
    order = np.roll(np.arange(tasks), 1)
    expected, _ = steps(gram, losses, known, state)
    weights, _ = steps(gram[np.ix_(order, order)], losses[order], known, select(state, order))
    require_close(weights, expected[order], f"order {order}")


def graphs_answer_as_eager_and_are_traced_once(steps: Steps, tasks: int) -> None:
    """Checks that a traced step, and one compiled by XLA, give the eager weights for any set of known tasks."""
    import tensorflow as tf

    subsets = [np.ones(tasks, bool), *make_subsets(tasks)]
    problems = [(*make_problem(tasks, seed), known) for seed, known in enumerate(subsets)]
    expected, eager_state = [], steps.balancer.initial(tasks)
    for problem in problems:
        weights, eager_state = call(steps.balancer, *problem, eager_state)
        expected.append(np.array(weights))

    step = functools.partial(call, steps.balancer)
    compiled = tf.function(step, autograph=False, jit_compile=True)
    traced_before = steps.function.experimental_get_tracing_count()
    for name, function in {"traced": steps.function, "compiled": compiled}.items():
        state = steps.balancer.initial(tasks)
        for number, problem in enumerate(problems):
            weights, state = function(*problem, state)
            require_close(weights, expected[number], f"{name}, step {number}")
    traces = steps.function.experimental_get_tracing_count() - traced_before
    require(traces == 0, f"{traces} traces more for {tasks} tasks")
    traces = compiled.experimental_get_tracing_count()
    require(traces == 1, f"{traces} traces")


def make_problem(tasks: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns inner products of random gradients of different lengths, and random losses."""
    rng = np.random.default_rng(seed)
    gradients = rng.normal(size=(tasks, tasks + 1)) * rng.uniform(0.3, 3.0, (tasks, 1))
    losses = rng.uniform(0.3, 3.0, tasks)
    return (gradients @ gradients.T).astype("float32"), losses.astype("float32")


def make_subsets(tasks: int) -> list[np.ndarray]:
    """Returns masks of known tasks: each alone, and all but each."""
    alone = np.eye(tasks, dtype=bool)
    return [*alone, *~alone]


def select(state: State, at: np.ndarray) -> State:
    """Returns the state of some tasks, in the order of `at`."""
    return {
        name: value[np.ix_(*[at] * value.ndim)] if value.ndim else value
        for name, value in state.items()
    }


def call(balancer: Balancer, gram: Any, losses: Any, known: Any, state: State) -> tuple[Any, State]:
    """Calls the method that the balancer's kind has."""
    if balancer.kind == "losses":
        return balancer.weights(losses, known, state)
    return balancer.coefficients(gram, losses, known, state)


def require_close(values: Any, expected: Any, message: str) -> None:
    """Raises an `AssertionError` with `message` if the values differ by more than rounding."""
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5, err_msg=message)
