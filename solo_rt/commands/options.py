"""What several commands of the command line share."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import click

from solo_rt import defaults
from solo_rt.commands.config import Configured
from solo_rt.cpu import sleeping_threads
from solo_rt.errors import UsageError

MOST_IN_BATCH = 256  # pictures that a model takes at once: more would only take memory

log = logging.getLogger("solo_rt")

model_option = click.option(
    "--model", metavar="NAME|FILE", help=f"Shipped model, .onnx, .engine or .pt file.  [default: {defaults.MODEL}]"
)
device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    help="cpu, cuda or cuda:N; auto is a GPU where the backend can use one.",
)
backend_option = click.option(
    "--backend",
    default="auto",
    show_default=True,
    help="onnxruntime, openvino, tensorrt or torch; auto goes by the file, for ONNX by speed.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
precision_option = click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "int8"]),
    default="auto",
    show_default=True,
    help="Of an ONNX file: auto is the fastest that costs this model nothing.",
)
trust_option = click.option("--trust", is_flag=True, help="Open a TensorRT engine that was not built on this machine.")
threads_option = click.option(
    "--threads", type=int, help="Threads of the inference engine.  [default: by the number of cores]"
)


def _set_level(_context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    log.setLevel(logging.DEBUG if value else logging.WARNING)


SHARED = (
    click.Option(
        ["-v", "--verbose"], is_flag=True, expose_value=False, callback=_set_level, help="Log details; show tracebacks."
    ),
    click.Option(
        ["--log-format"],
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        expose_value=False,
        help="Of what is said on stderr: lines, or objects.",
    ),
    click.Option(["--config"], metavar="FILE", expose_value=False, help="Take options from a TOML file."),
    click.Option(["--print-config"], is_flag=True, expose_value=False, help="Print the options as such a file."),
)


def command(name: str | None = None, *, show_default: bool = False) -> Callable[[Callable[..., int]], Configured]:
    """Return a decorator that makes a command of a function, with the options that all have."""

    def make(function: Callable[..., int]) -> Configured:
        settings = {"show_default": show_default}
        made = click.command(name, cls=Configured, context_settings=settings)(function)
        made.params += SHARED
        return made

    return make


def print_json(record: object) -> None:
    """Print a result on stdout; bytes of file names that are no UTF-8 stay escaped, as `\\udce9`."""
    click.echo(json.dumps(record, ensure_ascii=False).encode(errors="backslashreplace"))


def require_torch(command: str) -> None:
    """Load PyTorch, whose idle threads sleep. Raises: UsageError where the training extra is not installed."""
    from importlib.util import find_spec

    missing = [name for name in ("torch", "onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise UsageError(f"{command} needs {', '.join(missing)}; install them with pip install 'solo-rt[train]'")
    with sleeping_threads():
        import torch  # noqa: F401


def require_onnx(command: str) -> None:
    """Raise UsageError where onnx is not installed."""
    from importlib.util import find_spec

    if find_spec("onnx") is None:
        raise UsageError(f"{command} needs onnx; install it with pip install onnx")


def check_writable(path: Path, *, overwrite: bool) -> None:
    """Raise UsageError, before the work, where its result could not be written, or would replace another file."""
    if not path.parent.is_dir():
        raise UsageError(f"cannot write {path}: there is no folder {path.parent}")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise UsageError(f"cannot write {path}: it is a folder, or in one that cannot be written; choose another place")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} is there already; choose another file, or --overwrite it")
