"""Writes the tables of options in `dialects/native.md` anew, from the fields that read them; `make docs` runs it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from mattebox.fields import Fields, Relation, Schema
from mattebox.server.dialects.native.options import RemoveFields, RemoveOptions, ReplaceFields

PAGE = Path(__file__).parent / "dialects" / "native.md"
TABLES: Mapping[str, tuple[type[Fields], Collection[str]]] = {
    "options": (RemoveOptions, RemoveOptions.model_fields),
    "replace options": (ReplaceFields, ReplaceFields.model_fields.keys() - RemoveFields.model_fields.keys()),
}
"""For each name in the page the model and the names of its fields."""


def table(model: type[Fields], names: Collection[str]) -> str:
    """One row an option: its values, what it means and requires, and its default."""
    rows = ["| option | values | meaning | default |", "| --- | --- | --- | --- |"]
    for name, schema in model.properties().items():
        if name not in names:
            continue
        relations = [each for each in model.model_fields[name].metadata if isinstance(each, Relation)]
        needed = [f"`{other}`" for each in relations for other in each.requires]
        meaning = str(schema.get("description", "")) + (f" Requires {' or '.join(needed)}." if needed else "")
        default = schema.get("default")
        shown = "" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        rows.append(f"| `{name}` | {values(name, schema)} | {meaning} | {shown} |")
    return "\n".join(rows) + "\n"


def values(name: str, schema: Schema) -> str:
    """The values that a schema allows, in a few words."""
    match schema:
        case {"enum": list(words)}:
            return "a name from `GET /api/v1/models`" if name == "model" else ", ".join(f"`{word}`" for word in words)
        case {"minimum": int(least) | float(least), "maximum": int(most) | float(most)}:
            return f"{least} to {most}" if most < 2**53 else "a whole number"
        case {"type": "boolean"}:
            return "`true`, `false`"
        case {"maxLength": int(longest)}:
            return f"text of at most {longest} characters"
        case {"type": "object"}:
            return "a JSON object"
        case {"format": "uri"}:
            return "an address"
        case {"format": "binary"}:
            return "a file, or base64"
        case _:
            return "text"


def page(text: str) -> str:
    """The page with its tables written anew."""
    for name, (model, names) in TABLES.items():
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        text = "".join((before, mark, table(model, names), end, after))
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
