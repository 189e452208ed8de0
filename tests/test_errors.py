from __future__ import annotations

import pickle

import pytest

from mattebox.errors import Kind, MatteboxError, failures_behind, forget_frames


def test_an_error_reads_as_its_public_sentence() -> None:
    error = MatteboxError(Kind.INVALID_PARAMETER, "Give a number.", parameter="size")
    assert str(error) == "Give a number."
    assert (error.kind, error.parameter, error.retry_after) == (Kind.INVALID_PARAMETER, "size", None)


def test_about_names_the_parameter_once_and_keeps_the_cause() -> None:
    cause = ValueError("secret path")
    with pytest.raises(MatteboxError) as caught:
        raise MatteboxError(Kind.UNREADABLE_IMAGE, "This is not a picture.", retry_after=1) from cause
    blamed = caught.value.about("image_file")
    assert blamed.parameter == "image_file"
    assert blamed.__cause__ is cause
    assert blamed.retry_after == 1
    assert blamed.about("other").parameter == "image_file"


def test_an_error_comes_back_from_another_process() -> None:
    error = MatteboxError(Kind.OVERLOADED, "Later.", parameter="size", retry_after=2)
    back = pickle.loads(pickle.dumps(error))
    assert vars(back) == vars(error)
    assert str(back) == "Later."


def test_failures_that_lead_to_one_another_are_each_forgotten_once() -> None:
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__context__ = second, first
    assert list(failures_behind(first)) == [first, second]
    forget_frames(first)
    assert list(failures_behind(None)) == []
