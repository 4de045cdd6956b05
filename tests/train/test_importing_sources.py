"""Each code base whose weights can be imported: its names, and what is particular about it."""

from __future__ import annotations

from pathlib import Path

import foreign
import pytest
import torch
from foreign import assert_same_outputs, renamed, train_small
from small import CONFIGS

from solo_rt.train.importing import import_weights
from solo_rt.train.importing.report import IncompleteWeightsError

CLASSES = ("ant", "bee", "cow")


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_network_of_the_papers_computes_here_what_it_computed_there(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trained = train_small(monkeypatch, kind)
    torch.save({"state_dict": renamed(trained.state, foreign.official(trained.state))}, tmp_path / "x.pth")
    checkpoint, report = import_weights(tmp_path / "x.pth", classes=CLASSES)
    assert (report.source, checkpoint.model) == ("official", trained.name)
    assert_same_outputs(checkpoint, trained)


def test_offsets_of_old_files_are_beside_their_convolution(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trained = train_small(monkeypatch, "decoupled-solo-light-dcn")
    theirs = renamed(trained.state, foreign.official(trained.state))
    old = {key.replace("conv2.conv_offset", "conv2_offset"): value for key, value in theirs.items()}
    old = {key.replace(".conv.conv_offset", ".conv_offset"): value for key, value in old.items()}
    assert "bbox_head.ins_convs.1.conv_offset.bias" in old
    torch.save(old, tmp_path / "x.pth")
    checkpoint, _ = import_weights(tmp_path / "x.pth", classes=CLASSES)
    assert_same_outputs(checkpoint, trained)


def test_plain_and_modulated_offsets_are_not_taken_for_each_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trained = train_small(monkeypatch, "decoupled-solo-light-dcn")
    theirs = renamed(trained.state, foreign.official(trained.state))
    for key in theirs:
        if key.startswith("bbox_head.") and "conv_offset" in key:
            theirs[key] = torch.zeros(27, *theirs[key].shape[1:])
    torch.save(theirs, tmp_path / "x.pth")
    with pytest.raises(IncompleteWeightsError) as refused:
        import_weights(tmp_path / "x.pth")
    misshaped = refused.value.report.misshaped
    assert "head.ins_convs.1.0.conv_offset.bias: expected 18, got 27" in misshaped
    assert len(misshaped) == 4
