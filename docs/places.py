"""Rewrites the tables of places and studios in backdrops.md from the tables of the package."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mattebox.backdrops.prompts.tags import load_tags
from mattebox.backdrops.scenes import catalogue
from mattebox.backdrops.studio import studio

PAGE = Path(__file__).parent / "backdrops.md"


def places() -> Iterator[str]:
    """One row for each place: its author, its licence, and the package it comes from."""
    yield "| place | found by words like | views | author | licence | comes from |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, views in catalogue.places().items():
        file = views[0].file
        source = "Debian's `blender-data`" if file.optional else "npm"
        shown = ", ".join(load_tags().scenes[name].tags[:3])
        yield f"| `{name}` | {shown} | {len(views)} | {file.author} | {file.licence} | {source} |"


def studios() -> Iterator[str]:
    """One row for each kind of drawn studio."""
    yield "| kind | |"
    yield "| --- | --- |"
    for kind in studio.KINDS:
        yield f"| `{kind.name}` | {kind.doc} |"


def main() -> None:
    """Replace the text between the marks."""
    page = PAGE.read_text("utf-8")
    for name, rows in (("places", places()), ("studios", studios())):
        before, _, rest = page.partition(f"<!-- {name} -->\n")
        _, _, after = rest.partition("<!-- end -->")
        page = "\n".join([f"{before}<!-- {name} -->", *rows, f"<!-- end -->{after}"])
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
