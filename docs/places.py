"""Writes the tables of places and studios in backdrops.md anew, from what the package has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mattebox.backdrops.prompts.tags import SCENE_TAGS
from mattebox.backdrops.scenes import catalogue
from mattebox.backdrops.studio import studio

PAGE = Path(__file__).parent / "backdrops.md"


def places() -> Iterator[str]:
    """One row a place: who made it, under which licence, and how it gets here."""
    yield "| place | found by words like | views | author | licence | comes from |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, views in catalogue.PLACES.items():
        file = views[0].file
        source = "Debian's `blender-data`, by name only" if file.optional else "npm"
        shown = ", ".join(SCENE_TAGS[name][:3])
        yield f"| `{name}` | {shown} | {len(views)} | {file.author} | {file.licence} | {source} |"


def studios() -> Iterator[str]:
    """One row a kind that is drawn."""
    yield "| kind | |"
    yield "| --- | --- |"
    for kind in studio.KINDS:
        yield f"| `{kind.name}` | {kind.doc} |"


def main() -> None:
    """Replace what stands between the marks."""
    page = PAGE.read_text("utf-8")
    for name, rows in (("places", places()), ("studios", studios())):
        before, _, rest = page.partition(f"<!-- {name} -->\n")
        _, _, after = rest.partition("<!-- end -->")
        page = "\n".join([f"{before}<!-- {name} -->", *rows, f"<!-- end -->{after}"])
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
