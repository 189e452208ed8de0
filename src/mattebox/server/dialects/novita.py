"""Novita AI: `POST /v3/remove-background`, JSON with the picture in base64 both ways, and the same as a task.

A task's values are written in the forms that the vendor's own clients survive: digits as text, integers, lists that may
be empty but are never null.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from enum import StrEnum
from typing import Annotated, Literal

import anyio.to_thread
import numpy as np
import pydantic_core
from pydantic import Field, ValidationInfo, ValidatorFunctionWrapHandler, field_validator

from mattebox import codec
from mattebox.edit import Edit, Format, Output, Prompt, Transparent
from mattebox.image import Image
from mattebox.options import LONGEST_PROMPT
from mattebox.server.dialects import base
from mattebox.server.jobs import Hook, Status, Task
from mattebox.server.jobs.webhooks import result_address
from mattebox.server.store.blobs import Blobs, expiry_of, media_type_of, new_result_name

_REASON = {
    base.Kind.UNREADABLE_IMAGE: "INVALID_IMAGE_FORMAT",
    base.Kind.NO_SUBJECT: "INVALID_IMAGE_FORMAT",
    base.Kind.TOO_MANY_BYTES: "IMAGE_FILE_EXCEEDS_MAX_SIZE",
    base.Kind.TOO_MANY_PIXELS: "IMAGE_EXCEEDS_MAX_RESOLUTION",
    base.Kind.MISSING_KEY: "MISSING_API_KEY",
    base.Kind.INVALID_KEY: "INVALID_API_KEY",
    base.Kind.FORBIDDEN: "API_NOT_ALLOWED",
    base.Kind.OUT_OF_CREDITS: "BILLING_BALANCE_NOT_ENOUGH",
    base.Kind.NOT_FOUND: "API_NOT_FOUND",
    base.Kind.OVERLOADED: "RATE_LIMIT_EXCEEDED",
    base.Kind.TIMED_OUT: "TASK_FAILED",
    base.Kind.CANCELLED: "TASK_FAILED",
    base.Kind.UNAVAILABLE: "TASK_FAILED",
    base.Kind.NOT_OFFERED: "FEATURE_NOT_ALLOWED",
    base.Kind.INTERNAL: "TASK_FAILED",
}
_STORAGE = "extra.custom_storage"
_MORE_PRECISELY = {
    (base.Kind.NOT_FOUND, "task_id"): "TASK_NOT_FOUND",
    (base.Kind.INVALID_PARAMETER, _STORAGE): "INVALID_CUSTOM_OUTPUT_PATH",
}
# Where the vendor's table of errors differs from ours.
_STATUS = {
    base.Kind.TOO_MANY_BYTES: 400,
    base.Kind.TOO_MANY_PIXELS: 400,
    base.Kind.MISSING_KEY: 400,
    base.Kind.INVALID_KEY: 403,
    base.Kind.OUT_OF_CREDITS: 400,
    base.Kind.TIMED_OUT: 500,
    base.Kind.UNAVAILABLE: 500,
    base.Kind.NOT_OFFERED: 403,
}


def render_error(error: base.MatteboxError, status: int, request_id: str) -> base.Response:
    """A failure as the vendor writes it; `metadata` names the parameter and the request."""
    metadata = {"request_id": request_id} | ({"parameter": error.parameter} if error.parameter else {})
    reason = _MORE_PRECISELY.get((error.kind, error.parameter or ""), _REASON.get(error.kind, "INVALID_REQUEST_BODY"))
    body = {"code": status, "reason": reason, "message": error.message, "metadata": metadata}
    return base.json_response(body, status=status)


# --- fields ------------------------------------------------------------------------------------------------------


class TaskStatus(StrEnum):
    """The vendor also has a word for an unknown status. Its own client fails on it, so it is left out."""

    QUEUED = "TASK_STATUS_QUEUED"
    PROCESSING = "TASK_STATUS_PROCESSING"
    SUCCEED = "TASK_STATUS_SUCCEED"
    FAILED = "TASK_STATUS_FAILED"


_ENDED = (TaskStatus.SUCCEED, TaskStatus.FAILED)
_STATUSES = {
    Status.QUEUED: TaskStatus.QUEUED,
    Status.RUNNING: TaskStatus.PROCESSING,
    Status.SUCCEEDED: TaskStatus.SUCCEED,
    Status.FAILED: TaskStatus.FAILED,
    Status.CANCELLED: TaskStatus.FAILED,
}
_FORMATS = {"png": Format.PNG, "webp": Format.WEBP, "jpeg": Format.JPEG, "jpg": Format.JPEG}


class _Extra(base.Fields):
    response_image_type: Annotated[Format, base.Word(_FORMATS)] = Field(
        default=Format.PNG, description="JPEG puts a cutout on white."
    )
    enterprise_plan: object = Field(default=None, description="Ignored: it only steers the vendor's queues.")


class _TestMode(base.Fields):
    enabled: base.Flag = Field(default=False, description="Do no work: the task has the status below at once.")
    return_task_status: Annotated[TaskStatus, base.Word(TaskStatus)] = Field(
        default=TaskStatus.SUCCEED, description="The status of a test. Ignored unless `enabled`."
    )

    @field_validator("return_task_status", mode="wrap")
    @classmethod
    def _ignored_unless_enabled(
        cls, value: object, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> object:
        return handler(value) if info.data.get("enabled") else TaskStatus.SUCCEED


class _Webhook(base.Fields):
    url: Annotated[str | None, base.ReadAddress("webhook's")] = Field(
        default=None, description="An http or https address that is sent the task's result when it has ended."
    )
    test_mode: _TestMode = Field(default_factory=_TestMode)

    @property
    def test_status(self) -> str | None:
        return self.test_mode.return_task_status.value if self.test_mode.enabled else None

    @property
    def shown(self) -> dict[str, object]:
        asked = self.test_status
        test = {"test_mode": {"enabled": True, "return_task_status": asked}} if asked else {}
        return {"url": self.url, **test}


class _TaskExtra(_Extra):
    webhook: _Webhook = Field(default_factory=_Webhook)

    @classmethod
    def check_names(cls, names: Collection[str]) -> None:
        if "custom_storage" in names:
            message = "Results can only be kept in this server's own storage."
            raise base.MatteboxError(base.Kind.INVALID_PARAMETER, message, parameter=_STORAGE)


class RemoveFields(base.PhotoFields):
    """Remove the background."""

    photo_fields = ("image_file",)
    photo_missing = "image_file is required."
    image_file: Annotated[bytes | None, base.Base64File()] = Field(
        default=None, description="The picture in base64; a data URL is accepted too."
    )
    extra: _Extra = Field(default_factory=_Extra)


class RemoveTaskFields(base.PhotoFields):
    """Remove the background, as a task. Both names are in use among the vendor's asynchronous routes."""

    photo_fields = ("image",)
    photo_missing = "image is required."
    image: Annotated[bytes | str | None, base.Base64OrAddress()] = Field(
        default=None,
        validation_alias=base.AliasChoices("image", "image_file"),
        description="The picture's address; base64 and a data URL are accepted too.",
    )
    extra: _TaskExtra = Field(default_factory=_TaskExtra)


