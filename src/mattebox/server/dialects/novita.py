"""Novita AI: `POST /v3/remove-background`, JSON with the picture in base64 both ways, and the same as a task.

A task's answer is written in the value forms that the vendor's own clients survive: digits as text, integers, lists
that may be empty but are never null.
"""

from __future__ import annotations

import time

import anyio.to_thread
import numpy as np
import pybase64
import pydantic_core
from fastapi import APIRouter, Security
from fastapi.security import HTTPBearer
from starlette.requests import Request
from starlette.responses import Response

from mattebox import codec
from mattebox.backdrops import LONGEST_PROMPT
from mattebox.codec import Limits
from mattebox.edit import Edit, Format, Output, Prompt, Transparent
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Image
from mattebox.server import actions
from mattebox.server.http import dialect as http
from mattebox.server.http import fields, openapi
from mattebox.server.jobs import Hook, Status, Task
from mattebox.server.jobs.webhooks import result_address
from mattebox.server.state import base_address, limits
from mattebox.server.store.blobs import Blobs, expiry_of, media_type_of, new_result_name
from mattebox.sources import Link, Source, Sources, Upload

_REASON = {
    Kind.INVALID_REQUEST: "INVALID_REQUEST_BODY",
    Kind.INVALID_PARAMETER: "INVALID_REQUEST_BODY",
    Kind.MISSING_IMAGE: "INVALID_REQUEST_BODY",
    Kind.UNREADABLE_IMAGE: "INVALID_IMAGE_FORMAT",
    Kind.NO_SUBJECT: "INVALID_IMAGE_FORMAT",
    Kind.TOO_MANY_BYTES: "IMAGE_FILE_EXCEEDS_MAX_SIZE",
    Kind.TOO_MANY_PIXELS: "IMAGE_EXCEEDS_MAX_RESOLUTION",
    Kind.UNREACHABLE_SOURCE: "INVALID_REQUEST_BODY",
    Kind.MISSING_KEY: "MISSING_API_KEY",
    Kind.INVALID_KEY: "INVALID_API_KEY",
    Kind.FORBIDDEN: "API_NOT_ALLOWED",
    Kind.OUT_OF_CREDITS: "BILLING_BALANCE_NOT_ENOUGH",
    Kind.NOT_FOUND: "API_NOT_FOUND",
    Kind.CONFLICT: "INVALID_REQUEST_BODY",
    Kind.OVERLOADED: "RATE_LIMIT_EXCEEDED",
    Kind.TIMED_OUT: "TASK_FAILED",
    Kind.CANCELLED: "TASK_FAILED",
    Kind.UNAVAILABLE: "TASK_FAILED",
    Kind.NOT_OFFERED: "FEATURE_NOT_ALLOWED",
    Kind.INTERNAL: "TASK_FAILED",
}
_FORMATS = {"png": Format.PNG, "webp": Format.WEBP, "jpeg": Format.JPEG, "jpg": Format.JPEG}
_STORAGE = "extra.custom_storage"
_MORE_PRECISELY = {
    (Kind.NOT_FOUND, "task_id"): "TASK_NOT_FOUND",
    (Kind.INVALID_PARAMETER, _STORAGE): "INVALID_CUSTOM_OUTPUT_PATH",
}
# The vendor's table of errors, where it says otherwise than ours.
_STATUS = {
    Kind.TOO_MANY_BYTES: 400,
    Kind.TOO_MANY_PIXELS: 400,
    Kind.MISSING_KEY: 400,
    Kind.INVALID_KEY: 403,
    Kind.OUT_OF_CREDITS: 400,
    Kind.TIMED_OUT: 500,
    Kind.UNAVAILABLE: 500,
    Kind.NOT_OFFERED: 403,
}


