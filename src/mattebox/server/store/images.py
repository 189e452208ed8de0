"""Stored images: each key's own, under an id, with their metadata in the database and their files in the storage.

A crash between the two leaves nothing that anybody sees. A row is there before its file and goes after it: it begins as
arriving, is kept once its file is, and is leaving until its file is gone. Only kept rows are ever shown; `sweep` ends
what the others began.
"""

from __future__ import annotations

import logging
import re
import secrets
import string
from datetime import UTC, datetime
from typing import Self, final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Double,
    Engine,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    case,
    delete,
    insert,
    literal_column,
    select,
    update,
)

from mattebox import codec
from mattebox.edit import Format
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Encoded
from mattebox.server.store.blobs import Blobs
from mattebox.server.store.database import TABLES, connect, create, now, reachable, upsert
from mattebox.server.store.stored_image import (
    LONGEST_NAME,
    Holdings,
    ImageStoreOptions,
    Page,
    StoredImage,
    check_name,
)

logger = logging.getLogger(__name__)

MOST_A_PAGE = 1000
ARRIVAL_SECONDS = 3600
"""After so long nobody is still storing the image that a row announces."""
SWEPT_AT_ONCE = 1000
"""The most images that one sweep finishes, so that it ends; the next goes on."""

_ID_CHARACTERS = string.ascii_lowercase + string.digits
_ID = re.compile("image_[a-z0-9]{24}")
_ARRIVING, _KEPT, _LEAVING = "arriving", "kept", "leaving"

