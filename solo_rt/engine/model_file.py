"""Model files: shipped ones by name, others by path, and the spec that an ONNX file holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from solo_rt import defaults
from solo_rt.engine.onnx_file import read_metadata
from solo_rt.errors import SpecError, UsageError
from solo_rt.files import replace_file
from solo_rt.spec import METADATA_KEY, ModelSpec
from solo_rt.uri import expand_home

INT8_SUFFIX = ".int8.onnx"  # of what ships beside a model
FOREIGN = (".pth", ".pkl", ".ckpt", ".bin", ".safetensors", ".tar")  # what others call files of weights


class OnnxModel(NamedTuple):
    """An ONNX file and what it says of itself, read once."""

    path: Path
    spec: ModelSpec


def find_model(model: str | Path | None = None) -> Path:
    """Return the path of a model file, given as such or by the name of a shipped one. Raises: UsageError."""
    shipped = shipped_models()
    if model == "":
        raise UsageError(f"expected a model file or the name of a model ({', '.join(sorted(shipped))}), got nothing")
    if model is None or (isinstance(model, str) and not {"/", "\\", "."} & set(model) and not Path(model).is_file()):
        name = model or defaults.MODEL
        if name not in shipped:
            known = ", ".join(sorted(shipped)) or "none"
            raise UsageError(
                f"no model named {name} ships with solo-rt (there are: {known}); give a path to an .onnx file"
            )
        return shipped[name]
    path = Path(expand_home(str(model)))
    if not path.is_file():
        raise UsageError(f"{path}: no such model file")
    if path.suffix not in (".onnx", ".engine", ".pt"):
        hint = "; turn weights of others into a .pt with solo-rt import-weights" if path.suffix in FOREIGN else ""
        raise UsageError(
            f"{path}: expected an .onnx file written by solo-rt export, an .engine or a .pt, got "
            f"{path.suffix or 'no extension'}{hint}"
        )
    return path


def shipped_models() -> dict[str, Path]:
    """Return the models of the package `solo_rt.engines`, path by name; empty in a checkout that is not installed."""
    package = find_spec("solo_rt.engines")
    folders = (package and package.submodule_search_locations) or []
    paths = (path for folder in folders for path in Path(folder).iterdir())
    return {path.stem: path for path in paths if path.suffix == ".onnx" and "." not in path.stem}


def int8_of(model: OnnxModel) -> OnnxModel | None:
    """Return the file that holds a model in INT8: itself, or what ships beside it; None where there is none."""
    if model.spec.is_int8:
        return model
    beside = model.path.with_suffix(INT8_SUFFIX)
    return read_model(beside) if model.path in shipped_models().values() and beside.is_file() else None


def read_model(path: Path) -> OnnxModel:
    """Return an ONNX file with the spec inside. Raises: UsageError, SpecError."""
    return OnnxModel(path, read_spec(path))


def read_spec(path: Path) -> ModelSpec:
    """Return the spec inside an ONNX file. Raises: UsageError, SpecError."""
    text = read_metadata(path).get(METADATA_KEY)
    if text is None:
        raise SpecError(f"{path}: expected metadata {METADATA_KEY!r}, found none; make the file with solo-rt export")
    try:
        return ModelSpec.from_json(text)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error


def write_spec(path: Path, spec: ModelSpec) -> None:
    """Put `spec` into the ONNX file at `path`, replacing the one it has, whole or not at all; needs onnx."""
    import onnx

    model = onnx.load(path)
    kept = {entry.key: entry.value for entry in model.metadata_props} | {METADATA_KEY: spec.to_json()}
    onnx.helper.set_model_props(model, kept)
    replace_file(path, model.SerializeToString())


def record_metrics(path: Path, spec: ModelSpec, metrics: Mapping[str, float]) -> None:
    """Add `metrics` to the provenance of the ONNX file at `path`, whose spec is `spec`."""
    merged = {**spec.provenance.metrics, **metrics}
    write_spec(path, replace(spec, provenance=replace(spec.provenance, metrics=merged)))


def record_costs(path: Path, spec: ModelSpec, costs: Mapping[str, float]) -> None:
    """Note in the ONNX file at `path`, whose spec is `spec`, what precisions cost: see `ModelSpec.costs`."""
    write_spec(path, replace(spec, costs={**spec.costs, **costs}))
