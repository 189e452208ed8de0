"""Writes the table of options in `dialects/native.md` anew, from the fields that read them; `make docs` runs it."""

from __future__ import annotations

import re
from pathlib import Path

from mattebox.fields import Fields, Relation
from mattebox.server.dialects.native.options import RemoveOptions

PAGE = Path(__file__).parent / "dialects" / "native.md"
_TABLE = re.compile(r"(?<=<!-- options -->\n).*?(?=<!-- /options -->)", re.DOTALL)


def table(model: type[Fields]) -> str:
    """One row an option: its values, what it means and requires, and its default."""
    rows = ["| option | values | meaning | default |", "| --- | --- | --- | --- |"]
    for name, schema in model.properties().items():
        words = schema.get("enum")
        bounds = f"{schema.get('minimum')} to {schema.get('maximum')}" if "minimum" in schema else ""
        values = f"`{'`, `'.join(words)}`" if isinstance(words, list) and name != "model" else bounds
        relations = [each for each in model.model_fields[name].metadata if isinstance(each, Relation)]
        needed = [f"`{other}`" for each in relations for other in each.requires]
        meaning = str(schema.get("description", "")) + (f" Requires {' or '.join(needed)}." if needed else "")
        default = schema.get("default")
        shown = "" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        rows.append(f"| `{name}` | {values} | {meaning} | {shown} |")
    return "\n".join(rows) + "\n"


def page(text: str) -> str:
    """The page with its table written anew."""
    return _TABLE.sub(lambda _: table(RemoveOptions), text)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
