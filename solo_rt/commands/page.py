"""`--serve`: the live page of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from solo_rt.commands.lines import tell
from solo_rt.errors import UsageError

if TYPE_CHECKING:
    from solo_rt.gpu.nvcodec import VideoDecoder
    from solo_rt.pipeline import Hooks
    from solo_rt.serve import Site


@contextmanager
def serving(address: str | None, *, token: str | None, decoder: VideoDecoder) -> Iterator[Callable[[str], Hooks]]:
    """Serve the page while the body runs, and give what returns its hooks for a source; without an address no page.

    Raises: UsageError for an address or a token that cannot be.
    """
    from solo_rt.pipeline import Hooks

    with open_page(address, token=token, decoder=decoder) as site:
        yield (lambda name: Hooks()) if site is None else site.hooks


@contextmanager
def open_page(address: str | None, *, token: str | None, decoder: VideoDecoder) -> Iterator[Site | None]:
    """Give the page, served while the body runs and its address said, or None without an address.

    Raises: UsageError for an address or a token that cannot be.
    """
    if address is None:
        if token is not None:
            raise UsageError("--serve-token: expected --serve as well")
        yield None
        return
    if decoder != "cpu":
        raise UsageError(f"--serve: expected --decoder cpu, got {decoder}, whose frames may stay on the GPU")
    from solo_rt.serve import Site

    with Site(address, token=token) as site:
        secret = f"?token={site.token}" if site.token != token else ""
        tell(f"page: {site.url}{secret}", fields={"url": f"{site.url}{secret}"})
        yield site
