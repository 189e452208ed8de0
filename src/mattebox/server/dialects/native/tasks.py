"""The native API's tasks: edits that are done later, batches of them, and how they are getting on."""

from __future__ import annotations

import binascii
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, ClassVar, TypeAlias

import pybase64
import pydantic_core
from pydantic import AliasPath, ConfigDict, PlainSerializer

from mattebox.edit import Edit, Format
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Served
from mattebox.options import narrowed
from mattebox.server.dialects import base
from mattebox.server.dialects.native import options
from mattebox.server.dialects.native.options import SceneFields
from mattebox.server.dialects.native.problem import failures
from mattebox.server.http import bodies, openapi
from mattebox.server.http.negotiation import PictureFacts
from mattebox.server.jobs import Hook, Status, Task
from mattebox.server.jobs.webhooks import result_address
from mattebox.server.store.blobs import expiry_of

MOST_EDITS = 1000
"""In one batch."""
MOST_LISTED = 200
FINAL = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


# --- from the request --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _ReadSecret(base.Reader):
    """The secret of a webhook."""

    def read(self, value: object) -> str:
        secret = base.ReadText().read(value)
        try:
            length = len(pybase64.b64decode(secret.removeprefix("whsec_"), validate=True))
        except (ValueError, binascii.Error):
            length = 0
        if not 24 <= length <= 64:
            raise base.Refusal("must be 24 to 64 bytes in base64")
        return secret

    @property
    def schema(self) -> openapi.Schema:
        return {"type": "string"}


class EditFields(SceneFields):
    """The fields of an edit that is done later."""

    format: Format | None = narrowed(SceneFields, "format", description="The result's file format; PNG by default.")


class TaskFields(EditFields):
    """The fields of one task: those of `/api/v1/remove`, a prompt, and a webhook."""

    webhook: Annotated[str | None, base.ReadAddress("webhook's")] = base.Field(
        None, description="An http or https address that is sent the task when it has ended."
    )
    webhook_secret: Annotated[str | None, _ReadSecret(), base.Relation(requires=("webhook",))] = base.Field(
        None,
        description="Signs the webhook as Standard Webhooks has it: 24 to 64 bytes in base64, after `whsec_` or bare.",
    )

    @property
    def hook(self) -> Hook | None:
        """The webhook."""
        return None if self.webhook is None else Hook(self.webhook, self.webhook_secret)


@dataclass(frozen=True)
class _ReadEdits(base.Reader):
    """The edits of a batch, each an object whose fields are read later, over those beside the list."""

    def read(self, value: object) -> list[object]:
        if not isinstance(value, list) or not 1 <= len(value) <= MOST_EDITS:
            raise base.Refusal(f"must be a list of 1 to {MOST_EDITS} objects")
        return value

    @property
    def schema(self) -> openapi.Schema:
        return {"type": "array", "items": openapi.json_object(EditFields), "minItems": 1, "maxItems": MOST_EDITS}


class JsonFields(TaskFields):
    """The members of a JSON body, which may be a batch."""

    own: ClassVar[frozenset[str]] = frozenset(("edits", "webhook", "webhook_secret"))
    """Those that are no part of an edit."""

    edits: Annotated[list[object] | None, _ReadEdits()] = base.Field(
        None,
        description="Instead of a picture: a batch, each edit a task of its own. What stands beside the list holds for "
        "all that do not say otherwise.",
    )

    @classmethod
    def check_names(cls, names: Collection[str]) -> None:
        """Refuse a task without a photo, and pictures beside a batch.

        Raises:
            MatteboxError: MISSING_IMAGE or INVALID_PARAMETER.
        """
        if "edits" not in names:
            super().check_names(names)
        elif "image" in names or "image_url" in names:
            raise _refused("edits", "In a batch, each of edits has its own picture.")
        elif "background_image" in names:
            # It would be stored once for each of up to a thousand edits.
            raise _refused(
                "background_image",
                "In a batch, background_image belongs into the edits themselves; background_image_url may stand beside "
                "them.",
            )

    def check_relations(self, called: Callable[[str], str] = str) -> None:
        """Refuse fields that cannot be combined, or lack another one; what is beside a batch may find it in an edit.

        Raises:
            MatteboxError: INVALID_PARAMETER.
        """
        if self.edits is None:
            super().check_relations(called)
        elif self.webhook is None and self.webhook_secret is not None:
            raise _refused("webhook_secret", "webhook_secret requires webhook.")


def _refused(name: str, sentence: str) -> MatteboxError:
    return MatteboxError(Kind.INVALID_PARAMETER, sentence, parameter=name)


