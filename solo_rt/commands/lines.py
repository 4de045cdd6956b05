"""What is said on standard error."""

from __future__ import annotations

import re

# User and password of an address; FFmpeg's messages repeat them. A path made of an address has lost one slash.
SECRETS = re.compile(r"(\w+://|\w+:/(?=\S*:\S*@))\S*@")


def hide_secrets(text: str) -> str:
    """Return a text without the user and the password of any address in it."""
    return SECRETS.sub(r"\1***@", text)
