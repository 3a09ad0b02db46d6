"""The page of the job server: three files, and the settings that it shows, made from the fields of the API.

Plain HTML and JavaScript: the page needs pictures to click on, players in sync, and to keep focus while jobs change.
"""

import json
from functools import cache
from importlib import resources
from typing import Any

from fastapi import FastAPI, Response

from posegen.config import ServeConfig
from posegen.serve.job_fields import job_fields

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""Content-Security-Policy of the page."""
BASIC = ("start", "end", "retarget", "fit", "camera", "prompt")
"""Fields that everybody sees."""
_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Model and result", ("model", "lora", "size", "fps", "seed", "steps", "guidance", "pose_guidance", "pose_strength",
                          "negative_prompt", "subject", "side_by_side")),
    ("People and poses", ("person", "reference_person", "person_check", "hands", "smoothing", "pose", "pose_file",
                          "normals", "normals_file", "driving_conditions")),
    ("Background and long videos", ("sharing", "framing", "anchor", "long_method", "save_masks", "sharing_store",
                                    "sharing_precision", "memory_budget")),
)  # fmt: skip  # a table, read in rows
"""Fields of each group; those in none of them come last."""
_FILES = {
    "/page/base.css": ("shared_page/base.css", "text/css"),
    "/page/jobs.css": ("page_of_jobs/jobs.css", "text/css"),
    "/page/jobs.js": ("page_of_jobs/jobs.js", "text/javascript"),
}


def grouped_fields() -> list[tuple[str, list[str]]]:
    """Return the names of all fields that the page folds away, by group; each field of the API is on the page once."""
    groups = [(title, [*names]) for title, names in _GROUPS]
    known = {"reference", "driving_video", *BASIC, *(name for _, names in groups for name in names)}
    return [*groups, ("Everything else", [name for name in job_fields() if name not in known])]


def page_settings(config: ServeConfig) -> dict[str, Any]:
    """Return what the page needs to know of fields."""
    fields = {
        field.name: {
            "name": field.name,
            "kind": field.kind,
            "description": field.description,
            "default": list(field.default) if isinstance(field.default, tuple) else field.default,
            "choices": list(field.choices),
            "limits": None if field.limits is None else [field.limits.low, field.limits.high, field.limits.unit],
        }
        for field in job_fields().values()
    }
    fields["model"] |= {"choices": list(config.models), "default": config.models[0]}
    return {"fields": fields, "basic": list(BASIC), "groups": grouped_fields(), "models": list(config.models)}


def add_page(api: FastAPI, config: ServeConfig) -> None:
    """Add the page to the application of the API."""
    settings = json.dumps(page_settings(config)).replace("<", "\\u003c")
    page = _text("page_of_jobs/jobs.html").replace("{settings}", settings)

    @api.get("/", include_in_schema=False)
    def show_page() -> Response:
        return Response(page, media_type="text/html", headers={"Content-Security-Policy": POLICY})

    def add(path: str, file: str, kind: str) -> None:
        @api.get(path, include_in_schema=False)
        def part() -> Response:
            return Response(_text(file), media_type=kind, headers={"Cache-Control": "no-cache"})

    for path, (file, kind) in _FILES.items():
        add(path, file, kind)


@cache
def _text(name: str) -> str:
    return (resources.files("posegen.serve") / name).read_text(encoding="utf-8")
