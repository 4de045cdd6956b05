"""What is loaded to compute leaves no traces and calls nobody."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TINY = Path(__file__).parent / "data" / "tiny.onnx"
RUN = """
import sys
calls = []
sys.addaudithook(lambda event, _: calls.append(event) if event.startswith("socket.") else None)
{body}
sys.exit(f"sockets: {{calls}}" if calls else 0)
"""
COMMAND = """
from solo_rt.cli import main
try:
    main(["run", "--source", "test://?frames=3&size=64x48", "--model", {model!r}, "--backend", {backend!r},
          "--output", "null://"])
except SystemExit as left:
    assert not left.code, left
"""
BODIES = {
    "onnxruntime": COMMAND.format(model=str(TINY), backend="onnxruntime"),
    "openvino": COMMAND.format(model=str(TINY), backend="openvino"),
    "the quantiser": "import solo_rt.builder.quantise",
    "the exporter": "import solo_rt.train.export.graph",
    "the doctor": "from solo_rt.doctor import examine; list(examine())",
}


def can_trace() -> bool:
    return shutil.which("strace") is not None and subprocess.run(["strace", "-qq", "true"], check=False).returncode == 0


@pytest.mark.parametrize("what", BODIES)
def test_no_trace_is_left_and_no_socket_opened(tmp_path: Path, what: str) -> None:
    if importlib.util.find_spec("openvino") is None and what == "openvino":
        pytest.skip("openvino is not installed")
    places = {name: str(tmp_path) for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    environment = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "CI")}
    log = tmp_path.with_name(f"{tmp_path.name}.strace")
    strace = ["strace", "-f", "-qq", "-e", "trace=socket", "-o", str(log)] if can_trace() else []
    done = subprocess.run(
        [*strace, sys.executable, "-c", RUN.format(body=BODIES[what])],
        capture_output=True,
        text=True,
        timeout=120,
        env={**environment, **places},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [str(path) for path in tmp_path.rglob("*") if path.is_file()] == []
    assert not strace or "AF_INET" not in log.read_text()
