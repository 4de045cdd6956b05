"""What FFmpeg must be told to open something that is not a plain file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from solo_rt.errors import UsageError
from solo_rt.source.base import Kind


@dataclass(frozen=True, slots=True)
class Address:
    """A place that pictures come from. Only `uri` is fit to be shown: `url` may hold a password."""

    uri: str  # as given, credentials removed
    kind: Kind
    url: str = field(repr=False)
    format: str | None = None  # of FFmpeg; None lets it find out
    options: Mapping[str, str] = field(default_factory=dict)  # of FFmpeg's protocol and demuxer
    is_live: bool = True  # comes at its own pace, also if it names a length; else it is live when it names none


def parse_settings(uri: str, query: str, known: Mapping[str, str]) -> dict[str, str]:
    """Return the settings behind the `?` of an address by FFmpeg's names, which `known` holds by ours.

    Raises: UsageError for another one.
    """
    given = parse_qsl(query, keep_blank_values=True)
    unknown = [key for key, _ in given if key not in known]
    if unknown:
        raise UsageError(f"source {uri}: unknown setting {', '.join(unknown)}; expected {', '.join(known)}")
    return {known[key]: value for key, value in given}
