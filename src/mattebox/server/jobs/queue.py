"""The queue, as one process sees it."""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeVar, final

from sqlalchemy import Connection, Engine, Row, delete, func, insert, or_, select, update

from mattebox.edit import Edit
from mattebox.errors import Kind, MatteboxError
from mattebox.server.jobs.leases import Lease
from mattebox.server.jobs.rows import TASKS, result_to_json, task_of
from mattebox.server.jobs.serialization import to_json
from mattebox.server.jobs.values import UNFINISHED, Hook, Status, Task, TaskOptions, Work
from mattebox.server.store.database import connect, create, now, reachable
from mattebox.sources import Link, Sources, Stored

if TYPE_CHECKING:
    from dbos import DBOSClient, EnqueueOptions, WorkflowStatus

T = TypeVar("T")

logger = logging.getLogger(__name__)

APPLICATION = "mattebox"
VERSION = "1"
"""Which workers understand which queue messages. Change it only with the steps below: waiting tasks of another version
are not touched by this one's workers."""
CUT_OUT, ANNOUNCE = "cut_out", "announce"
WORK_QUEUE, WEBHOOK_QUEUE = "mattebox-tasks", "mattebox-webhooks"
WEBHOOKS_AT_A_TIME = 8
"""Webhooks have a queue of their own: somebody's dead server must not keep the pictures of others waiting."""
TRIES = 5
"""How often a step is tried that fails for a reason which names a time to try again."""
LONGEST_PAUSE = 10.0
CLEANING_SECONDS = 60.0
AT_ONCE = 500
"""Rows that one statement removes."""

FETCHED, DONE = 30, 100
DEFECT = "Something went wrong inside mattebox; this picture could not be made."

_RUNNING_HERE = threading.Lock()
"""Held by the Tasks whose workers run in this process: the library behind them can be there only once."""


