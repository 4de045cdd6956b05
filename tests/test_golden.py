"""The golden files: what PyTorch and the numpy reference gave, the run time must give without them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from solo_rt.decode import decode
from solo_rt.engine import open_engine
from solo_rt.preprocess import prepare
from solo_rt.types import Frame

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(DATA / "tiny.npz") as file:
        return dict(file)


def test_the_run_time_reproduces_pytorch_and_the_reference(golden):
    engine = open_engine(DATA / "tiny.onnx")
    picture = golden["picture"]
    tensor, box = prepare(Frame((picture,), "rgb24"), engine.spec.input)
    outputs = engine.infer({engine.spec.input.name: tensor})
    for name in ("scores", "kernels", "features"):
        np.testing.assert_allclose(outputs[name], golden[name], atol=1e-4 * np.abs(golden[name]).max())
    first = {name: values[0] for name, values in outputs.items()}
    found = decode(first, engine.spec, box)
    assert len(found) == len(golden["found_scores"]) > 5
    np.testing.assert_allclose(found.scores, golden["found_scores"], rtol=1e-3)
    np.testing.assert_array_equal(found.class_ids, golden["found_classes"])
    masks = np.unpackbits(golden["found_masks"], axis=-1, count=picture.shape[1]).astype(bool)
    for i, expected in enumerate(masks):
        mask = found.dense(i)
        assert (mask & expected).sum() >= 0.97 * (mask | expected).sum()


def test_the_files_are_what_their_recipe_makes(golden):
    pytest.importorskip("torch")
    from golden import tensors, tiny_model

    made = tensors(*tiny_model())
    assert set(made) == set(golden)
    for name, expected in golden.items():
        if name == "found_masks":
            assert (np.unpackbits(made[name] ^ expected)).mean() < 1e-3
        else:
            np.testing.assert_allclose(made[name], expected, atol=1e-4 * np.abs(expected).max(), err_msg=name)


def test_the_golden_files_stay_small():
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 2_000_000
