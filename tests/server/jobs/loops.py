"""A loop for the workers of tests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from anyio.from_thread import start_blocking_portal


@contextmanager
def loop_in_a_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that runs in another thread, as the server's does.

    It ends whatever still runs in it. A loop that is merely stopped would leave threads waiting for work, and they keep
    the process from ending.
    """
    with start_blocking_portal() as portal:
        yield portal.call(asyncio.get_running_loop)
