"""Errors over HTTP: application/problem+json with a code for programs and a hint for people."""

import json
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from finagent.api.callers import ForbiddenError, OnRefused, caller_of
from finagent.context import Document, ExitCode, SurfaceError

MEDIA_TYPE = "application/problem+json"
_STATUS = {
    ExitCode.ERROR: 400,
    ExitCode.USAGE: 422,
    ExitCode.REFUSED: 409,
    ExitCode.NEEDS_APPROVAL: 409,
    ExitCode.UNREACHABLE: 503,
}


def problem(
    status: int,
    detail: str,
    *,
    code: str,
    hint: str = "",
    exit_code: ExitCode = ExitCode.ERROR,
    data: Document | None = None,
) -> Response:
    """A problem document; ``exit_code`` is what the command line would end with."""
    return Response(
        problem_body(status, detail, code=code, hint=hint, exit_code=exit_code, data=data),
        status_code=status,
        media_type=MEDIA_TYPE,
    )


def problem_body(
    status: int,
    detail: str,
    *,
    code: str,
    hint: str = "",
    exit_code: ExitCode = ExitCode.ERROR,
    data: Document | None = None,
) -> bytes:
    """The bytes of a problem document."""
    document: Document = {
        "type": "about:blank" if not code else f"urn:finagent:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "hint": hint,
        "exit_code": int(exit_code),
    }
    if data:
        document["data"] = data
    return json.dumps(document, ensure_ascii=False).encode()


def status_of(code: str, exit_code: ExitCode) -> int:
    """404 for what does not exist, else by what the command line would end with."""
    if code.startswith(("unknown_", "no_such_")) or code in ("unknown", "not_found"):
        return 404
    return _STATUS.get(exit_code, 400)


def explain_problems(app: FastAPI, on_refused: OnRefused) -> None:
    """Answer every error of the application with a problem document.

    ``on_refused`` hears of missing scopes, and of commands whose body or path makes no sense.
    """

    async def forbidden(_: Request, error: Exception) -> Response:
        assert isinstance(error, ForbiddenError)
        refusal = error.refusal
        on_refused(refusal.reason, refusal.token)
        return problem(
            refusal.status,
            refusal.detail,
            code=refusal.code,
            hint=refusal.hint,
            exit_code=ExitCode.REFUSED,
        )

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        if request.method != "GET":
            on_refused("invalid_request", caller_of(request).name)
        return _invalid(error)

    app.add_exception_handler(ForbiddenError, forbidden)
    app.add_exception_handler(SurfaceError, _surface)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


async def _surface(_: Request, error: Exception) -> Response:
    assert isinstance(error, SurfaceError)
    status = status_of(error.code, error.exit_code)
    return problem(status, error.message, code=error.code, hint=error.hint, exit_code=error.exit_code)


def _invalid(error: RequestValidationError) -> Response:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return problem(
        422,
        f"{place}: {first['msg']}",
        code="invalid_request",
        hint="See /openapi.json for what is expected",
        exit_code=ExitCode.USAGE,
    )


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code in (404, 405):
        return problem(
            error.status_code,
            "there is no such route" if error.status_code == 404 else "this route takes another method",
            code="no_such_route",
            hint="See /openapi.json; a module may be switched off by api.modules",
            exit_code=ExitCode.USAGE,
        )
    return problem(error.status_code, str(error.detail), code="http", hint="")


async def _unexpected(_: Request, error: Exception) -> Response:
    return problem(500, f"unexpected {type(error).__name__}", code="unexpected", hint="The log says more")
