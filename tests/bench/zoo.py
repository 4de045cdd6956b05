"""What every semantic network costs: parameters, multiply-accumulates, and the time of the exported model on a CPU.

    python tests/bench/zoo.py [NAME ...] [--imgsz 480x480] [--threads 2] [--repeats 10] [--markdown]

Without names all of them, which takes long: most of it is exporting. Weights are random, which speed does not depend
on; 19 classes. Parameters are those that the main output is made from, in millions; GMAC are the multiply-accumulates
of convolutions and matrix products, in billions. `ms` is the time of ONNX Runtime from an image to its labels, the
least of several runs, of three for a network above 100 GMAC. Sides become the next multiples of what a network needs.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import torch
from semantic import CLASSES, make_network, noise_frame
from stopwatch import least_ms
from torch.utils.flop_counter import FlopCounterMode

from solo_rt.engine import open_engine
from solo_rt.preprocess import prepare
from solo_rt.spec import Provenance
from solo_rt.train.export.onnx_file import write_graph
from solo_rt.train.export.semantic import semantic_graph
from solo_rt.train.models import BUILDERS, build_model, solo, solov2

NAMES = [name for name in BUILDERS if name not in solo.BUILDERS and name not in solov2.BUILDERS]
COLUMNS = ("model", "parameters, M", "GMAC", "ms")
LARGE = 100.0  # GMAC
REPEATS_OF_LARGE = 3


class Cost(NamedTuple):
    """A row of the table."""

    name: str
    parameters: float  # millions
    gmacs: float
    ms: float

    def cells(self) -> tuple[str, ...]:
        return self.name, f"{self.parameters:.2f}", f"{self.gmacs:.2f}", f"{self.ms:.1f}"


def count(name: str, size: tuple[int, int]) -> tuple[float, float]:
    """Return the parameters that the main output depends on, in millions, and the GMAC for one picture."""
    with torch.device("meta"):
        model = build_model(name, len(CLASSES)).eval()
        with FlopCounterMode(display=False) as counter:
            out = model(torch.empty(1, 3, *size)).out
    out.sum().backward()
    return sum(p.numel() for p in model.parameters() if p.grad is not None) / 1e6, counter.get_total_flops() / 2e9


def measure(name: str, size: tuple[int, int], folder: Path, *, threads: int, repeats: int) -> Cost:
    """Return what the network costs at the size."""
    graph = semantic_graph(make_network(name), name, CLASSES, Provenance(), imgsz=size, batch=1)
    padded = graph.spec.input.height, graph.spec.input.width
    parameters, gmacs = count(name, padded)
    path = folder / f"{name}.onnx"
    write_graph(graph, path)
    with closing(open_engine(path, backend="onnxruntime", device="cpu", threads=threads)) as engine:
        image, _ = prepare(noise_frame(padded), engine.spec.input)
        repeats = min(repeats, REPEATS_OF_LARGE) if gmacs > LARGE else repeats
        ms = least_ms(lambda: engine.infer({engine.spec.input.name: image}), repeats)
    path.unlink()
    return Cost(name, parameters, gmacs, ms)


def line(cells: tuple[str, ...], *, markdown: bool) -> str:
    """Return a row of the table, the first column to the left and the others to the right."""
    if markdown:
        return f"| {' | '.join(cells)} |"
    first, *others = cells
    return f"{first:28s}{''.join(f'{cell:>15s}' for cell in others)}"


def main() -> None:
    """Print the table, each row as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--imgsz", default="480x480", metavar="HEIGHTxWIDTH")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--markdown", action="store_true", help="a table for docs/semantic.md")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in NAMES]:
        parser.error(f"no semantic network {', '.join(unknown)}; choose from {', '.join(NAMES)}")
    height, width = options.imgsz.split("x")
    size = int(height), int(width)
    print(line(COLUMNS, markdown=options.markdown))
    if options.markdown:
        print(line(("---", "---:", "---:", "---:"), markdown=True))
    with tempfile.TemporaryDirectory() as folder:
        for name in options.names or NAMES:
            cost = measure(name, size, Path(folder), threads=options.threads, repeats=options.repeats)
            print(line(cost.cells(), markdown=options.markdown), flush=True)


if __name__ == "__main__":
    main()