def render_error(error: MatteboxError, status: int, request_id: str) -> Response:
    """A failure as the vendor writes it; `metadata` names the parameter and the request."""
    metadata = {"request_id": request_id} | ({"parameter": error.parameter} if error.parameter else {})
    reason = _MORE_PRECISELY.get((error.kind, error.parameter or ""), _REASON[error.kind])
    body = {"code": status, "reason": reason, "message": error.message, "metadata": metadata}
    return http.json_response(body, status=status)


async def parse(request: Request, *, replacement: bool = False) -> tuple[Edit, Sources]:
    """The vendor's words to ours. `enterprise_plan` only steers the vendor's queues, so it says nothing here.

    Args:
        request: its body must not have been read yet.
        replacement: the background is not removed, but replaced by what the prompt says.
    """
    body = await fields.json(request, max_bytes=limits(request).max_bytes, picture="image_file")
    picture = body.base64("image_file")
    if picture is None:
        raise MatteboxError(Kind.MISSING_IMAGE, "image_file is required.", parameter="image_file")
    chosen = body.group("extra").choice("response_image_type", _FORMATS, Format.PNG)
    backdrop = _prompt(body) if replacement else Transparent()
    return Edit(backdrop=backdrop, output=Output(format=chosen)), Sources(Upload(picture))


def _prompt(body: fields.Fields) -> Prompt:
    """The vendor's page has no prompt where it has to be; without one it is a plain studio."""
    text = body.text("prompt", longest=LONGEST_PROMPT) or ""
    return Prompt(text=text, seed=body.integer("seed", least=-(2**63), most=2**63 - 1) or 0)


# --- tasks: from the request -------------------------------------------------------------------------------------

_IMAGE = ("image", "image_file")
"""The vendor's page has the first; what is in use at the vendor's other asynchronous APIs is the second, and it is
the first to be asked for where the background is replaced."""

_SUCCEED, _FAILED = "TASK_STATUS_SUCCEED", "TASK_STATUS_FAILED"
# There is a word for a status that is not known; the vendor's own client dies of it, so it is never said.
_STATUSES = {
    Status.QUEUED: "TASK_STATUS_QUEUED",
    Status.RUNNING: "TASK_STATUS_PROCESSING",
    Status.SUCCEEDED: _SUCCEED,
    Status.FAILED: _FAILED,
    Status.CANCELLED: _FAILED,
}
_TESTED = {word.lower(): word for word in _STATUSES.values()}

_TEST, _SAMPLE, _WEBHOOK = "test", "sample", "webhook"
"""Names in `Task.extra`: the status that a test asked for, the picture that it shows, the request's webhook object."""
_SAMPLE_SECONDS = 3600.0
_NOWHERE = Link("http://0.0.0.0:1/")
"""Fails before anything is connected to. A test is a task with this picture: it is kept, found and announced like any
other, costs no work, and its credit is given back."""


async def parse_task(
    request: Request, *, replacement: bool = False
) -> tuple[Edit, Sources, Hook | None, dict[str, object]]:
    """The vendor's words to ours, for a task: what to do, whom to tell, and what to remember.

    Args:
        request: its body must not have been read yet.
        replacement: the background is not removed, but replaced by what the prompt says.
    """
    names = _IMAGE[::-1] if replacement else _IMAGE
    body = await fields.json(request, max_bytes=limits(request).max_bytes, picture=names[0])
    extra = body.group("extra")
    if "custom_storage" in extra.names:
        raise MatteboxError(Kind.INVALID_PARAMETER, "Results go to this server's own storage only.", parameter=_STORAGE)
    chosen = extra.choice("response_image_type", _FORMATS, Format.PNG)
    webhook = extra.group("webhook")
    url = webhook.address("url", what="webhook's")
    test = webhook.group("test_mode")
    asked = test.choice("return_task_status", _TESTED, _SUCCEED) if test.flag("enabled") else None
    shown: dict[str, object] = {"url": url or ""} | (
        {"test_mode": {"enabled": True, "return_task_status": asked}} if asked else {}
    )
    remembered: dict[str, object] = ({_WEBHOOK: shown} if url else {}) | ({_TEST: asked} if asked else {})
    backdrop = _prompt(body) if replacement else Transparent()
    edit = Edit(backdrop=backdrop, output=Output(format=chosen))
    return edit, Sources(_source(body, names)), Hook(url) if url else None, remembered


