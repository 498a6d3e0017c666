"""Who may import what. A new arrow is a decision: change the table and say why in the commit."""

import ast
import pathlib

import keras_transfer

ROOT = pathlib.Path(keras_transfer.__file__).parent
# `layers` leaves marks in a model (where an answer comes out and which task it belongs to, where the trunk ends), and
# `features`, `training`, `evaluation` and `serving` read them: none has to know a task or a backbone by name. They ask
# the task that they find. `evaluation` imports `tasks` for models without marks: the first kind that fits measures.
# A task reads labels as `data.targets` does.
# `pages` has the parts of HTML pages, and paints boxes, masks and depths on pictures: a task writes its section of a
# report with it, and `data` draws sheets of examples.
# `machine` says which engine runs; only its `engine` asks Keras.
# `evaluation` draws maps of what `features` computes, and compares blocks by it.
# An export of `serving` may answer with maps that `evaluation` makes.
# `balancing` is arithmetic on a few numbers a task: `models` finds a balancer by its name, and a layer that is given
# one keeps its state.
# `optimizers` holds the classes that `training` chooses and that `models` must know to load a trained model.
# `training` changes pictures at random by what `data` has: augmentation is part of a recipe and lives in the data.
# `studies` builds, trains and measures as a user does.
GROUND = {"core", "graphs", "storage", "machine"}
ALLOWED = {
    "core": set(),
    "graphs": {"core", "machine"},
    "storage": {"core", "machine"},
    "machine": {"core"},
    "balancing": {"core", "machine"},
    "layers": GROUND,
    "losses": {"core"},
    "metrics": {"core"},
    "optimizers": {"core"},
    "data": {"core", "storage", "machine", "pages"},
    "backbones": {*GROUND, "layers"},
    "pages": {"core", "storage"},
    "tasks": {*GROUND, "data", "layers", "losses", "metrics", "pages"},
    "models": {*GROUND, "balancing", "layers", "losses", "optimizers", "backbones", "tasks"},
    "features": {*GROUND, "data", "layers"},
    "training": {*GROUND, "layers", "losses", "optimizers", "features", "data"},
    "evaluation": {*GROUND, "data", "features", "layers", "metrics", "pages", "tasks"},
    "serving": {*GROUND, "data", "evaluation", "layers"},
    "studies": {
        *GROUND,
        "balancing",
        "data",
        "backbones",
        "features",
        "layers",
        "tasks",
        "models",
        "training",
        "evaluation",
        "pages",
    },
}
PUBLIC_ONLY = {"__main__", "cli", "testing"}
LIGHT = {
    "__init__",
    "cli",
}  # loaded before anything is needed: no keras, no tensorflow at module level


def modules():
    return sorted(ROOT.rglob("*.py"))


def room(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0]


def imported(tree):
    """Every module that a file imports, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(path):
    for name in imported(ast.parse(path.read_text())):
        if name.startswith("keras_transfer."):
            yield name.split(".")[1:]


def test_every_room_has_a_row():
    assert {room(path) for path in modules()} - PUBLIC_ONLY - {"__init__"} <= set(ALLOWED)


def test_rooms_import_only_what_the_table_allows():
    wrong = [
        f"{path.relative_to(ROOT)} imports {target[0]}"
        for path in modules()
        if room(path) in ALLOWED
        for target in own_imports(path)
        if target[0] != room(path) and target[0] not in ALLOWED[room(path)]
    ]
    assert wrong == []


def test_other_rooms_use_public_names_only():
    """`testing` and `cli` see the rooms as a user does; `core` and `storage` serve everybody."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {'.'.join(target)}"
        for path in modules()
        if room(path) in PUBLIC_ONLY
        for target in own_imports(path)
        if len(target) > 1 and target[0] not in {"cli", "core", "graphs", "storage", "testing"}
    ]
    assert wrong == []


def test_modules_are_imported_by_name_only_where_they_are_loaded_late():
    """An arrow must be one that the tests above can read."""
    late = {"__init__.py", "cli/main.py", "core/optional.py"}
    using = set()
    for path in modules():
        tree = ast.parse(path.read_text())
        names = {name.split(".")[0] for name in imported(tree)}
        names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        if names & {"importlib", "__import__"}:
            using.add(path.relative_to(ROOT).as_posix())
    assert using == late


def test_only_the_engine_asks_which_backend_runs():
    asking = set()
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node).endswith("backend.backend"):
                asking.add(path.relative_to(ROOT).as_posix())
    assert asking == {"machine/engine.py"}


def test_the_table_has_no_cycle():
    remaining = dict(ALLOWED)
    while remaining:
        free = [name for name, uses in remaining.items() if not uses & set(remaining)]
        assert free, f"a cycle among {sorted(remaining)}"
        for name in free:
            del remaining[name]


def test_light_modules_import_nothing_heavy_at_module_level():
    heavy = {"keras", "tensorflow", "numpy", "sklearn", "matplotlib"}
    for path in modules():
        if room(path) not in LIGHT:
            continue
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & heavy, path


def test_no_folder_is_deeper_than_two():
    assert all(len(path.relative_to(ROOT).parts) <= 3 for path in modules())