class _PromptFields(base.Fields):
    prompt: Annotated[str, base.ReadText(LONGEST_PROMPT)] = Field(
        default="", description="Where the subject is to be, in English; without it, in a plain studio."
    )
    seed: Annotated[int, base.Whole(-(2**63), 2**63 - 1)] = Field(
        default=0, description="The same seed gives the same picture."
    )


class ReplaceFields(_PromptFields, RemoveFields):
    """Replace the background."""


class ReplaceTaskFields(_PromptFields, RemoveTaskFields):
    """Replace the background, as a task."""

    photo_missing = "image_file is required."
    image: Annotated[bytes | str | None, base.Base64OrAddress()] = Field(
        default=None,
        validation_alias=base.AliasChoices("image_file", "image"),
        description="The picture in base64; a data URL and an address are accepted too.",
    )


class _TaskQuery(base.Fields):
    task_id: base.Text = Field(description="The task's id.")


def to_edit(given: RemoveFields | RemoveTaskFields) -> Edit:
    """The edit that a request asks for."""
    backdrop = Prompt(text=given.prompt, seed=given.seed) if isinstance(given, _PromptFields) else Transparent()
    return Edit(backdrop=backdrop, output=Output(format=given.extra.response_image_type))


# --- responses ---------------------------------------------------------------------------------------------------


class _Result(base.BaseModel):
    image_file: str = Field(description="The result in bare base64.")
    image_type: str = Field(description="png, webp or jpeg")


class _TaskId(base.BaseModel):
    task_id: str = Field(description="The id to ask for the result with.")


class _DebugInfo(base.BaseModel):
    request_info: str = Field(default="", description="Always empty.")
    submit_time_ms: str
    execute_time_ms: str
    complete_time_ms: str


class _ResultExtra(base.BaseModel):
    seed: str = Field(description="In digits.")
    enable_nsfw_detection: bool = Field(default=False, description="Always false.")
    debug_info: _DebugInfo
    webhook: object = Field(default=None, description="In webhooks only.", exclude_if=lambda value: value is None)


class _TaskState(base.BaseModel):
    task_id: str
    task_type: Literal["IMAGE_REMOVE_BACKGROUND", "REPLACE_BACKGROUND"]
    status: TaskStatus = Field(description="The last two are final.")
    reason: str = Field(description="Why it failed, in one sentence.")
    eta: int = Field(default=0, description="Always 0.")
    progress_percent: int = Field(description="0 to 100.")


