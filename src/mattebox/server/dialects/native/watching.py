"""The native API's streams of server-sent events: one task, or all of a key, as they change."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

import anyio
import pydantic_core
from fastapi.sse import EventSourceResponse, format_sse_event

from mattebox.errors import Kind, MatteboxError
from mattebox.server.dialects import base
from mattebox.server.dialects.native import options
from mattebox.server.dialects.native.problem import failures
from mattebox.server.dialects.native.tasks import FINAL, MOST_LISTED, shown
from mattebox.server.http import openapi
from mattebox.server.jobs import Task

_LOOK = 0.25
"""Seconds between two looks at a task that somebody watches."""
_LOOK_AT_ALL = 1.0
_HEARTBEAT = 15.0
"""Seconds of silence after which watchers are told that the connection still stands; proxies cut quieter ones."""
_LONGEST_WATCH = 25.0
"""Seconds after which watchers have to ask again, which browsers do by themselves: nobody holds a place for ever."""
_AGAIN_MILLISECONDS = 250
_OVERLAP = 5.0
"""Seconds before what a watcher has seen that are told once more: a task's times are those of the process that it runs
in."""

router = options.router_for("mattebox: tasks")


def _described(sentence: str) -> openapi.Responses:
    changes = "Server-sent events: `event: task` with the task as `data` whenever its status or progress changes."
    stream = openapi.content([EventSourceResponse.media_type], {"type": "string"})
    return {200: {"description": f"{changes} {sentence}", "content": stream}}


# Before the route of one task, which would take its name for an id.
@router.get(
    "/tasks/events",
    summary="Watch all tasks of the key",
    responses=_described("The stream ends after 25 seconds, and with the server.") | failures(),
)
async def all_events(request: base.Request) -> base.Response:
    """Each change of the key's newest 200 tasks as it happens; at first, how they stand.

    Whoever asks again with the `Last-Event-ID` that was read last is told of those tasks only that are not finished, or
    have begun or ended since.
    """
    account = await base.actions.authenticate(request)
    since = _moment(request.headers.get("last-event-id", ""))

    looked = 0.0

    async def look() -> list[Task]:
        nonlocal looked
        looked = time.time()
        return await base.actions.tasks_of(request, account, limit=MOST_LISTED)

    def is_news(task: Task) -> bool:
        return task.finished is None or max(task.finished, task.created) >= since - _OVERLAP

    first = await look()
    old = {task.id: _state(task) for task in first if not is_news(task)}
    return _stream(request, first, look, old, every=_LOOK_AT_ALL, event_id=lambda _: f"{looked:.3f}")


def _moment(text: str) -> float:
    """Seconds since 1970 of an event's id; 0, which is before everything, where it is none of ours."""
    try:
        found = float(text)
    except ValueError:
        return 0.0
    return found if 0 <= found <= time.time() else 0.0


@router.get(
    "/tasks/{task_id}/events",
    summary="Watch a task",
    openapi_extra=openapi.request(parameters=[openapi.in_path("task_id")]),
    responses=_described("The stream ends with the task, after 25 seconds, and with the server.")
    | failures(Kind.NOT_FOUND),
)
async def events(request: base.Request) -> base.Response:
    """Each change of a task as it happens, the first event being how it stands.

    Browsers ask again when a stream ends, and say with `Last-Event-ID` what they have seen: that is not said again, and
    204 tells them that there is nothing more.
    """
    account = await base.actions.authenticate(request)
    task_id = request.path_params["task_id"]
    task = await base.actions.task(request, account, task_id)
    seen = request.headers.get("last-event-id", "")
    if task.status in FINAL and seen == _state(task):
        return base.Response(status_code=204)

    async def look() -> list[Task]:
        return [await base.actions.task(request, account, task_id)]

    return _stream(request, [task], look, {task_id: seen}, every=_LOOK, event_id=_state, final=True)


def _stream(
    request: base.Request,
    first: Iterable[Task],
    look: Callable[[], Awaitable[Iterable[Task]]],
    told: dict[str, str],
    *,
    every: float,
    event_id: Callable[[Task], str],
    final: bool = False,
) -> base.Response:
    """Events of tasks.

    Args:
        request: of the watcher.
        first: the tasks as they stand.
        look: the tasks as they stand at a later time.
        told: the state of each task that the watcher knows already; it is kept up to date.
        every: seconds between two looks.
        event_id: the id of the event that tells of a task.
        final: whether the stream ends as soon as all tasks have.
    """
    ending: anyio.Event = getattr(request.state, "ending", None) or anyio.Event()

    async def stream() -> AsyncIterator[bytes]:
        begin = said = time.monotonic()
        now = list(first)
        yield format_sse_event(retry=_AGAIN_MILLISECONDS)
        while True:
            current = time.monotonic()
            for task in reversed(now):
                if told.get(task.id) == _state(task):
                    continue
                told[task.id], said = _state(task), current
                data = pydantic_core.to_json(shown(request, task)).decode()
                yield format_sse_event(event="task", id=event_id(task), data_str=data)
            if current - said >= _HEARTBEAT:
                said = current
                yield format_sse_event(comment="still here")
            if current - begin >= _LONGEST_WATCH or (final and all(task.status in FINAL for task in now)):
                return
            with anyio.move_on_after(every):
                await ending.wait()
                return
            try:
                now = list(await look())
            except MatteboxError as error:
                if error.kind is not Kind.UNAVAILABLE:
                    return  # it is forgotten, and whoever asks again is told so
                # The database is away for a moment; the connection need not be.

    return EventSourceResponse(stream(), headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


def _state(task: Task) -> str:
    return f"{task.status}-{task.progress}"