_IMAGES = Table(
    "images",
    TABLES,
    Column("sequence", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True),
    Column("id", String(30), nullable=False, unique=True),
    Column("owner", String(64), nullable=False),
    Column("state", String(8), nullable=False),
    Column("name", String(LONGEST_NAME), nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("format", String(8), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("created", Double, nullable=False, default=now()),
    Column("parent", String(30)),
    Column("made_by", Text, nullable=False),
    Column("published", Boolean, nullable=False, default=False),
    Index("images_owner", "owner", "sequence"),
)
# Written out, and not as a parameter: the index of the few rows that are not kept serves only a query that says so.
_UNSETTLED = _IMAGES.c.state != literal_column(f"'{_KEPT}'")
Index("images_unsettled", _IMAGES.c.sequence, sqlite_where=_UNSETTLED, postgresql_where=_UNSETTLED)

_HOLDINGS = Table(
    "holdings",
    TABLES,
    Column("owner", String(64), primary_key=True),
    Column("images", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)


@final
class ImageStore:
    """The images of all owners. All methods block, and may be called from several threads and processes.

    Every method raises UNAVAILABLE where the database or the storage cannot be reached. An id that is malformed,
    unknown, deleted or another owner's is the same NOT_FOUND.

    Args:
        database: where the metadata is kept; its tables are made by `database.create`.
        blobs: where the files are kept, under `images/`.
        options: how much each owner may keep.
    """

    def __init__(self, database: Engine, blobs: Blobs, options: ImageStoreOptions = ImageStoreOptions()) -> None:
        self._database = database
        self._blobs = blobs
        self.options = options

    @classmethod
    def open(cls, *, database: str, storage: str, options: ImageStoreOptions = ImageStoreOptions()) -> Self:
        """A library at two addresses. Its tables are made, or brought up to date. `close` it in the end.

        Args:
            database: as in `sqlite:////home/me/images.db` or `postgresql://user:word@host/name`.
            storage: as in `file:///home/me/images` or `s3://bucket/prefix`; see `Blobs`.
            options: how much each owner may keep.

        Raises:
            MatteboxError: INVALID_PARAMETER for an address that is none, UNAVAILABLE.
        """
        blobs = Blobs(storage)
        engine = connect(database)
        try:
            create(engine)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, blobs, options)

    def close(self) -> None:
        """End the connections to the database. Only for whoever opened it."""
        self._database.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- storing ----------------------------------------------------------------------------------------------------

    def check(self, owner: str, *, size: int = 0) -> None:
        """Refuse an owner who has no room left, before anything is done for them. `add` is what decides.

        Args:
            owner: an account's id.
            size: bytes of the image that is to come, where that is known.

        Raises:
            MatteboxError: CONFLICT.
        """
        held = self.usage(owner)
        if held.images >= self.options.images or held.bytes + size > self.options.bytes:
            raise self._no_room(held)

    def add(
        self,
        owner: str,
        encoded: Encoded,
        *,
        name: str,
        format: Format,  # noqa: A002 - the field's own word
        made_by: str,
        parent: str | None = None,
    ) -> StoredImage:
        """Keep an image. It is there whole or not at all; of two that come for the last room one is refused.

        Args:
            owner: an account's id.
            encoded: the file.
            name: see `check_name`.
            format: what the file is.
            made_by: what made it.
            parent: the id of the image that it was made from. Whether that is still there is not asked.

        Raises:
            ValueError: the file is not of this format.
            MatteboxError: INVALID_PARAMETER about `name`; NOT_FOUND where `parent` is no id; CONFLICT where the owner
                has no room left.
        """
        if encoded.media_type != codec.media_type(format):
            raise ValueError(f"a file of type {encoded.media_type} is no {format.value}")
        if parent is not None and not _ID.fullmatch(parent):
            raise _missing(parent)
        image = self._announce(
            {
                "id": "image_" + "".join(secrets.choice(_ID_CHARACTERS) for _ in range(24)),
                "owner": owner,
                "state": _ARRIVING,
                "name": check_name(name),
                "width": encoded.width,
                "height": encoded.height,
                "format": format.value,
                "size": len(encoded.data),
                "parent": parent,
                "made_by": made_by,
            }
        )
        try:
            self._blobs.put(self.blob_key(image), encoded.data, media_type=encoded.media_type)
        except BaseException:
            # It may have been stored all the same, so the row waits for the sweep.
            try:
                self._leave(image.id, _ARRIVING)
            except MatteboxError as failure:  # the sweep finds it later, and the first failure is the one to tell
                logger.warning("image %s, which was not stored, is left to the sweep: %s", image.id, failure)
            raise
        with reachable(), self._database.begin() as connection:
            arrived = update(_IMAGES).where(_IMAGES.c.id == image.id, _IMAGES.c.state == _ARRIVING)
            if connection.execute(arrived.values(state=_KEPT)).rowcount:
                return image
        # So slow that a sweep has given it up.
        self._blobs.delete(self.blob_key(image))
        raise MatteboxError(Kind.UNAVAILABLE, "Storing the image took too long.", retry_after=2)

    # -- reading ----------------------------------------------------------------------------------------------------

    def get(self, owner: str, image_id: str) -> StoredImage:
        """The metadata of an image."""
        return self._find(image_id, _IMAGES.c.owner == owner)

    def published(self, image_id: str) -> StoredImage:
        """The metadata of a published image, for anybody.

        Raises:
            MatteboxError: NOT_FOUND where there is none, or it is not published.
        """
        return self._find(image_id, _IMAGES.c.published)

    def read(self, image: StoredImage) -> bytes:
        """The image's file."""
        try:
            return self._blobs.get(self.blob_key(image))
        except MatteboxError as error:
            if error.kind is Kind.NOT_FOUND:
                raise _missing(image.id) from error
            raise

    def blob_key(self, image: StoredImage) -> str:
        """The name of the image's file in the storage, as in `images/image_….png`, for who hands out parts of it."""
        return f"images/{image.id}{codec.extension(image.format)}"

    def listing(self, owner: str, *, take: int = 10, start: str | None = None) -> Page:
        """A page of the owner's images, the newest first.

        Args:
            owner: an account's id.
            take: images on the page, 1..1000.
            start: the id of the first image on the page; None for the newest.

        Raises:
            MatteboxError: INVALID_PARAMETER about `take`; NOT_FOUND about `start`.
        """
        if not 1 <= take <= MOST_A_PAGE:
            raise MatteboxError(Kind.INVALID_PARAMETER, f"A page has 1 to {MOST_A_PAGE:,} images.", parameter="take")
        sequence = _IMAGES.c.sequence
        mine = (_IMAGES.c.owner == owner, _IMAGES.c.state == _KEPT)
        page = select(_IMAGES).where(*mine).order_by(sequence.desc()).limit(take + 1)
        with reachable(), self._database.connect() as connection:
            newer: list[str] = []
            if start is not None:
                first = connection.scalar(select(sequence).where(*_kept(start), _IMAGES.c.owner == owner))
                if first is None:
                    raise _missing(start)
                before = select(_IMAGES.c.id).where(*mine, sequence > first).order_by(sequence).limit(take)
                newer = list(connection.scalars(before))
                page = page.where(sequence <= first)
            rows = connection.execute(page).all()
        return Page(
            images=tuple(_image_of(row) for row in rows[:take]),
            previous=newer[-1] if newer else None,
            next=rows[take].id if len(rows) > take else None,
        )

    def usage(self, owner: str) -> Holdings:
        """How much the owner keeps."""
        with reachable(), self._database.connect() as connection:
            return _held(connection, owner)

    # -- changing ---------------------------------------------------------------------------------------------------

    def publish(self, owner: str, image_id: str) -> StoredImage:
        """Let anyone who knows the id read the image. Publishing it once more does nothing."""
        return self._set_published(owner, image_id, published=True)

    def unpublish(self, owner: str, image_id: str) -> StoredImage:
        """Let nobody but the owner read the image. Doing it once more does nothing."""
        return self._set_published(owner, image_id, published=False)

    def delete(self, owner: str, image_id: str) -> None:
        """Forget an image. From here on nobody finds it; where the storage is away, a sweep removes its file later."""
        _kept(image_id)
        left = self._leave(image_id, _KEPT, _IMAGES.c.owner == owner)
        if left is None:
            raise _missing(image_id)
        try:
            self._remove(left)
        except MatteboxError as error:
            # It is deleted all the same: to fail would be to say that it is still there.
            logger.warning(
                "image %s is deleted, and its file or its row are left to the next sweep: %s", left.id, error
            )

    def sweep(self, now: float) -> int:
        """Finish what crashes left: images that never came are forgotten, files of deleted ones removed.

        Any number of servers may do it at the same time.

        Args:
            now: the time, in seconds since 1970.

        Returns:
            How many were finished, at most `SWEPT_AT_ONCE`. As many as that means that there are probably more.

        Raises:
            MatteboxError: UNAVAILABLE where one or more could not be finished; the others are all the same.
        """
        late = (_IMAGES.c.state == _LEAVING) | (_IMAGES.c.created < now - ARRIVAL_SECONDS)
        query = select(_IMAGES.c.id, _IMAGES.c.state).where(_UNSETTLED, late).order_by(_IMAGES.c.sequence)
        with reachable(), self._database.connect() as connection:
            found = connection.execute(query.limit(SWEPT_AT_ONCE)).all()
        finished = 0
        failure: MatteboxError | None = None
        for row in found:
            left = self._leave(row.id, row.state)
            if left is None:  # another was first, or it has come in the end
                continue
            try:
                self._remove(left)
                finished += 1
            except MatteboxError as error:
                failure = error  # one file that cannot be removed must not keep those after it
        if failure is not None:
            raise failure
        return finished

    # -- rows -------------------------------------------------------------------------------------------------------

    def _announce(self, values: dict[str, str | int | None]) -> StoredImage:
        """Count an image and write its row, before there is a file."""
        size = int(values["size"] or 0)
        most = self.options
        with reachable(), self._database.begin() as connection:
            if size > most.bytes:  # the first row of an owner is not asked for what it holds
                raise self._no_room(_held(connection, str(values["owner"])))
            images, total = _HOLDINGS.c.images + 1, _HOLDINGS.c.bytes + size
            count = (
                upsert(connection, _HOLDINGS)
                .values(owner=values["owner"], images=1, bytes=size)
                .on_conflict_do_update(
                    index_elements=[_HOLDINGS.c.owner],
                    set_={"images": images, "bytes": total},
                    where=(images <= most.images) & (total <= most.bytes),
                )
                .returning(_HOLDINGS.c.owner)
            )
            if connection.execute(count).first() is None:
                raise self._no_room(_held(connection, str(values["owner"])))
            return _image_of(connection.execute(insert(_IMAGES).values(values).returning(_IMAGES)).one())

    def _leave(self, image_id: str, state: str, *more: ColumnElement[bool]) -> StoredImage | None:
        """Take an image in this state out of everybody's sight and out of the count; None where there is none."""
        which = (_IMAGES.c.id == image_id, _IMAGES.c.state == state, *more)
        gone = update(_IMAGES).where(*which).values(state=_LEAVING, published=False).returning(_IMAGES)
        with reachable(), self._database.begin() as connection:
            row = connection.execute(gone).one_or_none()
            if row is None:
                return None
            if state != _LEAVING:
                held = _HOLDINGS.c
                fewer = {
                    "images": case((held.images > 1, held.images - 1), else_=0),
                    "bytes": case((held.bytes > row.size, held.bytes - row.size), else_=0),
                }
                connection.execute(update(_HOLDINGS).where(held.owner == row.owner).values(fewer))
            return _image_of(row)

    def _remove(self, left: StoredImage) -> None:
        self._blobs.delete(self.blob_key(left))
        with reachable(), self._database.begin() as connection:
            connection.execute(delete(_IMAGES).where(_IMAGES.c.id == left.id, _IMAGES.c.state == _LEAVING))

    def _find(self, image_id: str, whose: ColumnElement[bool]) -> StoredImage:
        with reachable(), self._database.connect() as connection:
            return _found(image_id, connection.execute(select(_IMAGES).where(*_kept(image_id), whose)).one_or_none())

    def _set_published(self, owner: str, image_id: str, *, published: bool) -> StoredImage:
        mine = (*_kept(image_id), _IMAGES.c.owner == owner)
        change = update(_IMAGES).where(*mine).values(published=published).returning(_IMAGES)
        with reachable(), self._database.begin() as connection:
            return _found(image_id, connection.execute(change).one_or_none())

    def _no_room(self, held: Holdings) -> MatteboxError:
        most = self.options
        if held.images >= most.images:
            sentence = f"This key keeps {held.images:,} images already; delete some first."
        else:
            sentence = f"This key may keep {most.bytes:,} bytes of images, and has {held.bytes:,} already."
        return MatteboxError(Kind.CONFLICT, sentence)


def _held(connection: Connection, owner: str) -> Holdings:
    row = connection.execute(select(_HOLDINGS).where(_HOLDINGS.c.owner == owner)).one_or_none()
    return Holdings(0, 0) if row is None else Holdings(row.images, row.bytes)


def _image_of(row: Row[tuple[object]]) -> StoredImage:
    return StoredImage(
        id=row.id,
        owner=row.owner,
        name=row.name,
        width=row.width,
        height=row.height,
        format=Format(row.format),
        size=row.size,
        # Rounded: SQLite's clock counts milliseconds, and a float only nearly.
        created=datetime.fromtimestamp(round(row.created, 3), UTC),
        parent=row.parent,
        made_by=row.made_by,
        published=row.published,
    )


def _kept(image_id: str) -> tuple[ColumnElement[bool], ...]:
    """The kept row of an image; NOT_FOUND where this is no id."""
    if not _ID.fullmatch(image_id):
        raise _missing(image_id)
    return _IMAGES.c.id == image_id, _IMAGES.c.state == _KEPT


def _found(image_id: str, row: Row[tuple[object]] | None) -> StoredImage:
    if row is None:
        raise _missing(image_id)
    return _image_of(row)


def _missing(image_id: str) -> MatteboxError:
    # What was asked for may be anything, and of any length.
    shown = re.sub("[^A-Za-z0-9_-]", "?", image_id[:30]) + ("…" if len(image_id) > 30 else "")
    return MatteboxError(Kind.NOT_FOUND, f"There is no image {shown}.")
