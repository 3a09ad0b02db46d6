"""Answers every error of the API with one JSON object: the cause, the field, what to do, and a status that fits."""

import errno
import sqlite3
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from posegen.errors import DiskFullError, PosegenError, logger
from posegen.media.files import readable_size
from posegen.serve.api_objects import ErrorBody
from posegen.serve.job_fields import FieldError, explain
from posegen.serve.job_store import QueueFullError, UnknownJobError, WrongStatusError
from posegen.serve.web_server import BodyTooLargeError, SlowClientError

_STATUS = {"too_large": 413, "too_many_files": 507, "disk_full": 507, "not_found": 404}
_MEANINGS = {
    400: "The request cannot be used; the error names the field.",
    401: "A token is needed.",
    403: "The request comes from another page, or is addressed to another server.",
    404: "There is no such thing.",
    405: "This cannot be done here.",
    409: "The job's status does not allow it.",
    413: "The request is too large.",
    416: "The range lies outside the file.",
    429: "As many jobs wait as the server takes.",
    503: "The server cannot do it now.",
    507: "The disk is full, or its quota is used up.",
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's description of errors with these statuses, and of those that any request can get."""
    return {each: {"model": ErrorBody, "description": _MEANINGS[each]} for each in (*statuses, 401, 403, 503)}


def error_response(status: int, message: str, field: str | None = None, code: str = "invalid_value") -> JSONResponse:
    """Return an error as a response."""
    return JSONResponse({"error": {"message": message, "field": field, "code": code}}, status)


def response_to(error: Exception) -> JSONResponse:
    """Return the response to any error."""
    if isinstance(error, UnknownJobError):
        return error_response(404, str(error), None, "not_found")
    if isinstance(error, WrongStatusError):
        return error_response(409, str(error), None, "wrong_status")
    if isinstance(error, QueueFullError):
        return error_response(429, str(error), None, "queue_full")
    if isinstance(error, DiskFullError):
        return error_response(
            507, "the server's disk is full: delete old videos, or free some space", None, "disk_full"
        )
    if isinstance(error, PosegenError):
        found = explain(error)
        return error_response(_STATUS.get(found.code, 400), str(found), found.field, found.code)
    if isinstance(error, BodyTooLargeError):
        most = readable_size(error.limit)
        return error_response(413, f"the request is larger than {most}: send smaller files", None, "too_large")
    if isinstance(error, SlowClientError):
        return error_response(408, "nothing more of the request has come: send it again", None, "timeout")
    if isinstance(error, sqlite3.Error) or (isinstance(error, OSError) and error.errno != errno.ENOSPC):
        logger.warning("a request failed: %s: %s", type(error).__name__, error)
        return error_response(503, f"the server's folder cannot be used ({error}): see its log", None, "unavailable")
    if isinstance(error, OSError):
        return error_response(
            507, "the server's disk is full: delete old videos, or free some space", None, "disk_full"
        )
    logger.exception("a request failed", exc_info=error)
    return error_response(500, f"a defect of posegen ({type(error).__name__}): see the server's log", None, "defect")


def _methods_at(request: Request) -> list[str]:
    """Return all methods that the address takes; each is a route of its own."""
    methods: set[str] = set()
    for route in request.app.routes:
        match, _ = route.matches(request.scope)
        if match is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    return sorted(methods)


def handle_errors(application: FastAPI) -> None:
    """Make an application answer every error in this way."""

    def answer(_: Request, error: Exception) -> JSONResponse:
        return response_to(error)

    def of_http(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, HTTPException):
            return response_to(error)
        status = error.status_code
        cause: BaseException | None = error  # libraries wrap what was raised while a body was received
        while cause is not None:
            if isinstance(cause, BodyTooLargeError | SlowClientError | OSError):
                return response_to(cause)
            cause = cause.__cause__ or cause.__context__
        message = {404: "there is nothing at this address", 405: "this address does not take this method"}
        code = {404: "not_found", 405: "method_not_allowed", 416: "range"}.get(status, "invalid_request")
        response = error_response(status, message.get(status, str(error.detail)), None, code)
        response.headers.update(error.headers or {})
        if status == 405:
            response.headers["Allow"] = ", ".join(_methods_at(request))
        return response

    def of_values(_: Request, error: Exception) -> JSONResponse:
        found = error.errors()[0] if isinstance(error, RequestValidationError) else {}
        place = [str(part) for part in found.get("loc", ()) if part not in ("query", "path", "body", "header")]
        field = place[0] if place else None
        message = f"{field or 'the body'}: {str(found.get('msg', error)).lower()}"
        return error_response(400, message, field)

    def of_leaving(_: Request, error: Exception) -> JSONResponse:
        return error_response(400, "the connection ended before the request was complete", None, "incomplete")

    for kind in (PosegenError, FieldError, BodyTooLargeError, SlowClientError, sqlite3.Error, OSError, Exception):
        application.add_exception_handler(kind, answer)
    application.add_exception_handler(HTTPException, of_http)
    application.add_exception_handler(RequestValidationError, of_values)
    application.add_exception_handler(ClientDisconnect, of_leaving)