def _source(body: fields.Fields, names: tuple[str, ...]) -> Source:
    if body.is_address(*names):
        url = body.address(*names)
        if url is not None:
            return Link(url)
    picture = body.base64(*names)
    if picture is None:
        raise MatteboxError(Kind.MISSING_IMAGE, f"{names[0]} is required.", parameter=names[0])
    return Upload(picture)


def _store_sample(blobs: Blobs, output: Output) -> str:
    """What a test succeeds with: one clear pixel, so that a receiver finds something at the address."""
    clear = None if output.format is Format.JPEG else np.zeros((1, 1), np.float32)
    pixel = codec.encode(Image(rgb=np.full((1, 1, 3), 255, np.uint8), alpha=clear), output)
    name = new_result_name(codec.extension(output.format), keep=_SAMPLE_SECONDS, now=time.time())
    blobs.put(name, pixel, media_type=codec.media_type(output.format))
    return name


# --- tasks: to the answer ----------------------------------------------------------------------------------------


def _shown(task: Task, address: str | None, *, now: float, webhook: bool = False) -> dict[str, object]:
    """A task in the vendor's words; `address` is where its result is, `webhook` adds the request's webhook object."""
    test = task.extra.get(_TEST)
    status = _STATUSES[task.status] if test is None else str(test)
    images: list[object] = []
    progress, reason = task.progress, task.reason or ""
    if task.status is Status.CANCELLED:
        reason = "The task was cancelled."
    if test is not None:
        progress = 100 if status in (_SUCCEED, _FAILED) else 0
        reason = "This is a test." if status == _FAILED else ""
    if status == _SUCCEED:
        sample = task.extra.get(_SAMPLE)
        name = task.result.name if task.result else str(sample or "")
        images = [_image(name, address or "", now)] if name else []
    return {
        "extra": {
            "seed": str(task.edit.backdrop.seed if isinstance(task.edit.backdrop, Prompt) else 0),
            "enable_nsfw_detection": False,
            "debug_info": {
                "request_info": "",
                "submit_time_ms": _milliseconds(task.created),
                "execute_time_ms": _milliseconds(task.started),
                "complete_time_ms": _milliseconds(task.finished),
            },
            **({_WEBHOOK: task.extra.get(_WEBHOOK, {})} if webhook else {}),
        },
        "task": {
            "task_id": task.id,
            "task_type": "REPLACE_BACKGROUND" if isinstance(task.edit.backdrop, Prompt) else "IMAGE_REMOVE_BACKGROUND",
            "status": status,
            "reason": reason,
            "eta": 0,
            "progress_percent": progress,
        },
        "images": images,
        "videos": [],
        "audios": [],
    }


def _image(name: str, address: str, now: float) -> dict[str, object]:
    expires = expiry_of(name)
    return {
        "image_url": address,
        "image_url_ttl": str(max(0, int((expires or now) - now))),
        "image_type": media_type_of(name).rpartition("/")[2],
        "nsfw_detection_result": None,
    }


def _milliseconds(seconds: float | None) -> str:
    return str(round(1000 * (seconds or 0)))


def _address(task: Task, base: str) -> str | None:
    """Where the task's result is, or what a test shows instead of one."""
    if task.result is not None:
        return result_address(base, task.result)
    sample = task.extra.get(_SAMPLE)
    return f"{base}/{sample}" if isinstance(sample, str) else None


