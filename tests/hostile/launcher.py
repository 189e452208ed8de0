"""`mattebox serve`, in a world whose names are these and no others."""

from __future__ import annotations

import itertools
import socket
import sys

from mattebox.cli import main

HERE, ALLOWED = "127.0.0.1", "127.0.0.2"
"""Where nothing may be fetched from, and the only place where it may."""
NAMES: dict[str, tuple[tuple[str, ...], ...]] = {
    # What a name stands for, one time after another.
    "allowed.test": ((ALLOWED,),),
    "localhost": ((HERE, "::1"),),
    "inside.test": ((HERE,),),
    "inside6.test": (("::1",),),
    "mapped.test": (("::ffff:127.0.0.1",),),
    "translated.test": (("64:ff9b::7f00:1",),),
    "both.test": ((ALLOWED, HERE),),
    "rebinding.test": ((ALLOWED,), (HERE,)),
    "metadata.test": (("169.254.169.254",),),
    "metadata6.test": (("fd00:ec2::254",),),
    "private.test": (("10.0.0.1",),),
    "shared.test": (("100.64.0.1",),),
    "broadcast.test": (("255.255.255.255",),),
    "multicast.test": (("224.0.0.1",),),
    "none.test": ((),),
}
_turns = {name: itertools.cycle(each) for name, each in NAMES.items()}
_asked = socket.getaddrinfo


def _look_up(host: bytes | str | None, port: int, *others: int, **named: int) -> object:
    name = host.decode() if isinstance(host, bytes) else host or ""
    turn = _turns.get(name.rstrip(".").lower())
    if turn is None:  # an address in whichever spelling the system knows, and no other name
        return _asked(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    found = [each for address in next(turn) for each in _asked(address, port, type=socket.SOCK_STREAM)]
    if not found:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")
    return found


if __name__ == "__main__":
    vars(socket)["getaddrinfo"] = _look_up
    sys.argv[0] = "mattebox"
    main()
