"""Guessing passwords takes time: failed logins are counted per user name and per client address.

A count leaks, so nobody is locked out for good: where it is full, the next attempt has to wait until there is room for one.
An attempt is counted before the password is looked at and taken back if it was right, so that many at once are no way
around. Who logged in from an address before has a count of their own there: strangers who guess at a name cannot keep its
owner out. Tokens are not passwords (256 random bits, or signed) and go on working.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import BoundedSemaphore

from backend.errors import OpenEOError
from backend.store import logins
from backend.store.db import Database

WINDOW = timedelta(minutes=10)  # a full count is empty again after this
PER_ADDRESS = 5.0  # an address may fail as often as this many names: offices and courses share one
REMEMBERED = timedelta(days=30)  # how long an address is known to be a user's
# Password checks of one process at once. Each takes 32 MiB and a core; a burst of right ones must not fill a count.
_checks = BoundedSemaphore(4)


@contextmanager
def attempt(database: Database, name: str, address: str, limit: int) -> Iterator[None]:
    """A login: the block checks the password and raises where it is wrong.

    Parameters
    ----------
    name : user name as it was sent
    address : the client's
    limit : failures per user name and `WINDOW`; 0 for none

    Raises
    ------
    OpenEOError
        ``TooManyRequests`` (429, ``Retry-After``), before the block.
    """
    with _checks:
        if not limit:
            yield
            return
        own = _key("known", name, _network(address))
        taken = _take(database, own, _key("name", name), _key("address", _network(address)), limit)
        yield
        with database.session() as session:
            for key in taken:
                logins.take_back(session, key)
            logins.keep(session, own, REMEMBERED)


def _take(database: Database, own: str, name: str, address: str, limit: int) -> list[str]:
    """Count an attempt; the keys it was counted under, sorted."""
    with database.session() as session:
        logins.purge(session)
        limits = {own if logins.kept(session, own) else name: float(limit), address: PER_ADDRESS * limit}
        wait = max(logins.add(session, key, limits[key], WINDOW) for key in sorted(limits))
        if wait:
            seconds = math.ceil(wait)
            raise OpenEOError(
                "TooManyRequests",
                f"Too many logins with a wrong user name or password. Wait {seconds} seconds, then try again.",
                headers={"Retry-After": str(seconds)},
            )
    return sorted(limits)


def _key(kind: str, *parts: str) -> str:
    # Hashed: parts of any length and content make a key that a column holds.
    return f"{kind}:{hashlib.sha256(repr(parts).encode('utf-8', 'backslashreplace')).hexdigest()}"


def _network(address: str) -> str:
    """What one client has: an IPv4 address, or the 64 bits of IPv6 that a connection gets."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.IPv6Network((int(found), 64), strict=False))
    return str(found)
