"""How a run is carried out; what it learns is the recipe's."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from solo_rt.device import CPU, Device
from solo_rt.errors import UsageError

Amp = Literal["off", "bf16", "fp16"]


ALL = sys.maxsize
WORLD = "world:"  # the procedural world, drawn while training


@dataclass(frozen=True)  # without slots, so that `Settings.keep` is the default, which the command line shows
class Settings:
    """One run on one data set."""

    data: str = WORLD  # address of the data set
    seed: int = 0
    augment: bool = True
    accumulate: int = 1  # parts in which a process takes its share of a batch, one after another
    amp: Amp = "off"  # precision of the network's forward pass; losses and weights are float32
    device: Device = CPU
    workers: int = 1  # processes that load pictures; 0: the training process does it itself
    channels_last: bool = True
    compile: bool = False
    sync_bn: bool = False  # batch normalisation over all processes; on GPUs
    init: Path | None = None  # checkpoint to start from
    qat: bool = False  # let convolutions round as INT8 will
    backbone_weights: Path | None = None  # ImageNet weights with torchvision's names
    resume: str = "off"  # "off", "auto" or the path of a checkpoint
    keep: int = 3  # checkpoints
    save_every: int = 250  # steps
    log_every: int = 20
    val: int = 0  # held-out pictures to measure before each checkpoint; `ALL` of them
    preview: Path | None = None  # PNG to draw some of them to, with what is found, at each checkpoint
    max_steps: int | None = None  # leave after this step, to be resumed
    tensorboard: bool = False
    command: str = ""  # for the record
    timeout: float = 300.0  # seconds that a process waits for the others before it gives the job up
    strict: bool = False  # end at a picture that cannot be read, instead of leaving it out

    def __post_init__(self) -> None:
        if self.amp == "fp16" and self.device.kind != "cuda":
            raise UsageError(f"--amp fp16 needs --device cuda, got {self.device}; there is --amp bf16")
        if self.sync_bn and self.device.kind != "cuda":
            raise UsageError("--sync-bn needs --device cuda: PyTorch has no synchronised batch norm on CPUs")
        if self.init and self.backbone_weights:
            raise UsageError("--init brings the backbone along; leave --backbone-weights out")
        for name in ("accumulate", "keep", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name.replace('_', ' ')}: expected at least 1, got {getattr(self, name)}")

    @property
    def decisive(self) -> dict[str, object]:
        """What changes the weights a run ends with; a resumed run must have the same."""
        return {
            name: getattr(self, name) for name in ("data", "seed", "augment", "accumulate", "amp", "sync_bn", "qat")
        }
