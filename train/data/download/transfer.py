"""Files from the network, whole or not at all."""

from __future__ import annotations

import http.client
import logging
import re
import shutil
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from solo_rt.errors import DatasetError
from solo_rt.files import file_hash
from solo_rt.progress import OnProgress
from solo_rt.train.data.download.sources import Archive

CHUNK = 1 << 20  # bytes
AGENT = "solo-rt (data set download)"  # some hosts refuse Python's own name


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a host."""

    timeout: float = 30.0  # seconds without a byte
    attempts: int = 4  # in a row with an address that bring nothing new
    pause: float = 2.0  # seconds before the second of them, twice that before the third, and so on


def fetch(
    archive: Archive,
    folder: Path,
    *,
    patience: Patience | None = None,
    on_bytes: OnProgress = lambda done, total: None,
) -> tuple[Path, str]:
    """Return the path of the archive in `folder` and its hash, from the first address that gives it whole.

    The file has its name only once its size and hash are right: until then it is NAME.part, from where a later call
    goes on. A download whose hash is wrong is deleted; a file that the user put there is not.
    Raises: DatasetError when no address gives the file, or that of the user is wrong.
    """
    patience = patience or Patience()
    path, part = folder / archive.name, folder / f"{archive.name}.part"
    if path.exists():
        return path, check(archive, path)
    folder.mkdir(parents=True, exist_ok=True)
    failures: list[str] = []
    for url in archive.urls:
        try:
            _fetch_patiently(url, part, archive.size, patience, on_bytes)
        except (OSError, http.client.HTTPException) as error:
            failures.append(f"{url}: {_reason(error)}")
            log.warning("%s", failures[-1])
            continue
        try:
            digest = check(archive, part)
        except DatasetError as error:
            part.unlink()
            failures.append(f"{url}: {error}")
            log.warning("%s", failures[-1])
            continue
        part.replace(path)
        return path, digest
    raise DatasetError(f"cannot download {archive.name}: {'; '.join(failures)}; try again later to go on")


def check(archive: Archive, path: Path) -> str:
    """Return the hash of a file, "sha1:..." or "sha256:...". Raises: DatasetError if size or hash are not as expected.

    Without a published hash it is the SHA-256, so that a later copy can be compared with this one.
    """
    size = path.stat().st_size
    if archive.size is not None and size != archive.size:
        raise DatasetError(f"expected {archive.size} bytes in {archive.name}, got {size}")
    kind = "sha1" if archive.sha1 is not None and archive.sha256 is None else "sha256"
    expected, got = getattr(archive, kind), file_hash(path, kind)
    if expected is not None and got != expected:
        raise DatasetError(f"expected {kind} {expected} of {archive.name}, got {got}: damaged, or another version")
    return f"{kind}:{got}"


def _fetch_patiently(url: str, part: Path, size: int | None, patience: Patience, on_bytes: OnProgress) -> None:
    """Download `url` to `part`, going on where an attempt broke off. Raises: OSError, HTTPException."""
    most, idle = _size(part), 0
    while True:
        try:
            _transfer(url, part, size, patience.timeout, on_bytes)
            return
        except (OSError, http.client.HTTPException) as error:
            idle = idle + 1 if _size(part) <= most else 1
            most = max(most, _size(part))
            if idle >= patience.attempts or _is_final(error):
                raise
            log.info("%s: %s; trying again", url, _reason(error))
            time.sleep(patience.pause * idle)


def _transfer(url: str, part: Path, size: int | None, timeout: float, on_bytes: OnProgress) -> None:
    """Download what `part` lacks of `url`, or all of it from a host that cannot send parts."""
    done = _size(part)
    if done and done == size:
        return
    headers = {"User-Agent": AGENT, **({"Range": f"bytes={done}-"} if done else {})}
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE or not done:
            raise
        if _full_size(error.headers.get("Content-Range")) == done:
            return  # there was nothing left to send
        part.unlink()  # longer than the file: it was never a part of it
        raise OSError("the file there is smaller than what was downloaded before") from error
    with response, part.open("r+b" if done else "wb") as file:
        done = done if _continues(response, done) else 0
        total = done + int(response.headers.get("Content-Length") or 0)
        free = shutil.disk_usage(part.parent).free
        if total > done and free < total - done:
            raise DatasetError(
                f"expected {total - done} bytes free in {part.parent} for {part.stem}, got {free}; "
                "make room, or choose another --root"
            )
        file.seek(done)
        file.truncate()
        _copy(response, file, done, total if total > done else 0, on_bytes)


def _copy(response: http.client.HTTPResponse, file: IO[bytes], done: int, total: int, on_bytes: OnProgress) -> None:
    while chunk := response.read(CHUNK):
        file.write(chunk)
        done += len(chunk)
        on_bytes(done, total)
    if total and done != total:
        raise OSError(f"the transfer ended after {done} of {total} bytes")


def _continues(response: http.client.HTTPResponse, done: int) -> bool:
    """Return whether the host sends what comes after `done` bytes, and not all from the beginning."""
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range") or "")
    return response.status == http.client.PARTIAL_CONTENT and found is not None and int(found[1]) == done


def _full_size(content_range: str | None) -> int | None:
    found = re.fullmatch(r"bytes \*/(\d+)", content_range or "")
    return int(found[1]) if found else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is_final(error: Exception) -> bool:
    """Return whether asking again is useless: the host knows the address and says no."""
    return isinstance(error, urllib.error.HTTPError) and 400 <= error.code < 500 and error.code not in (408, 429)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