def webhook_body(task: Task, address: str | None) -> bytes:
    """The webhook's body; `address` is where the result is."""
    address = address or _address(task, str(task.extra.get("base", "")))
    payload = _shown(task, address, now=time.time(), webhook=True)
    return pydantic_core.to_json({"event_type": "ASYNC_TASK_RESULT", "payload": payload})


# --- the OpenAPI page --------------------------------------------------------------------------------------------


_ERROR = openapi.obj(
    {
        "code": openapi.plain("integer", "the HTTP status"),
        "reason": openapi.plain("string", "one of the vendor's words"),
        "message": openapi.plain("string", "one sentence"),
        "metadata": openapi.obj({}),
    }
)


def _example(code: int, reason: str, message: str) -> openapi.Schema:
    return {"code": code, "reason": reason, "message": message, "metadata": {}}


_FAILURES = openapi.failures(
    _ERROR,
    {
        400: _example(400, "INVALID_REQUEST_BODY", "image_file is not valid base64."),
        403: _example(403, "INVALID_API_KEY", "This API key is not known."),
        429: _example(429, "RATE_LIMIT_EXCEEDED", "Too many pictures are waiting; please try again in a moment."),
        500: _example(500, "TASK_FAILED", "Something went wrong inside the server; its log says more."),
    },
)
_BODY = openapi.obj(
    {
        "image_file": openapi.plain("string", "The picture in base64; a data URL is accepted too."),
        "extra": openapi.obj(
            {
                "response_image_type": openapi.word(
                    ("png", "webp", "jpeg"), "JPEG has no alpha: the subject is on white.", default="png"
                ),
                "enterprise_plan": openapi.obj({"enabled": openapi.plain("boolean", "Ignored.")}),
            }
        ),
    },
    required=("image_file",),
)
_REPLACEMENT = {
    "prompt": openapi.plain("string", "Where the subject is to be, in English; without it, in a plain studio."),
    "seed": openapi.plain("integer", "The same seed gives the same picture; 0."),
}
_RESULT_TYPE = {"response_image_type": openapi.word(("png", "webp", "jpeg"), "What the result is.", default="png")}
_REPLACEMENT_BODY = openapi.obj(
    {
        "image_file": openapi.plain("string", "The picture in base64; a data URL is accepted too."),
        **_REPLACEMENT,
        "extra": openapi.obj(_RESULT_TYPE),
    },
    required=("image_file",),
)
_RESULT = openapi.obj(
    {
        "image_file": openapi.plain("string", "The result in bare base64."),
        "image_type": openapi.plain("string", "png, webp or jpeg"),
    }
)

