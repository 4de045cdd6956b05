"""Where the page is served: `HOST:PORT`."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from ipaddress import ip_address

from solo_rt.errors import UsageError

BACKLOG = 64  # connections that wait to be taken
SEND_BUFFER = 1 << 16  # bytes that the system keeps for a viewer: what is in there is old when it arrives


@dataclass(frozen=True, slots=True)
class Address:
    """A name or number of this machine, and a port, 0 for any that is free."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Return the address written as `127.0.0.1:8088`, `[::1]:8088` or `name:8088`. Raises: UsageError."""
        found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]{0,252}):(\d{1,5})", text)
        if found is None or int(found[2]) > 65535:
            raise UsageError(f"serve: expected HOST:PORT like 127.0.0.1:8088, got {text!r}")
        return cls(found[1].strip("[]").lower(), int(found[2]))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.host == "localhost" or is_loopback(self.host)

    def listen(self) -> socket.socket:
        """Return a socket on which connections arrive. Raises: UsageError if there can be none."""
        try:
            family, _, _, _, where = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
            both = self.host == "::" and socket.has_dualstack_ipv6()  # all addresses: IPv4, too
            listening = socket.create_server(where[:2], family=family, backlog=BACKLOG, dualstack_ipv6=both)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UsageError(f"serve: cannot listen on {self}: {reason}; choose another address or port") from error
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)  # those who connect inherit it
        return listening

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_loopback(host: str) -> bool:
    """Return whether a host is a number that this machine has for itself."""
    return is_number(host) and ip_address(host).is_loopback


def is_number(host: str) -> bool:
    """Return whether a host is an IP address, which no name server can make up."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
