"""A module imports only from its own layer and those below; nothing at run time imports the training code."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent / "solo_rt"
LAYERS = [
    {"errors", "_native"},
    {"types", "uri", "colour", "timing", "channel"},
    {"decoders"},
    {"spec"},
    {"lettering", "legend", "preprocess", "decode", "track", "render"},
    {"source", "sink", "engine", "nvcodec"},
    {"stages", "workers", "report", "paths", "pipeline", "model_card", "evaluate", "build_engine", "bench"},
    {"interrupts", "progress", "doctor", "tables", "cli_options", "commands", "cli", "__main__"},
]
LAYER = {module: number for number, modules in enumerate(LAYERS) for module in modules}
FILES = sorted(path for path in ROOT.rglob("*.py") if path.relative_to(ROOT).parts[0] not in ("train", "engines"))


def noun(path: Path) -> str:
    """Return the module or package directly below solo_rt that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Return the nouns a file imports from solo_rt, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "solo_rt":
                names |= {alias.name for alias in node.names} - {"__version__"}
            elif node.module and node.module.startswith("solo_rt."):
                names.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("solo_rt.")}
    return names


@pytest.mark.parametrize(
    "path", [p for p in FILES if p != ROOT / "__init__.py"], ids=lambda p: str(p.relative_to(ROOT))
)
def test_module_imports_only_from_its_layer_and_below(path):
    module = noun(path)
    assert module in LAYER, f"{module} has no layer: add it to LAYERS"
    upwards = {name for name in imported(path) - {"train"} if LAYER[name] > LAYER[module]}
    assert not upwards, f"{module} imports {upwards} from above"
    assert "train" not in imported(path) or module in TRAINS, f"{module} imports the training code"


# What may import training code: commands, the procedural world as a source, data sets, checkpoints as engines.
TRAINS = {"build_engine", "commands", "engine", "evaluate", "source"}


def test_importing_the_package_loads_nothing_heavy():
    program = "import sys, solo_rt; print(sorted({m.split('.')[0] for m in sys.modules} & set(sys.argv[1:])))"
    heavy = ["torch", "cv2", "av", "onnxruntime", "numpy", "click", "rich", "onnx"]
    done = subprocess.run(
        [sys.executable, "-c", program, *heavy], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_running_never_loads_torch():
    program = "import sys, solo_rt.cli, solo_rt.pipeline; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"


def test_every_public_name_can_be_imported():
    import solo_rt

    for name in solo_rt.__all__:
        assert getattr(solo_rt, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = solo_rt.nothing