@final
class Tasks:
    """The queue, as one process sees it. Safe to use from several threads.

    Args:
        database_url: see `database.connect`.
        node: this process's name. It must be the same after a restart, so that what it was doing is taken up at once,
            and no other process may have it.
        work: what is done for a task.
        options: how it is done.
        settle: called with each task that ends, in the transaction that ends it.
    """

    def __init__(
        self,
        database_url: str,
        *,
        node: str,
        work: Work,
        options: TaskOptions | None = None,
        settle: Callable[[Connection, Task], None] | None = None,
    ) -> None:
        self._engine = connect(database_url)
        self._node = node
        self._work = work
        self._options = options or TaskOptions()
        self._lease = Lease(self._engine, node, lease=self._options.lease, beat=self._options.beat)
        self._settle = settle
        self._client: DBOSClient | None = None
        self._stop = threading.Event()
        self._halted = threading.Event()
        self._closed = False
        self._works = False
        self._pulse: threading.Thread | None = None
        self._active: list[str] = []
        self._active_lock = threading.Lock()
        self._missing: set[str] = set()

    @property
    def engine(self) -> Engine:
        """The database, for others who keep something there."""
        return self._engine

    def start(self, *, role: Literal["all", "api", "worker"] = "all") -> None:
        """Take tasks in and, unless `role` is `api`, work on them. Once for each Tasks.

        Raises:
            MatteboxError: UNAVAILABLE where the database is away; CONFLICT where another process lives under this
                node's name, or where this process works on tasks already.
        """
        if self._client is not None or self._closed:
            raise RuntimeError("these tasks were started before")
        create(self._engine)
        try:
            if role != "api":
                self._lease.occupy()
            self._connect()
            if role != "api":
                self._launch()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop working, after giving running tasks their grace, and leave the rest for the next start."""
        self._stop.set()
        if self._pulse is not None:
            self._pulse.join()
        if self._works:
            self._quit(grace=self._options.grace)
        self._lease.sign_off()
        self._closed = True
        if self._client is not None:
            self._client.destroy()
            self._client = None
        self._engine.dispose()

    def submit(
        self,
        owner: str,
        edits: Sequence[tuple[Edit, Sources]],
        *,
        dialect: str,
        hook: Hook | None = None,
        batch: str | None = None,
        extra: Mapping[str, object] | None = None,
        in_transaction: Callable[[Connection], None] | None = None,
    ) -> list[Task]:
        """Queue one task for each edit, in this order: all of them or none.

        Args:
            owner: the account's id.
            edits: what is to be done, and to which pictures; these are links or stored.
            dialect: the name of the dialect that announces the tasks.
            hook: who is told when a task has ended.
            batch: what the tasks have in common, at most 64 characters.
            extra: plain data that the dialect wants to find again in `Task.extra`.
            in_transaction: what must happen together with this, such as a reservation of credits. Where it raises, no
                task is queued.

        Raises:
            ValueError: a source is an Upload.
            MatteboxError: UNAVAILABLE, and whatever `in_transaction` raises.
        """
        rows = [
            {
                "id": str(uuid.uuid4()),
                "owner": owner,
                "dialect": dialect,
                "edit": json.dumps(to_json(edit, sources)),
                "hook_url": hook.url if hook else None,
                "hook_secret": hook.secret if hook else None,
                "batch": batch,
                "extra": json.dumps(dict(extra or {})),
            }
            for edit, sources in edits
        ]
        with reachable(), self._engine.begin() as connection:
            if in_transaction is not None:
                in_transaction(connection)
            if not rows:
                return []
            added = connection.execute(insert(TASKS).returning(TASKS, sort_by_parameter_order=True), rows).all()
            for row in rows:
                self._enqueue(connection, WORK_QUEUE, CUT_OUT, str(row["id"]), row["id"])
        return [task_of(row) for row in added]

    def get(self, task_id: str, owner: str | None = None) -> Task:
        """The task, as it stands now.

        Args:
            task_id: its id.
            owner: only a task of this account is found; None means of any.

        Raises:
            MatteboxError: NOT_FOUND, UNAVAILABLE.
        """
        query = select(TASKS).where(TASKS.c.id == task_id)
        if owner is not None:
            query = query.where(TASKS.c.owner == owner)
        with reachable(), self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise MatteboxError(Kind.NOT_FOUND, "There is no task with this id.")
        return task_of(row)

    def listing(self, owner: str, *, limit: int = 50, after: str | None = None, batch: str | None = None) -> list[Task]:
        """Tasks of an account, the newest first.

        Args:
            owner: the account's id.
            limit: at most so many.
            after: go on behind the task with this id.
            batch: only tasks of this batch.

        Raises:
            MatteboxError: NOT_FOUND where there is no task `after`; UNAVAILABLE.
        """
        query = select(TASKS).where(TASKS.c.owner == owner).order_by(TASKS.c.number.desc()).limit(limit)
        if batch is not None:
            query = query.where(TASKS.c.batch == batch)
        if after is not None:
            last = self.get(after, owner)
            number = select(TASKS.c.number).where(TASKS.c.id == last.id).scalar_subquery()
            query = query.where(TASKS.c.number < number)
        with reachable(), self._engine.connect() as connection:
            return [task_of(row) for row in connection.execute(query)]

    def cancel(self, task_id: str, owner: str | None = None) -> Task:
        """Give the task up. One that is being worked on ends at its next step, and its result is thrown away.

        A cancelled task is not announced. Cancelling it once more does nothing.

        Raises:
            MatteboxError: NOT_FOUND; CONFLICT where the task has succeeded or failed already; UNAVAILABLE.
        """
        task = self.get(task_id, owner)
        with reachable(), self._engine.begin() as connection:
            ended = self._end(connection, task_id, {"status": Status.CANCELLED.value})
        if ended is None:
            task = self.get(task_id, owner)
            if task.status is not Status.CANCELLED:
                raise MatteboxError(Kind.CONFLICT, "This task has ended already.")
            return task
        if ended.started is None:
            # The row has decided; this only takes the message out of the way of others.
            with reachable():
                self._dbos.cancel_workflow(task_id)
        return ended

    def sweep(self) -> int:
        """Forget what ended longer ago than the retention; returns how many tasks that were.

        Workers do it by themselves, once a minute.

        Raises:
            MatteboxError: UNAVAILABLE.
        """
        forgotten = 0
        old = select(TASKS.c.id).where(TASKS.c.finished < now() - self._options.retention).limit(AT_ONCE)
        while True:
            with reachable(), self._engine.connect() as connection:
                ids = list(connection.execute(old).scalars())
            if not ids:
                break
            with reachable():
                hooks = [_hook_id(task, again) for task in ids for again in range(self._options.webhook_retries + 1)]
                self._dbos.delete_workflows(ids + hooks)
                with self._engine.begin() as connection:
                    forgotten += connection.execute(delete(TASKS).where(TASKS.c.id.in_(ids))).rowcount
        with reachable(), self._engine.begin() as connection:
            self._lease.forget(connection, self._options.retention)
        return forgotten

    # -- starting and stopping --------------------------------------------------------------------------------------

    @property
    def _dbos(self) -> DBOSClient:
        if self._client is None:
            raise RuntimeError("these tasks are not running")
        return self._client

    def _connect(self) -> None:
        # It would write to the console, past everything that the server has set up for its own log.
        log = logging.getLogger("dbos")
        log.addHandler(logging.NullHandler())
        log.setLevel(logging.WARNING)
        from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer

        with reachable():
            DBOS.migrate(self._engine.url.render_as_string(hide_password=False))
            self._client = DBOSClient(
                system_database_engine=self._engine,
                serializer=DBOSPortableJSONSerializer(),
                application_name=APPLICATION,
                retry_connection_errors=False,
            )

    def _launch(self) -> None:
        from dbos import DBOS, DBOSPortableJSONSerializer

        if not _RUNNING_HERE.acquire(blocking=False):
            raise MatteboxError(Kind.CONFLICT, "Another part of this process works on tasks already.")
        self._works = True

        @DBOS.workflow(name=CUT_OUT)
        def cut_out(task_id: str) -> None:
            with self._doing(task_id):
                # Both steps always happen, in this order: what is checkpointed is known by its place.
                if DBOS.run_step({"name": "fetch"}, self._fetch, task_id):
                    DBOS.run_step({"name": "cut_out"}, self._cut_out, task_id)

        @DBOS.workflow(name=ANNOUNCE)
        def announce(task_id: str, again: int) -> None:
            with self._doing(_hook_id(task_id, again)):
                DBOS.run_step({"name": "announce"}, self._announce, task_id, again)

        with reachable():
            queues = {WORK_QUEUE: self._options.concurrency, WEBHOOK_QUEUE: WEBHOOKS_AT_A_TIME}
            for queue, concurrency in queues.items():
                self._dbos.register_queue(
                    queue,
                    worker_concurrency=concurrency,
                    polling_interval_sec=self._options.polling,
                    on_conflict="always_update",
                )
            DBOS(
                config={
                    "name": APPLICATION,
                    "application_version": VERSION,
                    "executor_id": self._node,
                    "system_database_engine": self._engine,
                    "serializer": DBOSPortableJSONSerializer(),
                    "use_listen_notify": False,  # nobody waits for events, and a pooling proxy may be in between
                    "run_migrations": False,
                    "log_level": "WARNING",
                }
            )
            DBOS.launch()
        self._pulse = threading.Thread(target=self._beat, name="mattebox-pulse", daemon=True)
        self._pulse.start()

    def _quit(self, *, grace: float) -> None:
        from dbos import DBOS

        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=round(grace) if self._active else 0)
        # Not before: what a step raises while the queue is alive is written down as its outcome.
        self._halted.set()
        with self._active_lock:
            left = list(self._active)
        try:
            with reachable(), self._engine.begin() as connection:
                # They were stopped and did not kill anybody.
                connection.execute(
                    update(TASKS)
                    .where(TASKS.c.id.in_(left), TASKS.c.attempts > 0)
                    .values(attempts=TASKS.c.attempts - 1)
                )
        except MatteboxError as error:
            logger.warning("%d running tasks were left behind, and it counts against them: %s", len(left), error)
        # What is cut short from here on is taken up by the next start, and no error.
        logging.getLogger("dbos").setLevel(logging.CRITICAL)
        self._works = False
        _RUNNING_HERE.release()

    # -- one node among others --------------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Show signs of life, and look after what dead nodes left."""
        steady = 0.0
        cleaned = CLEANING_SECONDS
        while not self._stop.wait(self._options.beat):
            try:
                if not self._lease.renew():
                    logger.critical("another process has taken the name of node %r: this one stops working", self._node)
                    self._quit(grace=0)
                    return
                # After the database was away everybody looks dead for a moment.
                steady += self._options.beat
                if steady < self._options.lease:
                    continue
                first = self._take_over()
                cleaned += self._options.beat
                if first and cleaned >= CLEANING_SECONDS:
                    cleaned = 0.0
                    self.sweep()
                    self._bury()
            except MatteboxError as error:
                steady = 0.0
                logger.warning("no sign of life from this node: %s", error)
            except Exception:
                steady = 0.0
                logger.exception("no sign of life from this node")

    def _take_over(self) -> bool:
        """Queue again what nobody works on; returns whether this node is the one of all that does so."""
        with reachable(), self._engine.connect() as connection:
            living = set(connection.execute(self._lease.living()).scalars())
        first = self._node == min(living, default=self._node)
        with reachable():
            pending = self._dbos.list_workflows(status="PENDING", load_input=False, load_output=False)
        with self._active_lock:
            active = set(self._active)
        # Where the answer to "this one is yours" was lost on its way, the node does not know of its own task.
        missing = {
            flow.workflow_id for flow in pending if flow.executor_id == self._node and flow.workflow_id not in active
        }
        lost = missing & self._missing
        self._missing = missing - lost
        self._resume(
            flow
            for flow in pending
            if flow.workflow_id in lost or (first and flow.executor_id not in living and flow.executor_id != self._node)
        )
        return first

    def _resume(self, flows: Iterable[WorkflowStatus]) -> None:
        for flow in flows:
            logger.warning("task %s of node %s is queued again", flow.workflow_id, flow.executor_id)
            with reachable():
                self._dbos.resume_workflow(flow.workflow_id, queue_name=flow.queue_name)

    def _bury(self) -> None:
        """Fail the tasks whose queue message came to an end that none of ours knows of."""
        with reachable():
            broken = self._dbos.list_workflows(
                status=["ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"],
                name=CUT_OUT,
                limit=AT_ONCE,
                sort_desc=True,
                load_input=False,
                load_output=False,
            )
        for flow in broken:
            self._fail(flow.workflow_id, DEFECT)

    # -- the steps --------------------------------------------------------------------------------------------------

    def _fetch(self, task_id: str) -> bool:
        """Bring the source into the storage; returns whether there is anything left to do."""
        begun = {"status": Status.RUNNING.value, "started": func.coalesce(TASKS.c.started, now())}
        row = self._insist(lambda connection: self._change(connection, task_id, begun))
        if row is None:
            return False
        task = task_of(row)
        source = task.sources.photo
        if not isinstance(source, Link):
            return True
        if not self._attempt(task_id):
            return False
        key = self._try(task_id, lambda: self._work.fetch(source))
        if key is None:
            return False
        stored = json.dumps(to_json(task.edit, replace(task.sources, photo=Stored(key))))
        # Each step has its own attempts: those that this one needed are nothing to the next.
        values = {"edit": stored, "progress": FETCHED, "attempts": 0}
        return self._insist(lambda connection: self._change(connection, task_id, values)) is not None

    def _cut_out(self, task_id: str) -> None:
        task = self._attempt(task_id)
        if task is None:
            return
        result = self._try(task_id, lambda: self._work.cut_out(task.edit, task.sources))
        if result is None:
            return
        values = {"status": Status.SUCCEEDED.value, "progress": DONE, "result": result_to_json(result)}
        self._insist(lambda connection: self._end(connection, task_id, values))

    def _announce(self, task_id: str, again: int) -> None:
        task = self._insist(lambda connection: self._claim(connection, task_id))
        if task is None or task.hook is None:
            return
        failure = self._deliver(task, task.hook)
        values = {"hook_failure": failure, "hook_sender": None} if failure else {"announced": now()}

        def write(connection: Connection) -> None:
            mine = (TASKS.c.id == task_id, TASKS.c.hook_sender == self._node, TASKS.c.announced.is_(None))
            if connection.execute(update(TASKS).where(*mine).values(values)).rowcount == 0 or failure is None:
                return
            if again < self._options.webhook_retries:
                pause = self._options.webhook_pause * 2**again
                name = _hook_id(task_id, again + 1)
                self._enqueue(connection, WEBHOOK_QUEUE, ANNOUNCE, name, task_id, again + 1, delay=pause)

        self._insist(write)

    def _deliver(self, task: Task, hook: Hook) -> str | None:
        """Send the webhook; returns why that failed."""
        try:
            body = self._work.announce(task)
            self._work.deliver(hook, body, task.id)
        except MatteboxError as error:
            if error.kind is Kind.INTERNAL:
                logger.exception("the webhook of task %s failed", task.id)
            return error.message
        except Exception:
            logger.exception("the webhook of task %s failed", task.id)
            return DEFECT
        return None

    def _claim(self, connection: Connection, task_id: str) -> Task | None:
        """Become the one that sends this webhook: a node that was taken for dead may wake up in the middle of it."""
        free = or_(
            TASKS.c.hook_sender.is_(None),
            TASKS.c.hook_sender == self._node,
            TASKS.c.hook_sender.not_in(self._lease.living()),
        )
        claim = update(TASKS).where(TASKS.c.id == task_id, TASKS.c.announced.is_(None), free)
        row = connection.execute(claim.values(hook_sender=self._node).returning(TASKS)).one_or_none()
        return None if row is None else task_of(row)

    def _attempt(self, task_id: str) -> Task | None:
        """Count one more attempt at what may kill the worker; None where the task has ended or does so here."""
        values = {"attempts": TASKS.c.attempts + 1}
        row = self._insist(lambda connection: self._change(connection, task_id, values))
        if row is None:
            return None
        if row.attempts > self._options.attempts:
            times = {1: "once", 2: "twice", 3: "three times"}.get(
                self._options.attempts, f"{self._options.attempts} times"
            )
            self._fail(task_id, f"The worker died {times} on this picture.")
            return None
        return task_of(row)

    def _try(self, task_id: str, step: Callable[[], T]) -> T | None:
        """Do something that may fail; where it does, the task has failed too, and there is None."""
        try:
            return self._patiently(step)
        except _HaltedError:
            raise
        except MatteboxError as error:
            reason = error.message
            if error.kind is Kind.INTERNAL:
                logger.exception("task %s failed", task_id)
                reason = DEFECT
        except Exception:
            logger.exception("task %s failed", task_id)
            reason = DEFECT
        self._fail(task_id, reason)
        return None

    def _patiently(self, step: Callable[[], T]) -> T:
        tries = 0
        while True:
            try:
                return step()
            except MatteboxError as error:
                # Who waits in a queue can wait for as long as others are busy.
                tries += error.kind is not Kind.OVERLOADED
                if error.retry_after is None or tries >= TRIES:
                    raise
                pause = min(error.retry_after * 2 ** max(0, tries - 1), LONGEST_PAUSE)
            if self._halted.wait(pause):
                raise _HaltedError

    def _fail(self, task_id: str, reason: str) -> None:
        values = {"status": Status.FAILED.value, "reason": reason}
        self._insist(lambda connection: self._end(connection, task_id, values))

    # -- rows -------------------------------------------------------------------------------------------------------

    def _end(self, connection: Connection, task_id: str, values: Mapping[str, object]) -> Task | None:
        """Write a task's end, with everything that must happen together with it; None where it has ended already."""
        row = self._change(connection, task_id, {**values, "finished": now()})
        if row is None:
            return None
        task = task_of(row)
        if self._settle is not None:
            self._settle(connection, task)
        if task.hook is not None and task.status is not Status.CANCELLED:
            self._enqueue(connection, WEBHOOK_QUEUE, ANNOUNCE, _hook_id(task_id, 0), task_id, 0)
        return task

    def _change(self, connection: Connection, task_id: str, values: Mapping[str, object]) -> Row[tuple[object]] | None:
        unfinished = (TASKS.c.id == task_id, TASKS.c.status.in_(UNFINISHED))
        return connection.execute(update(TASKS).where(*unfinished).values(dict(values)).returning(TASKS)).one_or_none()

    def _enqueue(
        self,
        connection: Connection,
        queue: str,
        workflow: str,
        name: str,
        *arguments: object,
        delay: float | None = None,
    ) -> None:
        options: EnqueueOptions = {
            "queue_name": queue,
            "workflow_name": workflow,
            "workflow_id": name,
            "app_version": VERSION,
        }
        if delay is not None:
            options["delay_seconds"] = delay
        self._dbos.enqueue_in_transaction(connection, options, *arguments)

    def _insist(self, write: Callable[[Connection], T]) -> T:
        """Write, however long the database may be away: a worker has nothing better to do than to wait for it."""
        pause = 0.1
        while True:
            try:
                if self._halted.is_set():
                    raise _HaltedError
                with reachable(), self._engine.begin() as connection:
                    return write(connection)
            except MatteboxError as error:
                if error.kind is not Kind.UNAVAILABLE:
                    raise
            if self._halted.wait(pause):
                raise _HaltedError
            pause = min(2 * pause, 2.0)

    @contextmanager
    def _doing(self, name: str) -> Iterator[None]:
        with self._active_lock:
            self._active.append(name)
        try:
            yield
        finally:
            with self._active_lock:
                self._active.remove(name)


class _HaltedError(Exception):
    """The queue has stopped under a step's feet. Nothing is written any more; the next start takes the step up."""


def _hook_id(task_id: str, again: int) -> str:
    return f"{task_id}/webhook/{again}"
