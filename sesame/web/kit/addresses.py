"""The client's address, through the reverse proxies of the settings and no others."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from sesame.settings.served import Networks

NOBODY = IPv4Address("0.0.0.0")  # noqa: S104 - means an unknown address; never bound to
IPV6_SITE_BITS = 64  # given to one household or one telephone (RFC 6177)

Ip = IPv4Address | IPv6Address


def client_address(peer: str | None, forwarded: Iterable[str], trusted: Networks) -> Ip:
    """The address that a request comes from.

    Args:
        peer: of the connection; None: a Unix socket.
        forwarded: the values of `X-Forwarded-For`, in their order. Each proxy appends the address that it
            sees, so only those right of the last address that is no proxy of ours can be believed.
        trusted: the reverse proxies.
    """
    address = _read(peer or "")
    steps = [step.strip() for value in forwarded for step in value.split(",")]
    while steps and is_in(address, trusted):
        step = _read(steps.pop())
        if step == NOBODY:
            break
        address = step
    return address


def counted_as(address: Ip) -> str:
    """The key by which limits count an address: itself, or its /64."""
    if isinstance(address, IPv6Address):
        return str(ip_network((address, IPV6_SITE_BITS), strict=False))
    return str(address)


def is_in(address: Ip, networks: Networks) -> bool:
    """Whether an address lies in one of these networks."""
    return any(address in network for network in networks)


def _read(text: str) -> Ip:
    try:
        address = ip_address(text.strip("[]"))
    except ValueError:
        return NOBODY
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
