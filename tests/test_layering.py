"""The floor plan: every file imports from its own room and from the floors below it, and nowhere in a circle.

Imports inside functions and under TYPE_CHECKING count like any other: they are arrows all the same.
"""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
# From the ground up. A room is a module or a package with all that is in it; rooms of one floor do not know each other.
FLOORS = [
    {"errors", "_native", "defaults", "events", "cpu", "progress"},
    {"types", "device", "uri", "files", "documents", "world", "denormals"},
    {"decoders", "colour"},
    {"spec", "render"},
    {"preprocess", "result"},
    {"decode", "gpu"},
    {"source", "engine"},
    {"sink", "builder", "track"},
    {"pipeline", "train.seal", "train.torch_file", "train.recipe"},
    {"train.recipes", "train.distributed", "train.log", "train.curves", "train.models", "train.data"},
    {"train.checkpoint_fields", "train.forecast"},
    {"train.checkpoint", "train.losses", "train.optimiser", "train.settings", "train.evaluate"},
    {"train.export", "train.importing", "train.initial"},
    {"train.engine"},
    {"train.validation", "train.quantised"},
    {"train.task"},
    {"train.state"},
    {"train.beginning"},
    {"train.loop", "train.__main__"},
    {"doctor", "serve", "bench", "cluster"},
    {"commands"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# Where an arrow runs up all the same: a checkpoint is opened like any other model, and torchrun starts `solo-rt train`.
DOORS = {("engine", "train.engine.fast"), ("train.__main__", "cli")}


def sources() -> dict[str, Path]:
    """Return the files of the package by module name, without the leading solo_rt."""
    found = {}
    for top, prefix in ((PROJECT / "solo_rt", ()), (PROJECT / "train", ("train",))):
        for path in top.rglob("*.py"):
            parts = (*prefix, *path.relative_to(top).with_suffix("").parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


SOURCES = sources()


def arrows(path: Path) -> Iterator[str]:
    """Yield the modules of solo_rt that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names if (node.module or "").split(".")[0] == "solo_rt" else ():
                whole = f"{node.module}.{alias.name}".removeprefix("solo_rt.")
                base = node.module.removeprefix("solo_rt").removeprefix(".")
                yield whole if whole in SOURCES or not base else base
        elif isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("solo_rt.") for alias in node.names if alias.name[:8] == "solo_rt.")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("solo_rt.train."):
            yield node.value.removeprefix("solo_rt.")  # a name for importlib


def room_of(module: str) -> str:
    """Return the room a module is in."""
    rooms = [room for room in FLOOR if module == room or module.startswith(f"{room}.")]
    assert rooms, f"{module} has no floor: add it to FLOORS"
    return max(rooms, key=len)


ARROWS = {
    module: {target for target in arrows(path) if target not in ("__version__", "engines")}
    for module, path in SOURCES.items()
    if module not in ("", "train")  # the public names, imported when they are first used
}


@pytest.mark.parametrize("module", sorted(ARROWS))
def test_a_file_imports_from_its_room_and_the_floors_below(module):
    room = room_of(module)
    for target in ARROWS[module]:
        other = room_of(target)
        assert other == room or FLOOR[other] < FLOOR[room] or (module, target) in DOORS, (
            f"{module} (floor {FLOOR[room]}) imports {target} (floor {FLOOR[other]})"
        )


def test_no_files_import_each_other_in_a_circle():
    inside = {module: {t for t in targets if (module, t) not in DOORS} for module, targets in ARROWS.items()}
    try:
        TopologicalSorter(inside).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_every_door_is_used():
    assert {(module, target) for module, target in DOORS if target in ARROWS[module]} == DOORS


def loaded(names: list[str], modules: list[str]) -> str:
    """Return those of `names` that a new process has loaded once it has imported `modules`."""
    program = f"import sys, {', '.join(modules)}; print(sorted(set(sys.argv[1:]) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program, *names], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.strip()


def test_importing_the_package_loads_nothing_heavy():
    assert loaded(["torch", "cv2", "av", "onnxruntime", "numpy", "click", "rich", "onnx"], ["solo_rt"]) == "[]"


def test_the_command_line_starts_without_the_libraries_that_do_the_work():
    assert loaded(["torch", "cv2", "av", "onnxruntime", "numpy", "rich", "onnx"], ["solo_rt.cli"]) == "[]"


def test_a_run_starts_without_what_only_others_do():
    others = ["onnx", "pycocotools.coco", "solo_rt.train.evaluate", "solo_rt.doctor", "solo_rt.cluster", "fastapi"]
    others += ["rich", "importlib.metadata", "importlib.resources"]
    assert loaded(others, ["solo_rt.commands.local", "solo_rt.pipeline", "solo_rt.sink"]) == "[]"


def test_the_run_time_the_data_sets_and_the_evaluation_never_load_torch():
    # What makes batches of the data.
    tensors = {"base", "batches", "workers", "samples", "world_dataset"}
    tensors |= {"instances.placement", "instances.training", "semantic.training"}
    rooms = ("cli", "pipeline", "doctor", "gpu.", "world", "engine.onnxruntime", "engine.tensorrt", "train.evaluate")
    rooms += ("bench",)
    rivals = ("torch_graph", "torch_loop", "supervision_loop", "ultralytics_loop")  # in processes of their own
    tensors |= {f"bench.rivals.{name}" for name in rivals}
    inside = [
        m for m in SOURCES if m.startswith((*rooms, "train.data")) and m.removeprefix("train.data.") not in tensors
    ]
    assert loaded(["torch"], [f"solo_rt.{module}" for module in inside]) == "[]"


def test_opening_a_plan_needs_neither_onnx_nor_a_quantiser():
    assert loaded(["onnx"], ["solo_rt.engine.tensorrt", "solo_rt.engine.plan_cache"]) == "[]"


def test_every_public_name_can_be_imported():
    import solo_rt

    for name in solo_rt.__all__:
        assert getattr(solo_rt, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = solo_rt.nothing


@pytest.mark.parametrize("module", sorted(m for m, path in SOURCES.items() if m and "\n__all__ = " in path.read_text()))
def test_what_a_room_says_it_has_is_there(module):
    room = importlib.import_module(f"solo_rt.{module}")
    assert [name for name in room.__all__ if not hasattr(room, name)] == []
