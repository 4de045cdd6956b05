"""What the PyTorch engine is measured against finds the same, and the benchmark runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from decode_cases import CASES
from gpus import HostGpu, emulated_kernels
from small import make_small

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

from eager import decode
from torch_engine import Bench

from solo_rt.decode import decode_reference
from solo_rt.preprocess import Letterbox
from solo_rt.train.models.solov2 import SoloV2


@pytest.mark.parametrize("case", [case for case in CASES if "linear" not in case and "slots" not in case])
def test_the_eager_loop_decodes_as_the_reference_does(case: str) -> None:
    heads, spec = CASES[case]()
    size = (spec.input.height, spec.input.width)
    for b in range(spec.input.batch):
        picture = {name: np.ascontiguousarray(values[b]) for name, values in heads.items()}
        expected = decode_reference(picture, spec, Letterbox(size, size, size))
        found = decode(*(torch.from_numpy(picture[name]) for name in spec.output_shapes), spec.decoder)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
        if case != "equal scores":  # whose order is any
            np.testing.assert_array_equal(found.labels, expected.class_ids)
            np.testing.assert_allclose(found.soft, expected.soft, atol=1e-5)


@pytest.mark.slow
def test_the_benchmark_runs_on_the_host(capsys: pytest.CaptureFixture[str]) -> None:
    bench = Bench(torch.device("cpu"), HostGpu(), emulated_kernels(), height=45, repeats=1)
    model = make_small("solov2", trained=True)
    assert isinstance(model, SoloV2)
    bench.end_to_end("solov2", model, (64, 96), candidates=12)
    bench.decoding("solov2", (32, 64), 8, candidates=3)
    whole, decoding = capsys.readouterr().out.splitlines()
    found = re.search(r"solov2 64x96, (\d+) and (\d+) instances +[\d.]+ +[\d.]+ .*x$", whole)
    assert found is not None
    assert abs(int(found[1]) - int(found[2])) <= 1 < int(found[1])
    assert decoding.startswith("decoding 3 candidates, 8 channels, 32x64")
