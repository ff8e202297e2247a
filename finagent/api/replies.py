"""Answers over HTTP: a document as JSON, and what a command did."""

import json

from fastapi.responses import Response

from finagent.api.problems import problem, status_of
from finagent.context import CommandResult, Document


def reply(document: Document, *, status: int = 200) -> Response:
    """A document as JSON."""
    body = json.dumps(document, ensure_ascii=False)
    return Response(body, status_code=status, media_type="application/json")


def outcome(result: CommandResult) -> Response:
    """What a command did, or the problem it met."""
    if result.is_done:
        return reply({"code": result.code, "message": result.message, "data": dict(result.data)})
    hint = result.data.get("hint")
    return problem(
        status_of(result.code, result.exit_code),
        result.message,
        code=result.code,
        hint=hint if isinstance(hint, str) else "",
        exit_code=result.exit_code,
        data=dict(result.data),
    )