class _ResultImage(base.BaseModel):
    image_url: str = Field(description="Needs no key.")
    image_url_ttl: str = Field(description="The seconds that are left, in digits.")
    image_type: str = Field(description="png, webp or jpeg")
    nsfw_detection_result: None = None


class TaskResult(base.BaseModel):
    """A task and, once it has succeeded, its image."""

    extra: _ResultExtra
    task: _TaskState
    images: list[_ResultImage]
    videos: tuple[object, ...] = ()
    audios: tuple[object, ...] = ()


# --- tasks -------------------------------------------------------------------------------------------------------

_TEST, _SAMPLE, _WEBHOOK = "test", "sample", "webhook"
"""Names in `Task.extra`: the status that a test asked for, the picture that it shows, the request's webhook object."""
_SAMPLE_SECONDS = 3600.0
_NOWHERE = base.Link("http://0.0.0.0:1/")
"""Fails before anything is connected to. A test is a task with this picture: it is kept, found and announced like any
other, costs no work, and its credit is given back."""


def _store_sample(blobs: Blobs, output: Output) -> str:
    """The result of a test that succeeds: one clear pixel, so that a receiver finds something at the address."""
    clear = None if output.format is Format.JPEG else np.zeros((1, 1), np.float32)
    pixel = codec.encode(Image(rgb=np.full((1, 1, 3), 255, np.uint8), alpha=clear), output)
    name = new_result_name(codec.extension(output.format), keep=_SAMPLE_SECONDS, now=time.time())
    blobs.put(name, pixel, media_type=codec.media_type(output.format))
    return name


def render(task: Task, address: str | None, *, webhook: bool = False) -> TaskResult:
    """A task as the vendor writes it; `address` is where its result is, `webhook` adds the request's webhook object."""
    now = time.time()
    test, sample = task.extra.get(_TEST), task.extra.get(_SAMPLE)
    prompt = task.edit.backdrop if isinstance(task.edit.backdrop, Prompt) else None
    status = _STATUSES[task.status]
    progress, reason = task.progress, task.reason or ""
    if task.status is Status.CANCELLED:
        reason = "The task was cancelled."
    if test is not None:
        status = TaskStatus(str(test))
        progress = 100 if status in _ENDED else 0
        reason = "This is a test." if status is TaskStatus.FAILED else ""
    name = task.result.name if task.result else str(sample or "")
    return TaskResult(
        extra=_ResultExtra(
            seed=str(prompt.seed if prompt else 0),
            debug_info=_DebugInfo(
                submit_time_ms=_milliseconds(task.created),
                execute_time_ms=_milliseconds(task.started),
                complete_time_ms=_milliseconds(task.finished),
            ),
            webhook=task.extra.get(_WEBHOOK, {}) if webhook else None,
        ),
        task=_TaskState(
            task_id=task.id,
            task_type="REPLACE_BACKGROUND" if prompt else "IMAGE_REMOVE_BACKGROUND",
            status=status,
            reason=reason,
            progress_percent=progress,
        ),
        images=[_image(name, address or "", now)] if name and status is TaskStatus.SUCCEED else [],
    )


def _image(name: str, address: str, now: float) -> _ResultImage:
    left = max(0, int((expiry_of(name) or now) - now))
    kind = media_type_of(name).rpartition("/")[2]
    return _ResultImage(image_url=address, image_url_ttl=str(left), image_type=kind)


def _milliseconds(seconds: float | None) -> str:
    return str(round(1000 * (seconds or 0)))


def _address(task: Task, root: str) -> str | None:
    """The address of the task's result, or of the picture that a test shows instead."""
    if task.result is not None:
        return result_address(root, task.result)
    sample = task.extra.get(_SAMPLE)
    return f"{root}/{sample}" if isinstance(sample, str) else None


def webhook_body(task: Task, address: str | None) -> bytes:
    """The webhook's body; `address` is where the result is."""
    address = address or _address(task, str(task.extra.get("base", "")))
    return pydantic_core.to_json({"event_type": "ASYNC_TASK_RESULT", "payload": render(task, address, webhook=True)})


# --- routes ------------------------------------------------------------------------------------------------------

_RESULT_EXAMPLE = {"image_file": "iVBORw0KGgo…", "image_type": "png"}
_ERRORS = base.openapi.errors(render_error, status=_STATUS)
_NO_TASK = base.openapi.errors(
    lambda error, status, request_id: render_error(error.about("task_id"), status, request_id), (base.Kind.NOT_FOUND,)
)
_QUEUED = base.openapi.result(
    "The task's id", model=_TaskId, example={"task_id": "0b8f0c8e-6c0c-4d5e-9f6d-2f1f0f0a7c55"}
)
router = base.router_for("Novita AI", bearer=True)


