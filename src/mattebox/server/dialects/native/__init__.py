"""mattebox's own API, `/api/v1`: everything the engine can do, in its own words."""

from __future__ import annotations

from fastapi import APIRouter

from mattebox.server.dialects.native import edits, images, scenes, tasks, watching
from mattebox.server.dialects.native.problem import render_error
from mattebox.server.http.dialect import Dialect

router = APIRouter(routes=[route for each in (edits, images, scenes, watching, tasks) for route in each.router.routes])

DIALECT = Dialect(
    name="native",
    prefixes=("/",),
    router=router,
    render_error=render_error,
    parameters={"places": "marks", "backdrop": "background_image"},
    webhook_body=tasks.webhook_body,
)
