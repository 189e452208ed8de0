"""mattebox's own API for what may take its time: tasks, batches of them, and how they are getting on."""

from __future__ import annotations

import binascii
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import anyio
import pybase64
import pydantic_core
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from mattebox.edit import Edit, Format
from mattebox.errors import Kind, MatteboxError
from mattebox.server import actions
from mattebox.server.dialects.native import options
from mattebox.server.dialects.native.problem import NO_KEY, failures
from mattebox.server.http import dialect as http
from mattebox.server.http import fields, openapi
from mattebox.server.jobs import Hook, Result, Status, Task
from mattebox.server.jobs.webhooks import result_address
from mattebox.server.state import base_address
from mattebox.server.store.blobs import expiry_of
from mattebox.sources import Sources

MOST_EDITS = 1000
"""In one batch."""
_MOST_LISTED = 200
_FINAL = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)

_LOOK = 0.25
"""Seconds between two looks at a task that somebody watches."""
_HEARTBEAT = 15.0
"""Seconds of silence after which watchers are told that the connection still stands; proxies cut quieter ones."""
_LONGEST_WATCH = 25.0
"""Seconds after which watchers have to ask again, which browsers do by themselves: nobody holds a place for ever, and a
server that is being stopped, which waits for running answers, is not kept from it."""
_AGAIN_MILLISECONDS = 250
_EVENT_STREAM = "text/event-stream"

_HOOK = {
    "webhook": openapi.plain("string", "An http or https address that is sent the task when it has ended."),
    "webhook_secret": openapi.plain(
        "string", "Signs the webhook as Standard Webhooks has it: base64 of 24 to 64 bytes, with `whsec_` or without."
    ),
}


# --- from the request --------------------------------------------------------------------------------------------


def _hook_of(given: fields.Fields) -> Hook | None:
    url = given.address("webhook", what="webhook's")
    secret = given.text("webhook_secret")
    if url is None:
        if secret is not None:
            raise MatteboxError(
                Kind.INVALID_PARAMETER, "webhook_secret signs nothing without webhook.", parameter="webhook_secret"
            )
        return None
    if secret is not None:
        try:
            length = len(pybase64.b64decode(secret.removeprefix("whsec_"), validate=True))
        except (ValueError, binascii.Error):
            length = 0
        if not 24 <= length <= 64:
            raise MatteboxError(
                Kind.INVALID_PARAMETER,
                "webhook_secret must be 24 to 64 bytes in base64.",
                parameter="webhook_secret",
            )
    return Hook(url, secret)


def _parse(request: Request, incoming: options.Incoming) -> tuple[list[tuple[Edit, Sources]], bool]:
    """The edits, and whether they were sent as a batch."""
    given = incoming.fields
    options.refuse_unknown(given, ("edits", *_HOOK))
    members = given.groups("edits", most=MOST_EDITS)
    if not members:
        return [_edit_of(request, incoming)], False
    if incoming.picture is not None or "image_url" in given.names:
        raise MatteboxError(Kind.INVALID_PARAMETER, "In a batch, each of edits has its own picture.", parameter="edits")
    if "background_image" in given.names:
        # It would be stored once for each of up to a thousand edits.
        raise MatteboxError(
            Kind.INVALID_PARAMETER,
            "In a batch, background_image belongs into the edits themselves; background_image_url may stand beside "
            "them.",
            parameter="background_image",
        )
    for each in members:
        options.refuse_unknown(each)
    # What is said beside the list holds for all that do not say otherwise.
    return [_edit_of(request, options.Incoming(each.over(given), each.base64("image"))) for each in members], True


def _edit_of(request: Request, incoming: options.Incoming) -> tuple[Edit, Sources]:
    written = incoming.fields.choice("format", options.FORMATS, Format.PNG)
    return options.edit_of(request, incoming.fields, written=written), options.sources_of(incoming)


# --- to the answer -----------------------------------------------------------------------------------------------


