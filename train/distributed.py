"""One training job on several processes, as `torchrun` starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from solo_rt.device import Device
from solo_rt.errors import SoloRTError, UsageError

# Of the messages of a lost connection: not all of Gloo's, such as "Application timeout caused pair closure", name it.
_CONNECTION_WORDS = ("gloo", "Gloo", "NCCL", "peer", "pair closure", "Timed out waiting", "Broken pipe")
# Groups of jobs that ended, kept for good. The last owner of a Gloo group waits for its threads, which may wait for the
# interpreter's lock. A Python object gives that lock up meanwhile; DDP's reducer, where it is the last owner, does not:
# now and then a job hung at its very end (PyTorch 2.13).
_ended: list[dist.ProcessGroup | None] = []
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Job:
    """Which of how many processes this one is."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes the files and talks to the user."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of `values`, floats, over all processes, without gradient. Every process must call it."""
        if self.size == 1:
            return values.detach()
        values = values.detach().clone()
        dist.all_reduce(values)
        return values / self.size

    def any(self, own: bool) -> bool:
        """Return whether it is so in any process. Every process must call it."""
        return float(self.mean(torch.tensor(float(own), device=self.device))) > 0

    def total(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sum of `counts` over all processes. Every process must call it."""
        if self.size == 1:
            return counts
        values = torch.from_numpy(counts).to(self.device)
        dist.all_reduce(values)
        return np.asarray(values.cpu().numpy(), np.int64)

    def collect(self, found: list[Item]) -> list[Item]:
        """Return what all processes `found`, in the order of their ranks. Every process must call it."""
        if self.size == 1:
            return found
        parts: list[list[Item]] = [[] for _ in range(self.size)]
        dist.all_gather_object(parts, found)
        return [item for part in parts for item in part]

    def share(self, network: nn.Module) -> None:
        """Give the `network` of every process the tensors of the leading one's. Every process must call it."""
        if self.size > 1:
            for tensor in network.state_dict().values():
                dist.broadcast(tensor, src=0)

    def agree(self, text: str) -> str:
        """Return the `text` of the leading process. Every process must call it."""
        if self.size == 1:
            return text
        texts = [text]
        dist.broadcast_object_list(texts, src=0, device=self.device)
        return texts[0]


@contextmanager
def join_job(device: Device, *, timeout: float) -> Iterator[Job]:
    """Give the job that the environment describes (RANK, WORLD_SIZE, LOCAL_RANK), or that of this process alone.

    On GPUs, each process of a machine has that of its local rank. Raises: UsageError for a device that is not there;
    SoloRTError when another process of the job is lost, at the latest after `timeout` seconds.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = _choose_device(device, shared=size > 1)
    if size == 1:
        yield Job(0, 1, chosen)
        return
    rank = int(os.environ["RANK"])
    try:
        dist.init_process_group(
            "nccl" if chosen.type == "cuda" else "gloo", timeout=timedelta(seconds=timeout), rank=rank, world_size=size
        )
        yield Job(rank, size, chosen)
        _ended.append(dist.group.WORLD)
        dist.destroy_process_group()  # only when all went well: it may wait for the others
    except (dist.DistError, RuntimeError) as error:
        if isinstance(error, SoloRTError) or not _lost_a_peer(error):
            raise
        raise SoloRTError(
            f"process {rank} of {size} lost the others ({str(error).splitlines()[0]}); "
            "start the job again with --resume auto"
        ) from error


def _choose_device(wanted: Device, *, shared: bool) -> torch.device:
    if wanted.kind == "auto":
        raise UsageError(f"--device {wanted}: expected cpu, cuda or cuda:N")
    if wanted.kind == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UsageError(f"--device {wanted}: PyTorch finds no CUDA device here")
    if shared:
        wanted = Device("cuda", int(os.environ["LOCAL_RANK"]))
    if (wanted.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"--device {wanted}: expected an index below {torch.cuda.device_count()}, got {wanted.index}")
    device = torch.device(str(wanted))
    torch.cuda.set_device(device)
    return device


def _lost_a_peer(error: Exception) -> bool:
    """Tell failures of the connection from those of the training; Gloo's are plain RuntimeErrors."""
    return isinstance(error, dist.DistError) or any(word in str(error) for word in _CONNECTION_WORDS)