@router.post(
    "/v3/remove-background",
    summary="Remove the background",
    openapi_extra=base.openapi.request(json=RemoveFields),
    responses=base.openapi.result("The cutout", model=_Result, headers=base.SUBJECT, example=_RESULT_EXAMPLE) | _ERRORS,
)
@base.edit_endpoint
async def remove_background(request: base.Request) -> base.Response:
    """Cut the subject out of a picture. Where there is none, the result is empty and `X-Mattebox-Subject` is `none`."""
    return await _run_now(request, RemoveFields)


@router.post("/v3/async/remove-background", include_in_schema=False)
@router.post(
    "/v3/async/image-remove-background",
    summary="Remove the background, as a task",
    openapi_extra=base.openapi.request(json=RemoveTaskFields),
    responses=_QUEUED | _ERRORS,
)
async def remove_background_later(request: base.Request) -> base.Response:
    """Queue a picture. If it cannot be fetched from its address, the task fails with the reason."""
    return await _run_later(request, RemoveTaskFields)


@router.post(
    "/v3/replace-background",
    summary="Replace the background by words",
    openapi_extra=base.openapi.request(json=ReplaceFields),
    responses=base.openapi.result(
        "The picture", model=_Result, headers=base.BACKDROP_HEADERS | base.SUBJECT, example=_RESULT_EXAMPLE
    )
    | _ERRORS,
)
@base.edit_endpoint
async def replace_background(request: base.Request) -> base.Response:
    """Put the subject of a picture where the prompt says. `X-Mattebox-Warning` says where it is elsewhere."""
    return await _run_now(request, ReplaceFields)


@router.post(
    "/v3/async/replace-background",
    summary="Replace the background by words, as a task",
    openapi_extra=base.openapi.request(json=ReplaceTaskFields),
    responses=_QUEUED | _ERRORS,
)
async def replace_background_later(request: base.Request) -> base.Response:
    """Queue a picture; `image_file` may be its address. A prompt that nothing here comes near makes it fail."""
    return await _run_later(request, ReplaceTaskFields)


async def _run_now(request: base.Request, model: type[RemoveFields]) -> base.Response:
    async with base.authorize(request) as account:
        given = await base.read_json(request, model, picture="image_file")
        edit = to_edit(given)
        encoded = await base.run_edit(request, account, edit, base.Sources(given.photo_source), picture="image_file")
    result = _Result(image_file=base.as_base64(encoded.data), image_type=edit.output.format.value)
    return base.json_response(
        result, headers={"X-Mattebox-Subject": base.subject_header(encoded)} | base.backdrop_headers(encoded.served)
    )


async def _run_later(request: base.Request, model: type[RemoveTaskFields]) -> base.Response:
    async with base.actions.authorize_tasks(request) as account:
        given = await base.read_json(request, model, picture=model.names_of("image")[0])
        edit, sources, webhook = to_edit(given), base.Sources(given.photo_source), given.extra.webhook
        hook = Hook(webhook.url) if webhook.url else None
        extra: dict[str, object] = {_WEBHOOK: webhook.shown} if hook else {}
        asked = webhook.test_status
        if asked:
            sources = base.Sources(_NOWHERE)
            extra[_TEST] = asked
        if asked == TaskStatus.SUCCEED:
            _, blobs = base.actions.queue(request)
            extra[_SAMPLE] = await anyio.to_thread.run_sync(_store_sample, blobs, edit.output)
        (task,) = await base.actions.submit(request, account, [(edit, sources)], hook=hook, extra=extra)
    return base.json_response(_TaskId(task_id=task.id))


@router.get("/v3/task_result/{task_id}", include_in_schema=False)
@router.get(
    "/v3/async/task-result",
    summary="A task's status and result",
    openapi_extra=base.openapi.request(query=_TaskQuery),
    responses=base.openapi.result("The task", model=TaskResult, headers=base.BACKDROP_HEADERS) | _ERRORS | _NO_TASK,
)
async def task_result(request: base.Request) -> base.Response:
    """The task, and its picture's address once it has succeeded."""
    account = await base.actions.authenticate(request)
    task_id = request.path_params.get("task_id") or base.read_query(request, _TaskQuery).task_id
    with base.blame("task_id"):
        task = await base.actions.task(request, account, task_id)
    headers = {} if task.result is None else base.backdrop_headers(task.result.served)
    return base.json_response(render(task, _address(task, base.base_address(request))), headers=headers)


DIALECT = base.Dialect(
    name="novita",
    prefixes=("/v3/",),
    router=router,
    render_error=render_error,
    webhook_body=webhook_body,
    status=_STATUS,
    parameters={"format": "extra.response_image_type", "webhook": "extra.webhook.url"},
    limits=base.most_bytes(30 * 2**20),  # pixels are the operator's to limit, whatever the vendor refuses
)
