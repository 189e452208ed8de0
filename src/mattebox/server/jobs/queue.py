"""The queue of edits that run later, as one process sees it."""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, final

from sqlalchemy import Connection, delete, insert, select

from mattebox.edit import Edit
from mattebox.errors import Kind, MatteboxError
from mattebox.server.jobs.executor import Executor
from mattebox.server.jobs.leases import Lease
from mattebox.server.jobs.options import TaskOptions
from mattebox.server.jobs.rows import AT_ONCE, TASKS, TaskRows, open_client, task_of, webhook_id
from mattebox.server.jobs.serialization import to_json
from mattebox.server.jobs.shards import sweep_shards
from mattebox.server.jobs.tasks import Hook, Status, Task, Work
from mattebox.server.store.database import connect, create, now, reachable
from mattebox.sources import Sources

if TYPE_CHECKING:
    from dbos import DBOSClient

logger = logging.getLogger(__name__)

CLEANING_SECONDS = 60.0
NAME_TAKEN = "Another process runs under this node's name. This one works on no tasks until the name is free again."


@final
class Tasks:
    """The queue, as one process sees it. Safe to use from several threads.

    Every method that needs the database raises UNAVAILABLE where it is away.

    Args:
        database_url: see `database.connect`.
        node: this process's name. It must be the same after a restart, so that what it was doing is taken up at once,
            and no other process may have it.
        work: what is done for a task.
        options: how it is done.
        on_finished: called with each task that ends, in the transaction that ends it.
    """

    def __init__(
        self,
        database_url: str,
        *,
        node: str,
        work: Work,
        options: TaskOptions | None = None,
        on_finished: Callable[[Connection, Task], None] | None = None,
    ) -> None:
        self.engine = connect(database_url)
        """The database, for others who keep something there."""
        self._node = node
        self._work = work
        self._options = options or TaskOptions()
        self._lease = Lease(self.engine, node, lease=self._options.lease, beat=self._options.beat)
        self._on_finished = on_finished
        self._client: DBOSClient | None = None
        self._executor: Executor | None = None
        self._stop = threading.Event()
        self._closed = False
        self._heart: threading.Thread | None = None
        self._failure: str | None = None

    def check(self) -> None:
        """Whether this process takes part, as it should.

        Raises:
            MatteboxError: UNAVAILABLE where another process has taken its name, or its sign of life fails.
        """
        if self._failure is not None:
            raise MatteboxError(Kind.UNAVAILABLE, self._failure)

    def start(self, *, role: Literal["all", "api", "worker"] = "all") -> None:
        """Take tasks in and, unless `role` is `api`, work on them. Once for each Tasks.

        Raises:
            MatteboxError: UNAVAILABLE where the database is away; CONFLICT where another process lives under this
                node's name, or where this process works on tasks already.
        """
        if self._client is not None or self._closed:
            raise RuntimeError("these tasks were started before")
        create(self.engine)
        try:
            if role != "api":
                self._lease.acquire()
            self._client = open_client(self.engine)
            if role != "api":
                self._executor = self._launch()
                self._heart = threading.Thread(target=self._heartbeat, name="mattebox-heartbeat", daemon=True)
                self._heart.start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop working, after giving running tasks their grace, and leave the rest for the next start."""
        self._stop.set()
        if self._heart is not None:
            self._heart.join()
        if self._executor is not None:
            self._executor.quit(grace=self._options.grace)
            self._executor = None
        self._lease.release()
        self._closed = True
        if self._client is not None:
            self._client.destroy()
            self._client = None
        self.engine.dispose()

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
            MatteboxError: whatever `in_transaction` raises.
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
        with reachable(), self.engine.begin() as connection:
            if in_transaction is not None:
                in_transaction(connection)
            if not rows:
                return []
            added = connection.execute(insert(TASKS).returning(TASKS, sort_by_parameter_order=True), rows).all()
            for row in rows:
                self._rows.queue_task(connection, str(row["id"]))
        return [task_of(row) for row in added]

    def get(self, task_id: str, owner: str | None = None) -> Task:
        """The task, as it stands now.

        Args:
            task_id: its id.
            owner: only a task of this account is found; None means of any.

        Raises:
            MatteboxError: NOT_FOUND.
        """
        query = select(TASKS).where(TASKS.c.id == task_id)
        if owner is not None:
            query = query.where(TASKS.c.owner == owner)
        with reachable(), self.engine.connect() as connection:
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
            MatteboxError: NOT_FOUND where there is no task `after`.
        """
        query = select(TASKS).where(TASKS.c.owner == owner).order_by(TASKS.c.number.desc()).limit(limit)
        if batch is not None:
            query = query.where(TASKS.c.batch == batch)
        if after is not None:
            last = self.get(after, owner)
            number = select(TASKS.c.number).where(TASKS.c.id == last.id).scalar_subquery()
            query = query.where(TASKS.c.number < number)
        with reachable(), self.engine.connect() as connection:
            return [task_of(row) for row in connection.execute(query)]

    def cancel(self, task_id: str, owner: str | None = None) -> Task:
        """Give the task up. One that is being worked on ends at its next step, and its result is thrown away.

        A cancelled task is not announced. Cancelling it once more does nothing.

        Raises:
            MatteboxError: NOT_FOUND; CONFLICT where the task has succeeded or failed already.
        """
        task = self.get(task_id, owner)
        with reachable(), self.engine.begin() as connection:
            ended = self._rows.end(connection, task_id, {"status": Status.CANCELLED.value})
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
        """
        forgotten = 0
        old = select(TASKS.c.id).where(TASKS.c.finished < now() - self._options.retention).limit(AT_ONCE)
        while True:
            with reachable(), self.engine.connect() as connection:
                ids = list(connection.execute(old).scalars())
            if not ids:
                break
            with reachable():
                hooks = [webhook_id(task, again) for task in ids for again in range(self._options.webhook_retries + 1)]
                self._dbos.delete_workflows(ids + hooks)
                with self.engine.begin() as connection:
                    forgotten += connection.execute(delete(TASKS).where(TASKS.c.id.in_(ids))).rowcount
        sweep_shards(self._dbos, seconds=self._options.retention)
        with reachable(), self.engine.begin() as connection:
            self._lease.forget(connection, self._options.retention)
        return forgotten

    # -- starting and stopping --------------------------------------------------------------------------------------

    @property
    def _dbos(self) -> DBOSClient:
        if self._client is None:
            raise RuntimeError("these tasks are not running")
        return self._client

    def _launch(self) -> Executor:
        return Executor(
            self.engine, self._dbos, self._lease, self._rows, node=self._node, work=self._work, options=self._options
        )

    @property
    def _rows(self) -> TaskRows:
        return TaskRows(self._dbos, self._on_finished)

    # -- one node among others --------------------------------------------------------------------------------------

    def _heartbeat(self) -> None:
        """Show signs of life, and look after what dead nodes left; what goes wrong is said by `check`."""
        steady = cleaned = 0.0
        while not self._stop.wait(self._options.beat):
            try:
                if self._executor is None:
                    self._executor = self._rejoin()
                    steady = 0.0
                elif not self._lease.renew():
                    logger.critical("another process has taken the name of node %r: this one stops working", self._node)
                    self._failure = NAME_TAKEN
                    self._executor.quit(grace=0)
                    self._executor = None
                    continue
                # After the database was away everybody looks dead for a moment.
                steady += self._options.beat
                first = self._executor.recovery.take_over(at_start=steady < self._options.lease)
                cleaned += self._options.beat
                if first and cleaned >= CLEANING_SECONDS:
                    cleaned = 0.0
                    self.sweep()
                    self._executor.recovery.fail_orphans()
                self._failure = None
            except MatteboxError as error:
                steady = 0.0
                if error.kind is not Kind.CONFLICT:
                    logger.warning("no sign of life from this node: %s", error)
                    self._failure = error.message
            except Exception:
                steady = 0.0
                logger.exception("no sign of life from this node, by a defect")
                self._failure = "The queue's sign of life fails; the server's log says why."

    def _rejoin(self) -> Executor:
        """Work again, where the name that was lost is free again."""
        self._lease.acquire()
        executor = self._launch()
        logger.warning("node %r is back: its name was free again", self._node)
        return executor