def _rfc3339(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _as_json(task: Task, address: str | None) -> openapi.Schema:
    """A task as everybody sees it; `address` is where its result is."""
    hook = task.hook
    return {
        "id": task.id,
        "status": task.status.value,
        "progress": task.progress,
        "reason": task.reason,
        "created": _rfc3339(task.created),
        "started": _rfc3339(task.started),
        "finished": _rfc3339(task.finished),
        "result": None if task.result is None else _result_as_json(task.result, address),
        "batch": task.batch,
        "webhook": None
        if hook is None
        else {
            "url": hook.url,
            "delivered": _rfc3339(task.announced),
            "attempts": task.hook_attempts,
            "last_attempt": _rfc3339(task.hook_attempted),
            "failure": task.hook_failure,
        },
    }


def _result_as_json(result: Result, address: str | None) -> openapi.Schema:
    box = result.subject
    expires = expiry_of(result.name)
    return {
        "url": address if expires is None or time.time() < expires else None,
        "media_type": result.media_type,
        "width": result.width,
        "height": result.height,
        "subject": None
        if box is None
        else {"left": box.left, "top": box.top, "width": box.width, "height": box.height},
        "confidence": result.confidence,
        "expires": _rfc3339(expires),
    }


def _shown(request: Request, task: Task) -> openapi.Schema:
    result = task.result
    return _as_json(task, None if result is None else result_address(base_address(request), result))


def webhook_body(task: Task, address: str | None) -> bytes:
    """The webhook's body; `address` is where the result is."""
    body = {"type": f"task.{task.status}", "timestamp": _rfc3339(task.finished), "data": _as_json(task, address)}
    return pydantic_core.to_json(body)


# --- the OpenAPI page --------------------------------------------------------------------------------------------

_TIME = openapi.plain("string", "RFC 3339", nullable=True)
_PIXELS = openapi.plain("integer", "pixels")
_STATUS = openapi.word([status.value for status in Status], "the last three are final")
_TASK = openapi.obj(
    {
        "id": openapi.plain("string", "of the task"),
        "status": _STATUS,
        "progress": openapi.plain("integer", "0 to 100"),
        "reason": openapi.plain("string", "why it failed, in one sentence", nullable=True),
        "created": _TIME,
        "started": _TIME,
        "finished": _TIME,
        "result": openapi.obj(
            {
                "url": openapi.plain("string", "needs no key; null once it has expired", nullable=True),
                "media_type": openapi.plain("string", "what the file is"),
                "width": _PIXELS,
                "height": _PIXELS,
                "subject": openapi.obj(dict.fromkeys(("left", "top", "width", "height"), _PIXELS))
                | {"type": ["object", "null"], "description": "null where there is none"},
                "confidence": openapi.plain("number", "0 to 1", nullable=True),
                "expires": _TIME,
            }
        )
        | {"type": ["object", "null"]},
        "batch": openapi.plain("string", "the batch that it is one of", nullable=True),
        "webhook": openapi.obj(
            {
                "url": openapi.plain("string", "who is told"),
                "delivered": _TIME,
                "attempts": openapi.plain("integer", "how often it was sent"),
                "last_attempt": _TIME,
                "failure": openapi.plain("string", "why the last attempt failed", nullable=True),
            }
        )
        | {"type": ["object", "null"]},
    }
)
_EXAMPLE = {
    "id": "0b8f0c8e-6c0c-4d5e-9f6d-2f1f0f0a7c55",
    "status": "succeeded",
    "progress": 100,
    "reason": None,
    "created": "2026-11-20T09:00:00.000Z",
    "started": "2026-11-20T09:00:00.120Z",
    "finished": "2026-11-20T09:00:01.480Z",
    "result": {
        "url": "https://cut.example.com/results/…",
        "media_type": "image/png",
        "width": 1200,
        "height": 800,
        "subject": {"left": 310, "top": 42, "width": 480, "height": 758},
        "confidence": 0.98,
        "expires": "2026-11-20T10:00:01.000Z",
    },
    "batch": None,
    "webhook": None,
}
_COUNTS = openapi.obj({status.value: openapi.plain("integer", "how many tasks") for status in Status})
_BATCH = openapi.obj(
    {
        "batch": openapi.plain("string", "of the batch"),
        "finished": openapi.plain("boolean", "whether every task has ended"),
        "total": openapi.plain("integer", "how many tasks it has"),
        "counts": _COUNTS,
        "created": _TIME,
    }
)
_MEMBER = openapi.obj({"image": options.BASE64, "image_url": options.URL} | options.OPTIONS)
_BODIES = (
    openapi.content(
        ["multipart/form-data"],
        openapi.obj(
            {"image": openapi.binary("The picture."), "image_url": options.URL} | options.FORM_OPTIONS | _HOOK,
        ),
    )
    | openapi.content(
        [openapi.JSON],
        openapi.obj(
            {"image": options.BASE64, "image_url": options.URL}
            | options.OPTIONS
            | _HOOK
            | {
                "edits": openapi.array(_MEMBER)
                | {
                    "maxItems": MOST_EDITS,
                    "description": "Instead of a picture: a batch, each edit a task of its own. What stands beside the "
                    "list holds for all that do not say otherwise.",
                }
            }
        ),
        example={"image_url": "https://example.com/photo.jpg", "format": "webp", "webhook": "https://example.com/done"},
    )
    | openapi.content(["image/*", "application/octet-stream"], openapi.binary())
)
_NOT_FOUND = (404, Kind.NOT_FOUND, "There is no task with this id.")


def _query(name: str, schema: openapi.Schema) -> openapi.Schema:
    return {"name": name, "in": "query", "schema": schema}


def _in_path(name: str) -> openapi.Schema:
    # Written out, because what is declared as an argument of the function is described with failures of its own.
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _one(doc: str, *, status: int = 200, headers: dict[str, str] | None = None) -> openapi.Responses:
    return {
        status: openapi.success(doc, openapi.content([openapi.JSON], _TASK, example=_EXAMPLE), headers=headers)[200]
    }


# --- the routes --------------------------------------------------------------------------------------------------

router = APIRouter(
    prefix="/api/v1",
    tags=["mattebox: tasks"],
    dependencies=options.KEYS,
)


@router.post(
    "/tasks",
    summary="Remove the background later",
    status_code=202,
    response_class=Response,
    openapi_extra={
        "parameters": options.query_parameters(options.OPTIONS | {"image_url": options.URL} | _HOOK),
        "requestBody": {"content": _BODIES},
    },
    responses=_one(
        "The task; of a batch `batch`, its id, and `tasks`",
        status=202,
        headers={"Location": "the address of the task, or of the batch"},
    )
    | failures(
        (400, Kind.INVALID_PARAMETER, "quality must be a whole number from 1 to 100."),
        NO_KEY,
        (402, Kind.OUT_OF_CREDITS, "This key has no credits left."),
        (413, Kind.TOO_MANY_BYTES, "The picture may have at most 31,457,280 bytes."),
        (429, Kind.OVERLOADED, "Too many pictures are arriving; please try again in a moment."),
        (503, Kind.UNAVAILABLE, "The database cannot be reached."),
    ),
)
async def create(request: Request) -> Response:
    """Queue one task, or a batch of them: all or none.

    It takes what `/api/v1/remove` takes, and besides it a webhook. An address that is well formed is taken in; where
    nothing can be fetched from it, the task fails and says why.
    """
    async with actions.authorize_tasks(request) as account:
        incoming = await options.read(request)
        parsed, several = _parse(request, incoming)
        batch = str(uuid.uuid4()) if several else None
        made = await actions.submit(request, account, parsed, hook=_hook_of(incoming.fields), batch=batch)
    where = f"tasks/{made[0].id}" if batch is None else f"batches/{batch}"
    shown = [_shown(request, task) for task in made]
    return http.json_response(
        shown[0] if batch is None else {"batch": batch, "tasks": shown},
        status=202,
        headers={"Location": f"{base_address(request)}/api/v1/{where}"},
    )


@router.get(
    "/tasks",
    summary="The tasks of the key",
    response_class=Response,
    openapi_extra={
        "parameters": [
            _query("limit", openapi.plain("integer", "how many; 50 by default", least=1, most=_MOST_LISTED)),
            _query("after", openapi.plain("string", "go on behind the task with this id")),
            _query("batch", openapi.plain("string", "only tasks of this batch")),
        ]
    },
    responses=openapi.success(
        "The newest first",
        openapi.content(
            [openapi.JSON],
            openapi.obj(
                {
                    "tasks": openapi.array(_TASK),
                    "next": openapi.plain(
                        "string", "`after` of the next page; null where there is none", nullable=True
                    ),
                }
            ),
            example={"tasks": [_EXAMPLE], "next": None},
        ),
    )
    | failures((400, Kind.INVALID_PARAMETER, "limit must be a whole number from 1 to 200."), NO_KEY, _NOT_FOUND),
)
async def listing(request: Request) -> Response:
    """The tasks that were queued with this key, the newest first."""
    account = actions.authenticate(request)
    given = fields.query(request, max_bytes=0)
    limit = given.integer("limit", least=1, most=_MOST_LISTED) or 50
    found = await actions.tasks_of(
        request, account, limit=limit + 1, after=given.text("after"), batch=given.text("batch")
    )
    page = found[:limit]
    return http.json_response(
        {
            "tasks": [_shown(request, task) for task in page],
            "next": page[-1].id if len(found) > limit else None,
        }
    )


@router.get(
    "/tasks/{task_id}",
    summary="How a task is getting on",
    response_class=Response,
    openapi_extra={"parameters": [_in_path("task_id")]},
    responses=_one("The task") | failures(NO_KEY, _NOT_FOUND),
)
async def status(request: Request) -> Response:
    """The task, as it stands now."""
    task = await actions.task(request, actions.authenticate(request), request.path_params["task_id"])
    return http.json_response(_shown(request, task))


@router.delete(
    "/tasks/{task_id}",
    summary="Cancel a task",
    response_class=Response,
    openapi_extra={"parameters": [_in_path("task_id")]},
    responses=_one("The task, cancelled")
    | failures(NO_KEY, _NOT_FOUND, (409, Kind.CONFLICT, "This task has ended already.")),
)
async def cancel(request: Request) -> Response:
    """Give a task up: what is not begun is never done, what is being done is thrown away. No webhook is sent."""
    task = await actions.cancel(request, actions.authenticate(request), request.path_params["task_id"])
    return http.json_response(_shown(request, task))


@router.get(
    "/tasks/{task_id}/events",
    summary="Watch a task",
    response_class=Response,
    openapi_extra={"parameters": [_in_path("task_id")]},
    responses=openapi.success(
        "Server-sent events: `event: task` with the task as `data` whenever its status or progress changes. The stream "
        "ends with the task, or after 25 seconds.",
        openapi.content([_EVENT_STREAM], openapi.plain("string", "events")),
    )
    | failures(NO_KEY, _NOT_FOUND),
)
async def events(request: Request) -> Response:
    """Each change of a task as it happens, the first event being how it stands.

    Browsers ask again when a stream ends, and say with `Last-Event-ID` what they have seen: that is not said again, and
    204 tells them that there is nothing more.
    """
    account = actions.authenticate(request)
    task_id = request.path_params["task_id"]
    task = await actions.task(request, account, task_id)
    seen = request.headers.get("last-event-id", "")
    if task.status in _FINAL and seen == _event_id(task):
        return Response(status_code=204)

    async def stream() -> AsyncIterator[bytes]:
        begin = said = time.monotonic()
        now, last = task, seen
        yield b"retry: %d\n\n" % _AGAIN_MILLISECONDS
        while True:
            current = time.monotonic()
            if (key := _event_id(now)) != last:
                last, said = key, current
                yield b"event: task\nid: %b\ndata: %b\n\n" % (key.encode(), pydantic_core.to_json(_shown(request, now)))
            elif current - said >= _HEARTBEAT:
                said = current
                yield b": still here\n\n"
            if now.status in _FINAL or current - begin >= _LONGEST_WATCH:
                return
            await anyio.sleep(_LOOK)
            try:
                now = await actions.task(request, account, task_id)
            except MatteboxError as error:
                if error.kind is not Kind.UNAVAILABLE:
                    return  # it is forgotten, and whoever asks again is told so
                # The database is away for a moment; the connection need not be.

    return StreamingResponse(
        stream(), media_type=_EVENT_STREAM, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


def _event_id(task: Task) -> str:
    return f"{task.status}-{task.progress}"


@router.get(
    "/batches/{batch_id}",
    summary="How a batch is getting on",
    response_class=Response,
    openapi_extra={"parameters": [_in_path("batch_id")]},
    responses=openapi.success(
        "The summary",
        openapi.content(
            [openapi.JSON],
            _BATCH,
            example={
                "batch": "6f1f0c1e-8d43-4a63-b8a7-9c1f0e6a3a10",
                "finished": False,
                "total": 3,
                "counts": {"queued": 1, "running": 1, "succeeded": 1, "failed": 0, "cancelled": 0},
                "created": "2026-11-20T09:00:00.000Z",
            },
        ),
    )
    | failures(NO_KEY, (404, Kind.NOT_FOUND, "There is no batch with this id.")),
)
async def summary(request: Request) -> Response:
    """How many tasks of a batch stand where. The tasks themselves: `/api/v1/tasks?batch=`."""
    account = actions.authenticate(request)
    batch_id = request.path_params["batch_id"]
    found = await actions.tasks_of(request, account, limit=MOST_EDITS, after=None, batch=batch_id)
    if not found:
        raise MatteboxError(Kind.NOT_FOUND, "There is no batch with this id.")
    counts = Counter(task.status for task in found)
    return http.json_response(
        {
            "batch": batch_id,
            "finished": all(status in _FINAL for status in counts),
            "total": len(found),
            "counts": {status.value: counts[status] for status in Status},
            "created": _rfc3339(min(task.created for task in found)),
        }
    )