_WEBHOOK_SCHEMA = openapi.obj(
    {
        "url": openapi.plain("string", "An http or https address that is sent the task's result when it has ended."),
        "test_mode": openapi.obj(
            {
                "enabled": openapi.plain("boolean", "Do no work: the task has the status below at once."),
                "return_task_status": openapi.word(tuple(_TESTED.values()), "What a test shows.", default=_SUCCEED),
            }
        ),
    }
)
_TASK_BODY = openapi.obj(
    {
        "image": openapi.plain("string", "The picture's address; base64 and a data URL are accepted too."),
        "extra": openapi.obj(
            {
                "response_image_type": openapi.word(
                    ("png", "webp", "jpeg"), "JPEG has no alpha: the subject is on white.", default="png"
                ),
                "webhook": _WEBHOOK_SCHEMA,
                "enterprise_plan": openapi.obj({"enabled": openapi.plain("boolean", "Ignored.")}),
            }
        ),
    },
    required=("image",),
)
_REPLACEMENT_TASK_BODY = openapi.obj(
    {
        "image_file": openapi.plain("string", "The picture in base64; a data URL and an address are accepted too."),
        **_REPLACEMENT,
        "extra": openapi.obj({**_RESULT_TYPE, "webhook": _WEBHOOK_SCHEMA}),
    },
    required=("image_file",),
)
_TASK_ID = openapi.obj({"task_id": openapi.plain("string", "what to ask for the result with")})
_DIGITS = openapi.plain("string", "digits")
_TASK_RESULT = openapi.obj(
    {
        "extra": openapi.obj(
            {
                "seed": _DIGITS,
                "enable_nsfw_detection": openapi.plain("boolean", "always false"),
                "debug_info": openapi.obj(
                    {
                        "request_info": openapi.plain("string", "always empty"),
                        "submit_time_ms": _DIGITS,
                        "execute_time_ms": _DIGITS,
                        "complete_time_ms": _DIGITS,
                    }
                ),
            }
        ),
        "task": openapi.obj(
            {
                "task_id": openapi.plain("string", "of the task"),
                "task_type": openapi.word(("IMAGE_REMOVE_BACKGROUND", "REPLACE_BACKGROUND"), "what it does"),
                "status": openapi.word(tuple(_TESTED.values()), "the last two are final"),
                "reason": openapi.plain("string", "why it failed, in one sentence"),
                "eta": openapi.plain("integer", "always 0"),
                "progress_percent": openapi.plain("integer", "0 to 100"),
            }
        ),
        "images": openapi.array(
            openapi.obj(
                {
                    "image_url": openapi.plain("string", "needs no key"),
                    "image_url_ttl": openapi.plain("string", "seconds that are left, in digits"),
                    "image_type": openapi.plain("string", "png, webp or jpeg"),
                    "nsfw_detection_result": {"type": "null"},
                }
            )
        ),
        "videos": openapi.array({}),
        "audios": openapi.array({}),
    }
)
_NO_TASK = openapi.failures(_ERROR, {404: _example(404, "TASK_NOT_FOUND", "There is no task with this id.")})

router = APIRouter(
    tags=["Novita AI"],
    dependencies=[Security(HTTPBearer(scheme_name="Novita AI", auto_error=False, description="any configured key"))],
)


@router.post(
    "/v3/remove-background",
    summary="Remove the background",
    response_class=Response,
    openapi_extra={"requestBody": {"required": True, "content": openapi.content([openapi.JSON], _BODY)}},
    responses=openapi.success(
        "The cutout",
        openapi.content([openapi.JSON], _RESULT, example={"image_file": "iVBORw0KGgo…", "image_type": "png"}),
        headers={"X-Mattebox-Subject": "`left,top,width,height`, or `none`"},
    )
    | _FAILURES,
)
async def remove_background(request: Request) -> Response:
    """Cut the subject out of a picture. Where there is none, the result is empty and `X-Mattebox-Subject` is `none`."""
    async with actions.authorize(request) as account:
        edit, sources = await parse(request)
        encoded = await actions.run_edit(request, account, edit, sources, picture="image_file")
    answer = {"image_file": pybase64.b64encode_as_string(encoded.data), "image_type": edit.output.format.value}
    return http.json_response(answer, headers={"X-Mattebox-Subject": http.subject_header(encoded)})


@router.post("/v3/async/remove-background", include_in_schema=False)
@router.post(
    "/v3/async/image-remove-background",
    summary="Remove the background, as a task",
    response_class=Response,
    openapi_extra={"requestBody": {"required": True, "content": openapi.content([openapi.JSON], _TASK_BODY)}},
    responses=openapi.success(
        "The task's id",
        openapi.content([openapi.JSON], _TASK_ID, example={"task_id": "0b8f0c8e-6c0c-4d5e-9f6d-2f1f0f0a7c55"}),
    )
    | _FAILURES,
)
async def remove_background_later(request: Request) -> Response:
    """Queue a picture. Where nothing can be fetched from its address, the task fails and says why."""
    return await _queue(request, replacement=False)