def _members(request: base.Request, edits: list[object], values: bodies.Values) -> list[EditFields]:
    """The edits of a batch, each over the values beside the list. Failures name them as `edits[3].crop`."""
    common = {name: value for name, value in values.items() if name not in JsonFields.own}
    found = []
    for number, edit in enumerate(edits):
        place = f"edits[{number}]"
        if not isinstance(edit, Mapping):
            raise _refused(place, f"{place} must be an object.")
        own = bodies.present(edit)

        def called(name: str, place: str = place, own: Mapping[str, object] = own) -> str:
            return name if name in common and name not in own else f"{place}.{name}"

        found.append(options.as_model(request, EditFields, {**common, **own}, called=called))
    return found


def _asked(given: EditFields) -> tuple[Edit, base.Sources]:
    return given.to_edit(format=Format.PNG), given.sources


# --- to the response ---------------------------------------------------------------------------------------------


def _rfc3339(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Time: TypeAlias = Annotated[
    float | None, PlainSerializer(_rfc3339, return_type=str | None), base.Field(description="RFC 3339")
]
"""Seconds since 1970, shown as a moment."""


class Result(PictureFacts):
    """The finished picture of a task."""

    url: str | None = base.Field(description="needs no key; null once it has expired")
    backdrop: Served | None = base.Field(description="what served the prompt; null where there was none")
    expires: Time


class WebhookState(base.BaseModel):
    """The webhook of a task."""

    model_config = ConfigDict(from_attributes=True)

    url: str = base.Field(validation_alias=AliasPath("hook", "url"), description="its address")
    delivered: Annotated[Time, base.Field(validation_alias="announced")]
    attempts: int = base.Field(validation_alias="hook_attempts", description="how often it was sent")
    last_attempt: Annotated[Time, base.Field(validation_alias="hook_attempted")]
    failure: str | None = base.Field(validation_alias="hook_failure", description="why the last attempt failed")


class TaskState(base.BaseModel):
    """A task as it stands."""

    id: str = base.Field(description="of the task")
    status: Status = base.Field(description="the last three are final")
    progress: int = base.Field(description="0 to 100")
    kind: Kind | None = base.Field(description="what made it fail, as `kind` of a failed request")
    reason: str | None = base.Field(description="why it failed, in one sentence")
    created: Time
    started: Time
    finished: Time
    result: Result | None
    batch: str | None = base.Field(description="the batch that it is one of")
    webhook: WebhookState | None


class TaskPage(base.BaseModel):
    """Some tasks of a key."""

    tasks: list[TaskState]
    next: str | None = base.Field(description="`after` of the next page; null where there is none")


class BatchSummary(base.BaseModel):
    """How many tasks of a batch stand where."""

    batch: str = base.Field(description="of the batch")
    finished: bool = base.Field(description="whether every task has ended")
    total: int = base.Field(description="how many tasks it has")
    counts: dict[Status, int] = base.Field(description="how many tasks have each status")
    created: Time


def _state(task: Task, address: str | None) -> TaskState:
    """A task as everybody sees it; `address` is where its result is."""
    result = None
    if task.result is not None:
        expires = expiry_of(task.result.name)
        url = address if expires is None or time.time() < expires else None
        facts = dict(PictureFacts.model_validate(task.result))
        result = Result(**facts, url=url, backdrop=task.result.served, expires=expires)
    return TaskState(
        id=task.id,
        status=task.status,
        progress=task.progress,
        kind=task.kind,
        reason=task.reason,
        created=task.created,
        started=task.started,
        finished=task.finished,
        result=result,
        batch=task.batch,
        webhook=None if task.hook is None else WebhookState.model_validate(task),
    )


def shown(request: base.Request, task: Task) -> TaskState:
    """The task as its key sees it, with the address of its result."""
    result = task.result
    return _state(task, None if result is None else result_address(base.base_address(request), result))


def webhook_body(task: Task, address: str | None) -> bytes:
    """The webhook's body; `address` is where the result is."""
    body = {"type": f"task.{task.status}", "timestamp": _rfc3339(task.finished), "data": _state(task, address)}
    return pydantic_core.to_json(body)


# --- the routes --------------------------------------------------------------------------------------------------

router = options.router_for("mattebox: tasks")


@router.post(
    "/tasks",
    summary="Remove or replace the background later",
    status_code=202,
    openapi_extra=options.described(
        TaskFields,
        json=JsonFields,
        example={"image_url": "https://example.com/photo.jpg", "format": "webp", "webhook": "https://example.com/done"},
    ),
    responses=openapi.result(
        "The task; of a batch `batch`, its id, and `tasks`",
        model=TaskState,
        status=202,
        headers={"Location": "the address of the task, or of the batch"},
    )
    | failures(
        Kind.INVALID_PARAMETER,
        Kind.OUT_OF_CREDITS,
        Kind.TOO_MANY_BYTES,
        Kind.OVERLOADED,
        Kind.UNAVAILABLE,
        statuses=(415,),
    ),
)
async def create(request: base.Request) -> base.Response:
    """Queue one task, or a batch of them: all or none.

    It takes what `/api/v1/remove` and `/api/v1/replace` take, and besides it a webhook. An address that is well formed
    is taken in; where nothing can be fetched from it, or nothing here shows what a prompt says, the task fails and says
    why.
    """
    async with base.actions.authorize_tasks(request) as account:
        values = await options.read_values(request)
        given = options.as_model(request, JsonFields, values)
        batch = None if given.edits is None else str(uuid.uuid4())
        edits = [given] if given.edits is None else _members(request, given.edits, values)
        asked = [_asked(each) for each in edits]
        made = await base.actions.submit(request, account, asked, hook=given.hook, batch=batch)
    where = f"tasks/{made[0].id}" if batch is None else f"batches/{batch}"
    states = [shown(request, task) for task in made]
    return base.json_response(
        states[0] if batch is None else {"batch": batch, "tasks": states},
        status=202,
        headers={"Location": f"{base.base_address(request)}/api/v1/{where}"},
    )


class Listing(base.Fields):
    """The query of the list."""

    limit: Annotated[int, base.Whole(1, MOST_LISTED)] = base.Field(50, description="how many")
    after: base.Text | None = base.Field(None, description="go on behind the task with this id")
    batch: base.Text | None = base.Field(None, description="only tasks of this batch")


@router.get(
    "/tasks",
    summary="The tasks of the key",
    openapi_extra=openapi.request(query=Listing),
    responses=openapi.result("The newest first", model=TaskPage) | failures(Kind.INVALID_PARAMETER, Kind.NOT_FOUND),
)
async def listing(request: base.Request) -> base.Response:
    """The tasks that were queued with this key, the newest first."""
    account = await base.actions.authenticate(request)
    given = base.read_query(request, Listing)
    found = await base.actions.tasks_of(request, account, limit=given.limit + 1, after=given.after, batch=given.batch)
    page = found[: given.limit]
    following = page[-1].id if len(found) > given.limit else None
    return base.json_response(TaskPage(tasks=[shown(request, task) for task in page], next=following))


@router.get(
    "/tasks/{task_id}",
    summary="How a task is getting on",
    openapi_extra=openapi.request(parameters=[openapi.in_path("task_id")]),
    responses=openapi.result("The task", model=TaskState) | failures(Kind.NOT_FOUND),
)
async def status(request: base.Request) -> base.Response:
    """The task, as it stands now."""
    task = await base.actions.task(request, await base.actions.authenticate(request), request.path_params["task_id"])
    return base.json_response(shown(request, task))


@router.delete(
    "/tasks/{task_id}",
    summary="Cancel a task",
    openapi_extra=openapi.request(parameters=[openapi.in_path("task_id")]),
    responses=openapi.result("The task, cancelled", model=TaskState) | failures(Kind.NOT_FOUND, Kind.CONFLICT),
)
async def cancel(request: base.Request) -> base.Response:
    """Give a task up: what is not begun is never done, what is being done is thrown away. No webhook is sent."""
    task = await base.actions.cancel(request, await base.actions.authenticate(request), request.path_params["task_id"])
    return base.json_response(shown(request, task))


@router.get(
    "/batches/{batch_id}",
    summary="How a batch is getting on",
    openapi_extra=openapi.request(parameters=[openapi.in_path("batch_id")]),
    responses=openapi.result("The summary", model=BatchSummary) | failures(Kind.NOT_FOUND),
)
async def summary(request: base.Request) -> base.Response:
    """How many tasks of a batch stand where. The tasks themselves: `/api/v1/tasks?batch=`."""
    account = await base.actions.authenticate(request)
    batch_id = request.path_params["batch_id"]
    found = await base.actions.tasks_of(request, account, limit=MOST_EDITS, after=None, batch=batch_id)
    if not found:
        raise MatteboxError(Kind.NOT_FOUND, "There is no batch with this id.")
    counts = Counter(task.status for task in found)
    return base.json_response(
        BatchSummary(
            batch=batch_id,
            finished=all(status in FINAL for status in counts),
            total=len(found),
            counts={status: counts[status] for status in Status},
            created=min(task.created for task in found),
        )
    )
