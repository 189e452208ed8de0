"""Which photo becomes which file."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.batches import as_a_person, plan, refusal, targets, write

from mattebox import batch
from mattebox.batch import Job, Plan
from mattebox.edit import Format
from mattebox.errors import Kind, MatteboxError

# --- one photo ---------------------------------------------------------------------------------------------------


def test_one_photo_goes_beside_itself(tmp_path: Path) -> None:
    photo = tmp_path / "my holiday.été.JPG"
    write(photo)
    assert plan(photo, to=None) == Plan(jobs=(Job(photo, tmp_path / "my holiday.été-cutout.png"),), format=Format.PNG)
    assert targets(plan(photo, to=None, fmt=Format.JPEG)) == {tmp_path / "my holiday.été-cutout.jpg"}


@pytest.mark.parametrize(
    ("name", "fmt", "expected"),
    [
        ("x.webp", None, Format.WEBP),
        ("x.JPG", None, Format.JPEG),
        ("x.jpeg", Format.JPEG, Format.JPEG),
        ("x.bin", Format.AVIF, Format.AVIF),
    ],
)
def test_the_format_is_what_the_file_ends_in(tmp_path: Path, name: str, fmt: Format | None, expected: Format) -> None:
    photo = tmp_path / "a.jpg"
    write(photo)
    made = plan(photo, to=tmp_path / name, fmt=fmt)
    assert made.format is expected
    assert targets(made) == {tmp_path / name}


def test_an_ending_that_is_no_format_or_another_one_is_refused(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    write(photo)
    assert refusal(photo, to=tmp_path / "x.txt").parameter == "output"
    assert refusal(photo, to=tmp_path / "x.png", fmt=Format.WEBP).parameter == "format"


def test_one_photo_into_a_folder(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    write(photo)
    (tmp_path / "there.d").mkdir()
    assert targets(plan(photo, to=tmp_path / "there.d")) == {tmp_path / "there.d" / "a.png"}
    assert targets(plan(photo, to=tmp_path / "new")) == {tmp_path / "new" / "a.png"}
    assert targets(plan(photo, to=f"{tmp_path}/new.d/")) == {tmp_path / "new.d" / "a.png"}


def test_the_standard_streams() -> None:
    assert plan("-", to=None).jobs == (Job(None, None),)
    assert plan("-", to="-", fmt=Format.WEBP) == Plan(jobs=(Job(None, None),), format=Format.WEBP)
    assert plan("-", to="x.png").jobs == (Job(None, Path("x.png")),)


def test_the_standard_input_has_no_name_and_no_company(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    assert refusal("-", to=tmp_path).parameter == "output"
    assert refusal("-", tmp_path / "a.jpg", to=tmp_path / "out").parameter == "inputs"


def test_an_existing_file_is_kept_unless_told(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg", tmp_path / "a-cutout.png", tmp_path / "x.png")
    assert refusal(tmp_path / "a.jpg", to=None, overwrite=False).kind is Kind.CONFLICT
    assert refusal(tmp_path / "a.jpg", to=tmp_path / "x.png", overwrite=False).kind is Kind.CONFLICT
    assert targets(plan(tmp_path / "a.jpg", to=tmp_path / "x.png", overwrite=True)) == {tmp_path / "x.png"}


@pytest.mark.posix
def test_a_dangling_link_is_something_that_exists(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    (tmp_path / "x.png").symlink_to(tmp_path / "nowhere")
    assert refusal(tmp_path / "a.jpg", to=tmp_path / "x.png", overwrite=False).kind is Kind.CONFLICT


@pytest.mark.posix
@pytest.mark.parametrize("how", ["itself", "symlink", "hard link", "folder link", "dots"])
def test_the_photo_is_never_overwritten(tmp_path: Path, how: str) -> None:
    photo = tmp_path / "d" / "a.png"
    write(photo)
    other = tmp_path / "other.png"
    match how:
        case "itself":
            other = photo
        case "symlink":
            other.symlink_to(photo)
        case "hard link":
            other.hardlink_to(photo)
        case "folder link":
            (tmp_path / "link").symlink_to(photo.parent)
            other = tmp_path / "link" / "a.png"
        case "dots":
            other = tmp_path / "d" / ".." / "d" / "a.png"
    error = refusal(photo, to=other, overwrite=True)
    assert error.kind is Kind.CONFLICT
    assert "a.png" in error.message


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    error = refusal(tmp_path / "no.jpg", to=None)
    assert error.kind is Kind.NOT_FOUND
    assert "no.jpg" in error.message


# --- many --------------------------------------------------------------------------------------------------------


def test_a_folder_is_mirrored(tmp_path: Path) -> None:
    top, out = tmp_path / "in put", tmp_path / "out"
    write(top / "b.jpg", top / "a.PNG", top / "süb" / "deep" / "猫.webp", top / "read.me", top / ".hidden.jpg")
    write(top / ".git" / "x.jpg", top / "no-ending")
    made = plan(top, to=out)
    assert [(job.source, job.target) for job in made.jobs] == [
        (top / "a.PNG", out / "a.png"),
        (top / "b.jpg", out / "b.png"),
        (top / "süb" / "deep" / "猫.webp", out / "süb" / "deep" / "猫.png"),
    ]
    assert made.passed_over == 4  # read.me, .hidden.jpg, .git, no-ending


def test_a_file_that_is_named_may_have_any_ending(tmp_path: Path) -> None:
    write(tmp_path / "scan.001", tmp_path / ".a.jpg")
    made = plan(tmp_path / "scan.001", tmp_path / ".a.jpg", to=tmp_path / "out")
    assert targets(made) == {tmp_path / "out" / "scan.png", tmp_path / "out" / ".a.png"}


def test_several_photos_need_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "d" / "a.jpg", tmp_path / "b.jpg", tmp_path / "file")
    for to in (None, "-", tmp_path / "x.png", tmp_path / "file"):
        assert refusal(tmp_path / "d", to=to).parameter == "output"
        assert refusal(tmp_path / "d" / "a.jpg", tmp_path / "b.jpg", to=to).parameter == "output"


def test_two_photos_never_become_one_file(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.jpg", tmp_path / "in" / "a.png", tmp_path / "in" / "b.jpg")
    error = refusal(tmp_path / "in", to=tmp_path / "out")
    assert error.kind is Kind.CONFLICT
    assert "a.jpg and " in error.message
    assert "a.png would both become" in error.message
    assert "b.jpg" not in error.message


def test_photos_of_one_name_from_two_places_clash(tmp_path: Path) -> None:
    write(tmp_path / "1" / "a.jpg", tmp_path / "2" / "a.jpg")
    assert refusal(tmp_path / "1", tmp_path / "2", to=tmp_path / "out").kind is Kind.CONFLICT
    assert refusal(tmp_path / "1" / "a.jpg", tmp_path / "2" / "a.jpg", to=tmp_path / "out").kind is Kind.CONFLICT


def test_names_that_differ_in_unicode_form_only_clash(tmp_path: Path) -> None:
    one, two = tmp_path / "1" / "\u00e9.jpg", tmp_path / "2" / "e\u0301.jpg"
    write(one, two)
    assert refusal(one, two, to=tmp_path / "out").kind is Kind.CONFLICT


@pytest.mark.posix
def test_two_ways_to_one_output_folder_clash(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "x").mkdir(parents=True)
    (out / "y").symlink_to(out / "x")
    write(tmp_path / "in" / "x" / "a.jpg", tmp_path / "in" / "y" / "a.jpg")
    assert refusal(tmp_path / "in", to=out).kind is Kind.CONFLICT


def test_a_photo_that_is_named_twice_is_done_once(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.jpg")
    made = plan(tmp_path / "in", tmp_path / "in" / "a.jpg", tmp_path / "in", to=tmp_path / "out")
    assert len(made.jobs) == 1


@pytest.mark.posix
def test_no_photo_of_a_folder_is_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.png")
    assert refusal(tmp_path / "in", to=tmp_path / "in").kind is Kind.CONFLICT
    assert refusal(tmp_path / "in", to=tmp_path / "in", overwrite=False).kind is Kind.CONFLICT
    (tmp_path / "link").symlink_to(tmp_path / "in")
    assert refusal(tmp_path / "in", to=tmp_path / "link").kind is Kind.CONFLICT


def test_another_photo_of_the_run_is_not_overwritten_either(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "out" / "a.png")
    inputs = [tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "out" / "a.png"]
    other = tmp_path / "c"
    write(other / "a.jpg")
    assert refusal(*inputs, to=tmp_path / "out").kind is Kind.CONFLICT
    assert refusal(other / "a.jpg", tmp_path / "out" / "a.png", to=tmp_path / "out").kind is Kind.CONFLICT


@pytest.mark.posix
def test_an_output_folder_inside_the_input_is_not_read(tmp_path: Path) -> None:
    top = tmp_path / "in"
    write(top / "a.jpg", top / "sub" / "b.jpg", top / "cutouts" / "a.png", top / "cutouts" / "old.png")
    made = plan(top, to=top / "cutouts", overwrite=True)
    assert {job.source for job in made.jobs} == {top / "a.jpg", top / "sub" / "b.jpg"}
    (tmp_path / "link").symlink_to(top / "cutouts")
    assert {job.source for job in plan(top, to=tmp_path / "link", overwrite=True).jobs} == {
        top / "a.jpg",
        top / "sub" / "b.jpg",
    }


@pytest.mark.posix
def test_links_to_folders_are_passed_over(tmp_path: Path) -> None:
    top = tmp_path / "in"
    write(top / "a.jpg")
    (top / "loop").symlink_to(top)
    made = plan(top, to=tmp_path / "out")
    assert len(made.jobs) == 1
    assert made.passed_over == 1


def test_what_exists_is_kept_and_counted(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.jpg", tmp_path / "in" / "b.jpg", tmp_path / "out" / "a.png")
    made = plan(tmp_path / "in", to=tmp_path / "out")
    assert [job.source for job in made.kept] == [tmp_path / "in" / "a.jpg"]
    assert [job.source for job in made.jobs] == [tmp_path / "in" / "b.jpg"]
    assert len(plan(tmp_path / "in", to=tmp_path / "out", overwrite=True).jobs) == 2


@pytest.mark.process
def test_a_folder_that_cannot_be_listed_stops_everything(tmp_path: Path) -> None:
    write(tmp_path / "in" / "closed" / "a.jpg")
    (tmp_path / "in" / "closed").chmod(0)
    said = as_a_person(
        "from mattebox import batch, errors\n"
        "try: batch.plan([str(folder / 'in')], str(folder / 'out'), format=None, overwrite=True)\n"
        "except errors.MatteboxError as error: print(error.message)",
        tmp_path,
    )
    (tmp_path / "in" / "closed").chmod(0o700)
    assert "cannot be read: Permission denied" in said


@pytest.mark.process
@pytest.mark.posix
def test_what_lies_in_a_closed_folder_is_said_to_be_there(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.jpg")
    (tmp_path / "in").chmod(0)
    said = as_a_person(
        "from mattebox import batch, errors\n"
        "for where in (['in', 'a.jpg'], ['in', 'b.jpg']):\n"
        "  try: batch.plan([str(folder.joinpath(*where))], str(folder / 'x.png'), format=None, overwrite=True)\n"
        "  except errors.MatteboxError as error: print(error.message)",
        tmp_path,
    )
    (tmp_path / "in").chmod(0o700)
    assert [line.endswith("cannot be read: Permission denied.") for line in said.splitlines()] == [True, True]


@pytest.mark.posix
def test_pipes_sockets_and_devices_of_a_folder_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = tmp_path / "in"
    write(top / "a.jpg")
    monkeypatch.chdir(top)
    os.mkfifo("pipe.jpg")
    (top / "link.jpg").symlink_to("pipe.jpg")
    (top / "device.jpg").symlink_to("/dev/zero")
    (top / "nowhere.jpg").symlink_to("gone.jpg")  # a photo that cannot be read, which is said when its turn comes
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind("plug.jpg")
        made = plan(top, to=tmp_path / "out")
    assert [job.source for job in made.jobs] == [top / "a.jpg", top / "nowhere.jpg"]
    assert made.passed_over == 4


def test_an_empty_text_is_not_the_current_folder(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    assert refusal("", to=tmp_path / "out").parameter == "inputs"
    assert refusal(tmp_path / "a.jpg", to="").parameter == "output"


def test_names_that_are_too_long_for_a_disk_are_sentences(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    assert "File name too long" in refusal(tmp_path / ("m" * 300 + ".jpg"), to=tmp_path / "out").message
    assert targets(plan(tmp_path / "a.jpg", to=tmp_path / ("m" * 300 + ".png"))) == {tmp_path / ("m" * 300 + ".png")}


NAMES = st.sampled_from(["a.jpg", "a.png", "b.jpg", "s/a.jpg", "s/a.gif", "s/t/b.png", "A.jpg", ".h.jpg", "c.txt"])


@given(
    trees=st.lists(st.sets(NAMES, min_size=1), min_size=1, max_size=3),
    existing=st.sets(st.sampled_from(["a.png", "s/a.png", "b.png"])),
    overwrite=st.booleans(),
    inside=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_a_plan_that_is_accepted_loses_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    trees: list[set[str]],
    existing: set[str],
    overwrite: bool,
    inside: bool,
) -> None:
    top = tmp_path_factory.mktemp("t")
    folders = [top / f"in{number}" for number in range(len(trees))]
    out = folders[0] if inside else top / "out"
    write(*(folder / name for folder, names in zip(folders, trees, strict=True) for name in names))
    write(*(out / name for name in existing))
    refused = made = None
    try:
        made = plan(*folders, to=out, overwrite=overwrite)
    except MatteboxError as error:
        refused = error
    if made is None:
        assert refused is not None
        assert refused.kind is Kind.CONFLICT
        return
    sources = [job.source for job in (*made.jobs, *made.kept)]
    outputs = [job.target for job in (*made.jobs, *made.kept)]
    photos = [
        file
        for folder in folders
        for file in folder.rglob("*.*")
        if file.suffix in batch.SUFFIXES and not file.name.startswith(".")
    ]
    assert len(set(outputs)) == len(outputs)
    assert not set(outputs) & set(sources)
    assert sorted(map(str, sources)) == sorted(map(str, photos))
    assert overwrite or not any(job.target is not None and job.target.exists() for job in made.jobs)