@router.post(
    "/v3/replace-background",
    summary="Replace the background by words",
    response_class=Response,
    openapi_extra={"requestBody": {"required": True, "content": openapi.content([openapi.JSON], _REPLACEMENT_BODY)}},
    responses=openapi.success(
        "The picture",
        openapi.content([openapi.JSON], _RESULT, example={"image_file": "iVBORw0KGgo…", "image_type": "png"}),
        headers={
            "X-Mattebox-Backdrop": "what served the prompt, as in `scenes/warehouse-ramp`",
            "X-Mattebox-Backdrop-Score": "how well it matches, 0 to 1",
            "X-Mattebox-Warning": "where it is not what was asked for",
            "X-Mattebox-Subject": "`left,top,width,height`, or `none`",
        },
    )
    | _FAILURES,
)
async def replace_background(request: Request) -> Response:
    """Put the subject of a picture where the prompt says. A prompt that nothing here shows is refused."""
    async with actions.authorize(request) as account:
        edit, sources = await parse(request, replacement=True)
        encoded = await actions.run_edit(request, account, edit, sources, picture="image_file")
    answer = {"image_file": pybase64.b64encode_as_string(encoded.data), "image_type": edit.output.format.value}
    headers = {"X-Mattebox-Subject": http.subject_header(encoded)} | http.backdrop_headers(encoded)
    return http.json_response(answer, headers=headers)


@router.post(
    "/v3/async/replace-background",
    summary="Replace the background by words, as a task",
    response_class=Response,
    openapi_extra={
        "requestBody": {"required": True, "content": openapi.content([openapi.JSON], _REPLACEMENT_TASK_BODY)}
    },
    responses=openapi.success("The task's id", openapi.content([openapi.JSON], _TASK_ID)) | _FAILURES,
)
async def replace_background_later(request: Request) -> Response:
    """Queue a picture; `image_file` may be its address. A prompt that nothing shows makes the task fail and say so."""
    return await _queue(request, replacement=True)


async def _queue(request: Request, *, replacement: bool) -> Response:
    async with actions.authorize_tasks(request) as account:
        edit, sources, hook, remembered = await parse_task(request, replacement=replacement)
        if _TEST in remembered:
            _, blobs = actions.queue(request)
            if remembered[_TEST] == _SUCCEED:
                remembered[_SAMPLE] = await anyio.to_thread.run_sync(_store_sample, blobs, edit.output)
            sources = Sources(_NOWHERE)
        (task,) = await actions.submit(request, account, [(edit, sources)], hook=hook, extra=remembered)
    return http.json_response({"task_id": task.id})


@router.get("/v3/task_result/{task_id}", include_in_schema=False)
@router.get(
    "/v3/async/task-result",
    summary="How a task is getting on",
    response_class=Response,
    openapi_extra={"parameters": [{"name": "task_id", "in": "query", "required": True, "schema": {"type": "string"}}]},
    responses=openapi.success("The task", openapi.content([openapi.JSON], _TASK_RESULT)) | _FAILURES | _NO_TASK,
)
async def task_result(request: Request) -> Response:
    """The task, and its picture's address once it has succeeded."""
    account = actions.authenticate(request)
    task_id = request.path_params.get("task_id") or fields.query(request, max_bytes=0).text("task_id")
    if task_id is None:
        raise MatteboxError(Kind.INVALID_PARAMETER, "task_id is required.", parameter="task_id")
    try:
        task = await actions.task(request, account, task_id)
    except MatteboxError as error:
        raise error.about("task_id") from error.__cause__
    base = base_address(request)
    return http.json_response(_shown(task, _address(task, base), now=time.time()))


DIALECT = http.Dialect(
    name="novita",
    prefixes=("/v3/",),
    router=router,
    render_error=render_error,
    webhook_body=webhook_body,
    status=_STATUS,
    parameters={"format": "extra.response_image_type"},
    # Pixels are the operator's to limit: the vendor's 16 million are not a promise to refuse more.
    limits=Limits(max_bytes=30 * 2**20, max_pixels=http.NO_LIMITS.max_pixels),
)
