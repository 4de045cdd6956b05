"""What became of each tensor of an imported file, and the refusal when that is not enough."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from solo_rt.errors import UsageError

PARTS = ("missing", "misshaped", "unexpected")


@dataclass(frozen=True, slots=True)
class Report:
    """Names of tensors, in ours where they have one."""

    source: str
    model: str  # the network that the file was compared with
    loaded: tuple[str, ...]
    missing: tuple[str, ...]  # of the network, not in the file
    unexpected: tuple[str, ...]  # in the file, not of the network
    misshaped: tuple[str, ...]  # with the shapes expected and found
    initial: tuple[str, ...] = ()  # of a part that only training uses, and of which the file has nothing

    @property
    def strangers(self) -> int:
        """How many tensors of the network or of the file do not fit."""
        return sum(len(getattr(self, part)) for part in PARTS)

    @property
    def complete(self) -> bool:
        """Whether the file fills the network and nothing is left over."""
        return bool(self.loaded) and not self.strangers

    def describe(self) -> str:
        """Return the counts in one line."""
        counts = [f"{len(getattr(self, part))} {part}" for part in PARTS if getattr(self, part)]
        if self.initial:
            counts.append(f"{len(self.initial)} for training only as they are initially")
        return ", ".join([f"{len(self.loaded)} tensors of {self.model} loaded", *counts])

    def listing(self) -> str:
        """Return one line for each tensor that does not fit."""
        return "\n".join(f"{part}: {name}" for part in PARTS for name in getattr(self, part))


class IncompleteWeightsError(UsageError):
    """A file does not fill a network, or holds more than it; `report` has the details."""

    def __init__(self, path: Path, report: Report) -> None:
        super().__init__(
            f"{path} holds no whole network: {report.describe()}; expected a file of {report.source} as published"
        )
        self.report = report
