"""What the library promises, wherever it keeps rows and files."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from mattebox.edit import Format
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Encoded
from mattebox.server.store.blobs import Blobs
from mattebox.server.store.database import connect, create
from mattebox.server.store.images import ImageStore
from mattebox.server.store.stored_image import Holdings, ImageStoreOptions, StoredImage, check_name

HOUR = 3600.0
STRANGE = [
    "",
    "image_",
    "image_" + "A" * 24,
    "image_" + "a" * 25,
    "../images/x",
    "image_" + "a" * 23 + "\n",
    "é\0" * 99,
]


def png(data: bytes = b"file") -> Encoded:
    return Encoded(data=data, media_type="image/png", width=30, height=20)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a library keeps what it keeps, for tests that look behind it."""

    database: str
    storage: str
    engine: Engine
    blobs: Blobs

    def library(self, *, images: int = 10_000, size: int = 10**9, blobs: Blobs | None = None) -> ImageStore:
        return ImageStore(self.engine, blobs or self.blobs, ImageStoreOptions(images=images, bytes=size))

    def states(self) -> list[str]:
        with self.engine.connect() as connection:
            return list(connection.scalars(text("SELECT state FROM images ORDER BY sequence")))

    def write(self, statement: str, **values: object) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)


@pytest.fixture(params=["sqlite and files", "postgresql and s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    database, storage = f"sqlite:///{tmp_path}/mattebox.db", (tmp_path / "blobs").as_uri()
    if "s3" in request.param:
        database, storage = request.getfixturevalue("postgres_database"), request.getfixturevalue("s3_url")
    engine = connect(database)
    create(engine)
    yield Place(database, storage, engine, Blobs(storage))
    engine.dispose()


@pytest.fixture
def library(place: Place) -> ImageStore:
    return place.library()


@pytest.fixture
def broken(tmp_path: Path) -> Blobs:
    """A storage that fails."""
    blobs = Blobs((tmp_path / "broken").as_uri())
    (tmp_path / "broken").rmdir()
    (tmp_path / "broken").write_bytes(b"")
    return blobs


def add(library: ImageStore, owner: str = "ann", *, name: str = "cat", data: bytes = b"file") -> StoredImage:
    return library.add(owner, png(data), name=name, format=Format.PNG, made_by="upload")


def refused(kind: Kind, act: Callable[[], object]) -> MatteboxError:
    with pytest.raises(MatteboxError) as caught:
        act()
    assert caught.value.kind is kind
    return caught.value


def outcome(act: Callable[[], object]) -> Kind | None:
    """How it failed, if it did: for many that ask at once, of whom somebody may."""
    try:
        act()
    except MatteboxError as error:
        return error.kind
    return None


# One image


def test_what_is_added_is_found_as_it_was(library: ImageStore, place: Place) -> None:
    before = datetime.now(UTC) - timedelta(seconds=0.1)
    parent = add(library)
    encoded = Encoded(data=b"webp file", media_type="image/webp", width=300, height=200)
    image = library.add("ann", encoded, name="  Köter 🐕 ", format=Format.WEBP, made_by="replace", parent=parent.id)
    assert library.get("ann", image.id) == image
    assert (image.owner, image.name, image.width, image.height) == ("ann", "Köter 🐕", 300, 200)
    assert (image.format, image.media_type, image.size) == (Format.WEBP, "image/webp", 9)
    assert (image.parent, image.made_by, image.published) == (parent.id, "replace", False)
    assert parent.parent is None
    assert before < image.created < datetime.now(UTC) + timedelta(seconds=0.1)
    assert image.created.tzinfo is UTC
    assert image.created.microsecond % 1000 == 0
    assert library.read(image) == b"webp file"
    assert library.blob_key(image) == f"images/{image.id}.webp"
    assert place.blobs.get(library.blob_key(image)) == b"webp file"


def test_ids_are_unlike_each_other(library: ImageStore) -> None:
    ids = {add(library).id for _ in range(5)}
    assert len(ids) == 5
    for each in ids:
        assert each.startswith("image_")
        assert len(each) == 30
        assert each.removeprefix("image_").isalnum()
        assert each == each.lower()


@pytest.mark.parametrize("asked", ["another owner's", "deleted", "unknown", *STRANGE])
def test_an_id_that_is_none_of_the_owners_is_not_found(library: ImageStore, asked: str) -> None:
    others, deleted = add(library, "bob"), add(library)
    library.delete("ann", deleted.id)
    wrong = {"another owner's": others.id, "deleted": deleted.id, "unknown": "image_" + "a" * 24}.get(asked, asked)
    acts: list[Callable[[], object]] = [
        lambda: library.get("ann", wrong),
        lambda: library.publish("ann", wrong),
        lambda: library.unpublish("ann", wrong),
        lambda: library.delete("ann", wrong),
        lambda: library.listing("ann", start=wrong),
        lambda: library.published(wrong),
    ]
    errors = [refused(Kind.NOT_FOUND, act) for act in acts]
    assert len({error.message for error in errors}) == 1
    message = errors[0].message
    if asked in STRANGE:  # what anybody may have written is not repeated at any length
        assert message.isprintable()
        assert len(message) < 60
    else:
        assert message == f"There is no image {wrong}."
    assert library.get("bob", others.id) == others


def test_only_a_published_image_is_everybodys(library: ImageStore) -> None:
    image, private = add(library), add(library)
    refused(Kind.NOT_FOUND, lambda: library.published(image.id))
    for _ in range(2):
        assert library.publish("ann", image.id).published
    assert library.published(image.id) == library.get("ann", image.id)
    assert library.published(image.id).published
    refused(Kind.NOT_FOUND, lambda: library.published(private.id))
    for _ in range(2):
        assert library.unpublish("ann", image.id) == image
    refused(Kind.NOT_FOUND, lambda: library.published(image.id))
    library.publish("ann", image.id)
    library.delete("ann", image.id)
    refused(Kind.NOT_FOUND, lambda: library.published(image.id))


def test_deleting_removes_everything(library: ImageStore, place: Place) -> None:
    image, other = add(library), add(library)
    library.delete("ann", image.id)
    refused(Kind.NOT_FOUND, lambda: library.read(image))
    assert list(place.blobs.names("images")) == [library.blob_key(other)]
    assert place.states() == ["kept"]
    assert library.usage("ann") == Holdings(1, 4)
    assert library.read(other) == b"file"


@pytest.mark.parametrize("name", ["", " \t\n", "x" * 31, "a\0b", "two\nlines", "\ud800", "a\u2028b", "\x7f?"])
def test_bad_names_are_refused(place: Place, name: str) -> None:
    for act in (lambda: check_name(name), lambda: add(place.library(), name=name)):
        assert refused(Kind.INVALID_PARAMETER, act).parameter == "name"
    assert place.states() == []
    assert place.library().usage("ann") == Holdings(0, 0)


@given(name=st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=40))
def test_a_name_is_kept_without_its_margins(name: str) -> None:
    if 1 <= len(name.strip()) <= 30:
        assert check_name(f" {name}\n") == name.strip()
    else:
        refused(Kind.INVALID_PARAMETER, lambda: check_name(name))


@pytest.mark.parametrize("name", ["'); DROP TABLE images; --", "%s %(x)s :y", "ﷺ" * 30, "👩‍👩‍👧‍👦" * 4, "\u202eevil"])
def test_odd_names_are_names(library: ImageStore, name: str) -> None:
    assert library.get("ann", add(library, name=name).id).name == name


def test_a_file_of_another_format_is_a_defect_of_the_caller(library: ImageStore, place: Place) -> None:
    with pytest.raises(ValueError, match="image/png is no jpeg"):
        library.add("ann", png(), name="cat", format=Format.JPEG, made_by="upload")
    assert place.states() == []


@pytest.mark.parametrize("parent", STRANGE)
def test_a_parent_is_an_id(library: ImageStore, place: Place, parent: str) -> None:
    refused(
        Kind.NOT_FOUND,
        lambda: library.add("ann", png(), name="cat", format=Format.PNG, made_by="upload", parent=parent),
    )
    assert place.states() == []


# Pages


def test_paging_through_25_images_in_both_directions(library: ImageStore) -> None:
    newest_first = [add(library, name=f"{i}").name for i in range(25)][::-1]
    add(library, "bob")
    seen: list[str] = []
    starts: list[str] = []
    page = library.listing("ann")
    while True:
        seen.extend(image.name for image in page.images)
        starts.append(page.images[0].id)
        assert page.previous == (starts[-2] if len(starts) > 1 else None)
        if page.next is None:
            break
        page = library.listing("ann", start=page.next)
    assert seen == newest_first
    assert len(starts) == 3
    for start in reversed(starts[:-1]):
        assert page.previous == start
        page = library.listing("ann", start=page.previous)
        assert page.images[0].id == start
    assert page == library.listing("ann")
    assert [image.name for image in library.listing("bob").images] == ["cat"]
    assert library.listing("nobody") == library.listing("nobody", take=1)
    assert library.listing("nobody").images == ()


@pytest.mark.parametrize("take", [1, 2, 3, 4, 5, 6])
def test_pages_of_every_size(library: ImageStore, take: int) -> None:
    ids = [add(library).id for _ in range(5)][::-1]
    library.delete("ann", add(library).id)
    for place, start in enumerate(ids):
        page = library.listing("ann", take=take, start=start)
        assert [image.id for image in page.images] == ids[place : place + take]
        assert page.next == (ids[place + take] if place + take < len(ids) else None)
        assert page.previous == (ids[max(0, place - take)] if place else None)


@pytest.mark.parametrize("take", [0, -1, 1001])
def test_a_page_has_its_bounds(library: ImageStore, take: int) -> None:
    assert refused(Kind.INVALID_PARAMETER, lambda: library.listing("ann", take=take)).parameter == "take"


def test_a_page_in_the_middle_of_ten_thousand(place: Place) -> None:
    place.write(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
        "INSERT INTO images (id, owner, state, name, width, height, format, size, created, made_by, published) "
        "SELECT 'image_' || CAST(100000000000000000 + i AS TEXT) || 'abcdef', CASE i % 2 WHEN 0 THEN 'ann' ELSE 'bob' "
        "END, 'kept', 'cat', 1, 1, 'png', 1, 0, 'upload', :no FROM n",
        no=False,
    )
    library = place.library()
    middle = "image_100000000000010000abcdef"
    page = library.listing("ann", start=middle)
    assert (len(page.images), page.images[0].id) == (10, middle)
    assert page.previous == "image_100000000000010020abcdef"
    assert page.next == "image_100000000000009980abcdef"


# Limits


def test_images_are_limited(place: Place) -> None:
    library = place.library(images=2)
    first, _ = add(library), add(library)
    for act in (lambda: library.check("ann"), lambda: add(library)):
        assert refused(Kind.CONFLICT, act).message == "This key keeps 2 images already; delete some first."
    library.check("bob")
    add(library, "bob")
    library.delete("ann", first.id)
    library.check("ann")
    add(library)
    assert library.usage("ann") == Holdings(2, 8)
    assert place.states() == ["kept"] * 3


def test_bytes_are_limited(place: Place) -> None:
    library = place.library(size=10)
    for act in (lambda: library.check("ann", size=11), lambda: add(library, data=b"x" * 11)):
        assert "10 bytes" in refused(Kind.CONFLICT, act).message
    assert library.usage("ann") == Holdings(0, 0)
    library.check("ann", size=10)
    image = add(library, data=b"x" * 6)
    library.check("ann")
    library.check("ann", size=4)
    for act in (lambda: library.check("ann", size=5), lambda: add(library, data=b"x" * 5)):
        assert "has 6 already" in refused(Kind.CONFLICT, act).message
    add(library, data=b"x" * 4)
    library.delete("ann", image.id)
    assert library.usage("ann") == Holdings(1, 4)


def test_of_ten_at_once_no_more_than_the_limit_get_in(place: Place) -> None:
    library, together = place.library(images=6, size=25), Barrier(10)

    def ask(n: int) -> Kind | None:
        together.wait()
        return outcome(lambda: add(library, name=f"{n}"))

    for _ in range(2):  # the second time the owner has a row already
        with ThreadPoolExecutor(10) as threads:
            assert Counter(threads.map(ask, range(10))) == {None: 6, Kind.CONFLICT: 4}
        images = library.listing("ann", take=20).images
        assert len(images) == len(list(place.blobs.names("images"))) == 6
        assert library.usage("ann") == Holdings(6, 24)
        with ThreadPoolExecutor(10) as threads:
            list(threads.map(lambda image: library.delete("ann", image.id), images))
        assert library.usage("ann") == Holdings(0, 0)


def test_of_many_who_delete_an_image_one_does(library: ImageStore) -> None:
    image, _ = add(library), add(library)

    with ThreadPoolExecutor(8) as threads:
        outcomes = threads.map(lambda _: outcome(lambda: library.delete("ann", image.id)), range(8))
        assert Counter(outcomes) == {None: 1, Kind.NOT_FOUND: 7}
    assert library.usage("ann") == Holdings(1, 4)


@pytest.mark.parametrize(("images", "size"), [(0, 1), (1, 0), (-1, 5)])
def test_limits_are_at_least_one(images: int, size: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ImageStoreOptions(images=images, bytes=size)


# What goes wrong in between


def test_an_image_that_cannot_be_stored_is_not_counted(place: Place, broken: Blobs) -> None:
    refused(Kind.UNAVAILABLE, lambda: add(place.library(blobs=broken)))
    library = place.library(images=1)
    assert library.listing("ann").images == ()
    assert library.usage("ann") == Holdings(0, 0)
    add(library)
    assert library.sweep(time.time()) == 1
    assert place.states() == ["kept"]


def test_an_image_whose_file_cannot_be_removed_is_deleted_all_the_same(
    place: Place, broken: Blobs, caplog: pytest.LogCaptureFixture
) -> None:
    library, away = place.library(), place.library(blobs=broken)
    image = add(library)
    refused(Kind.UNAVAILABLE, lambda: away.read(image))
    away.delete("ann", image.id)
    assert image.id in caplog.text
    refused(Kind.NOT_FOUND, lambda: library.get("ann", image.id))
    assert library.usage("ann") == Holdings(0, 0)
    refused(Kind.UNAVAILABLE, lambda: away.sweep(time.time()))
    assert list(place.blobs.names()) == [library.blob_key(image)]
    assert library.sweep(time.time()) == 1
    assert list(place.blobs.names()) == []
    assert place.states() == []
    assert library.usage("ann") == Holdings(0, 0)
    assert library.sweep(time.time()) == 0


@pytest.mark.parametrize("with_file", [False, True])
def test_what_a_crash_left_while_storing_is_forgotten_after_an_hour(place: Place, *, with_file: bool) -> None:
    library = place.library()
    image, kept = add(library), add(library)
    # As if the process had died before the file was there, or before its row said so.
    place.write("UPDATE images SET state = 'arriving' WHERE id = :id", id=image.id)
    if not with_file:
        place.blobs.delete(library.blob_key(image))
    refused(Kind.NOT_FOUND, lambda: library.get("ann", image.id))
    refused(Kind.NOT_FOUND, lambda: library.delete("ann", image.id))
    assert library.listing("ann").images == (kept,)
    assert library.usage("ann") == Holdings(2, 8)
    assert library.sweep(time.time() + HOUR - 60) == 0
    assert place.states() == ["arriving", "kept"]
    assert library.sweep(time.time() + HOUR + 60) == 1
    assert place.states() == ["kept"]
    assert list(place.blobs.names()) == [library.blob_key(kept)]
    assert library.usage("ann") == Holdings(1, 4)


def test_what_a_crash_left_while_deleting_is_finished_at_once(place: Place) -> None:
    library = place.library()
    image = add(library)
    place.write("UPDATE images SET state = 'leaving' WHERE id = :id", id=image.id)
    place.write("UPDATE holdings SET images = 0, bytes = 0")
    assert library.sweep(time.time()) == 1
    assert place.states() == []
    assert list(place.blobs.names()) == []
    assert library.usage("ann") == Holdings(0, 0)


def test_a_failure_to_store_is_told_also_where_giving_up_fails(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    library = place.library()

    def fail(said: str) -> Callable[..., None]:
        def failing(*_: object, **__: object) -> None:
            raise MatteboxError(Kind.UNAVAILABLE, said)

        return failing

    with monkeypatch.context() as patch:
        patch.setattr(Blobs, "put", fail("The disk is full."))
        patch.setattr(ImageStore, "_leave", fail("The database is away."))
        with pytest.raises(MatteboxError, match="The disk is full"):
            add(library)
    assert "The database is away" in caplog.text
    assert library.sweep(time.time() + 2 * HOUR) == 1
    assert place.states() == []


def test_sweeps_at_once_count_nothing_twice(place: Place) -> None:
    library = place.library()
    for _ in range(12):
        add(library)
    place.write("UPDATE images SET state = 'arriving' WHERE sequence % 3 > 0")
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: library.sweep(time.time() + 2 * HOUR), range(4)))
    assert place.states() == ["kept"] * 4
    assert library.usage("ann") == Holdings(4, 16)
    assert len(list(place.blobs.names())) == 4


def test_a_file_that_comes_after_its_row_was_given_up_does_not_stay(place: Place) -> None:
    library = place.library()
    # The row is never found to be arriving, as if a sweep had been there in the meantime.
    if place.engine.dialect.name == "postgresql":
        place.write("CREATE FUNCTION lost() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
        when, then = "FOR EACH ROW WHEN (new.state = 'kept')", "EXECUTE FUNCTION lost()"
    else:
        when, then = "WHEN new.state = 'kept'", "BEGIN SELECT RAISE(IGNORE); END"
    place.write(f"CREATE TRIGGER lost BEFORE UPDATE ON images {when} {then}")
    assert refused(Kind.UNAVAILABLE, lambda: add(library)).retry_after
    assert list(place.blobs.names()) == []
    assert library.sweep(time.time() + 2 * HOUR) == 1
    assert library.usage("ann") == Holdings(0, 0)


def test_a_sweep_in_the_middle_of_storing_leaves_all_or_nothing(place: Place) -> None:
    library = place.library()
    data = secrets.token_bytes(500_000)
    with ThreadPoolExecutor(2) as threads:
        for _ in range(5):
            adding = threads.submit(outcome, lambda: add(library, data=data))
            while not adding.done():
                library.sweep(time.time() + 2 * HOUR)
            assert adding.result() in {None, Kind.UNAVAILABLE}
    library.sweep(time.time() + 2 * HOUR)
    kept = library.listing("ann").images
    assert place.states() == ["kept"] * len(kept)
    assert set(place.blobs.names()) == {library.blob_key(image) for image in kept}
    assert all(library.read(image) == data for image in kept)
    assert library.usage("ann") == Holdings(len(kept), len(kept) * len(data))


def test_a_database_that_is_away_is_no_defect(tmp_path: Path) -> None:
    (tmp_path / "mattebox.db").mkdir()
    blobs = Blobs((tmp_path / "blobs").as_uri())
    library = ImageStore(connect(f"sqlite:///{tmp_path}/mattebox.db"), blobs)
    some = "image_" + "a" * 24
    acts: list[Callable[[], object]] = [
        lambda: add(library),
        lambda: library.check("ann"),
        lambda: library.get("ann", some),
        lambda: library.published(some),
        lambda: library.listing("ann"),
        lambda: library.publish("ann", some),
        lambda: library.delete("ann", some),
        lambda: library.usage("ann"),
        lambda: library.sweep(0),
    ]
    for act in acts:
        refused(Kind.UNAVAILABLE, act)
    assert list(blobs.names()) == []


# For users of Python


def test_a_library_at_two_addresses_outlives_the_process(tmp_path: Path) -> None:
    database, storage = f"sqlite:///{tmp_path}/new/images.db", (tmp_path / "files").as_uri()
    with ImageStore.open(database=database, storage=storage) as first:
        image = add(first, "me")
    with ImageStore.open(database=database, storage=storage, options=ImageStoreOptions(images=1)) as second:
        assert second.read(second.get("me", image.id)) == b"file"
        refused(Kind.CONFLICT, lambda: add(second, "me"))


def test_addresses_that_are_none(tmp_path: Path) -> None:
    folder = tmp_path.as_uri()
    refused(Kind.INVALID_PARAMETER, lambda: ImageStore.open(database="images.db", storage=folder))
    refused(Kind.INVALID_PARAMETER, lambda: ImageStore.open(database=f"sqlite:///{tmp_path}/x.db", storage="images"))
    (tmp_path / "folder.db").mkdir()
    refused(Kind.UNAVAILABLE, lambda: ImageStore.open(database=f"sqlite:///{tmp_path}/folder.db", storage=folder))


def test_a_file_that_cannot_be_removed_does_not_keep_those_after_it(tmp_path: Path) -> None:
    storage = tmp_path / "images"
    with ImageStore.open(database=f"sqlite:///{tmp_path}/images.db", storage=storage.as_uri()) as library:
        first, second = add(library), add(library)
        stuck = storage / library.blob_key(first)
        stuck.unlink()
        stuck.mkdir()  # a folder is no file that could be removed
        (stuck / "full").touch()
        for image in (first, second):
            library._leave(image.id, "kept")
        refused(Kind.UNAVAILABLE, lambda: library.sweep(time.time()))
        assert not (storage / library.blob_key(second)).exists()
