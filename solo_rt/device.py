"""What computes a network, and how it is written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from solo_rt.errors import UsageError


@dataclass(frozen=True, slots=True)
class Device:
    """The CPU, a GPU, or auto: the best that there is for the work. Whether it is there shows when it is used."""

    kind: Literal["auto", "cpu", "cuda"]
    index: int | None = None  # of the GPU, where one is named

    @classmethod
    def parse(cls, text: str) -> Device:
        """Return the device written auto, cpu, cuda or cuda:N. Raises: UsageError."""
        for device in (cls("auto"), cls("cpu"), cls("cuda")):
            if text == str(device):
                return device
        numbered = re.fullmatch(r"cuda:([0-9]+)", text)
        if numbered is None:
            raise UsageError(f"unknown device {text!r}; expected auto, cpu, cuda or cuda:N")
        return cls("cuda", int(numbered[1]))

    def __str__(self) -> str:
        return self.kind if self.index is None else f"{self.kind}:{self.index}"


CPU = Device("cpu")
