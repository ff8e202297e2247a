"""Who may use the agent over HTTP: tokens made, listed and revoked, on this machine only."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from finagent.cli.failures import usage
from finagent.cli.fields import rows, text
from finagent.cli.invocation import answer, answer_intent, confirm, identity, invocation
from finagent.cli.options import AsJson, DryRun, Yes, checked_end
from finagent.cli.page import Column, Page
from finagent.cli.values import moment
from finagent.context import Document, Json, SurfaceError
from finagent.runtime.tokens import LogDamagedError, Token, TokenBook, TokenError, TokenScope

app = typer.Typer(
    rich_markup_mode=None, add_completion=False, no_args_is_help=True, help="Who may use the agent."
)
tokens = typer.Typer(
    rich_markup_mode=None, add_completion=False, no_args_is_help=True, help="Tokens for the HTTP surface."
)
app.add_typer(tokens, name="token")

SPAN = re.compile(r"([0-9]{1,4})([hdw])", re.ASCII)
SPAN_MS = {"h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
SCOPES = ", ".join(TokenScope)


@tokens.command("create")
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is: journalled with what it does.")],
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", metavar="SCOPE", help=f"{SCOPES}: each contains those before it."),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="SPAN|DATE", help="12h, 30d, 8w or 2027-01-31; default never."),
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Make a token and show it once; only its SHA-256 is kept."""
    home, now_ms = _home(invocation(context).home), _now_ms()
    scopes = _scopes(scope)
    expires_at_ms = _expiry(expires, now_ms)
    if dry_run:
        with _shown(home):
            TokenBook(home).check_new(name, scopes, now_ms=now_ms)
        details: Document = {"name": name, "scopes": [*scopes]}
        answer_intent(
            "token create", f"make a token {name} for {', '.join(scopes)}", details, as_json=as_json
        )
        return
    with _shown(home):
        token, secret = TokenBook(home).create(
            name, scopes, by=identity(), now_ms=now_ms, expires_at_ms=expires_at_ms
        )
    answer({**_document(token, now_ms), "token": secret}, as_json=as_json, render=_created)


@tokens.command("list")
def listing(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Expired and revoked ones too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tokens with their scopes; never the tokens themselves."""
    home, now_ms = _home(invocation(context).home), _now_ms()
    with _shown(home):
        found = TokenBook(home).tokens()
    shown = [token for token in found if every or token.state(now_ms) == "active"]
    documents: list[Json] = [_document(token, now_ms) for token in shown]
    answer({"tokens": documents}, as_json=as_json, render=_listed)


@tokens.command("revoke")
def revoke(
    context: typer.Context,
    which: Annotated[str, typer.Argument(metavar="NAME|ID", help="As token list shows it.")],
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """End a token at once; a running agent refuses it from its next request on."""
    home, now_ms = _home(invocation(context).home), _now_ms()
    if dry_run:
        answer_intent("token revoke", f"revoke the token {which}", {"token": which}, as_json=as_json)
        return
    confirm(f"Whoever uses the token {which} is shut out. Go on?", is_sure=yes, verb="token revoke")
    with _shown(home):
        token = TokenBook(home).revoke(which, by=identity(), now_ms=now_ms)
    answer(_document(token, now_ms), as_json=as_json, render=_revoked)


def _now_ms() -> int:
    from finagent.runtime.clock import SystemClock

    return SystemClock().now_ms()


def _home(home: Path) -> Path:
    if not home.is_dir():
        raise SurfaceError(
            f"there is no home at {home}",
            hint="finagent orchestrate makes one; --home names another",
            code="no_home",
        )
    return home


def _scopes(given: list[str] | None) -> list[TokenScope]:
    """The scopes of one or more options, with commas too; read where none is given."""
    names = [name.strip().lower() for each in given or ["read"] for name in each.split(",") if name.strip()]
    unknown = sorted(set(names) - set(TokenScope))
    if unknown or not names:
        raise usage(f"--scope {' '.join(given or [])!r} is none of {SCOPES}", "Use --scope approve")
    return [scope for scope in TokenScope if scope in names]


def _expiry(given: str | None, now_ms: int) -> int | None:
    if given is None:
        return None
    span = SPAN.fullmatch(given)
    if span is not None:
        until_ms = now_ms + int(span[1]) * SPAN_MS[span[2]]
    else:
        try:
            moment_ = checked_end(given if "-" in given else "")
        except SurfaceError:
            raise usage(
                f"--expires {given} is neither a span nor a date", "Write 30d or 2027-01-31"
            ) from None
        until_ms = int(datetime.fromisoformat(moment_ or "").timestamp() * 1000)
    if until_ms <= now_ms:
        raise usage(f"--expires {given} is over already", "Name a time that is still to come")
    return until_ms


@contextmanager
def _shown(home: Path) -> Iterator[None]:
    """What goes wrong with the token file, as one line with the mend."""
    try:
        yield
    except TokenError as error:
        what, _, mend = str(error).rpartition(": ")
        code = "unknown_token" if "no token" in what else "token"
        raise SurfaceError(what or mend, hint=mend if what else "", code=code) from None
    except (LogDamagedError, ValueError, KeyError) as error:
        raise SurfaceError(
            f"the tokens of {home} cannot be read: {error}",
            hint="Move the file tokens.log away: every token is void then; make new ones",
            code="damaged",
        ) from None


def _document(token: Token, now_ms: int) -> Document:
    return {
        "id": token.id,
        "name": token.name,
        "scopes": [*token.scopes],
        "state": token.state(now_ms),
        "created_at": _instant(token.created_at_ms),
        "created_by": token.created_by,
        "expires_at": _instant(token.expires_at_ms),
        "revoked_at": _instant(token.revoked_at_ms),
        "revoked_by": token.revoked_by or None,
    }


def _instant(at_ms: int | None) -> str | None:
    if at_ms is None:
        return None
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _created(document: Document, page: Page) -> str:
    facts = [
        ("Name", text(document, "name")),
        ("Scopes", ", ".join(map(str, _list(document, "scopes")))),
        ("Expires", _when(document, "expires_at") or "never"),
    ]
    told = page.paragraph("It is shown this once: only its SHA-256 is kept.", "yellow")
    return f"{text(document, 'token')}\n\n{page.pairs(facts)}\n\n{told}"


def _listed(document: Document, page: Page) -> str:
    columns = (
        Column("Name"), Column("ID", rank=1), Column("Scopes"), Column("State"),
        Column("Expires", rank=2), Column("Made by", rank=3),
    )  # fmt: skip
    cells = [
        [
            text(row, "name"),
            text(row, "id"),
            ", ".join(map(str, _list(row, "scopes"))),
            text(row, "state"),
            _when(row, "expires_at") or "never",
            text(row, "created_by"),
        ]
        for row in rows(document, "tokens")
    ]
    return (
        page.table(columns, cells) or "No tokens. finagent user token create NAME --scope approve makes one."
    )


def _revoked(document: Document, page: Page) -> str:
    return f"Token {text(document, 'name')} ({text(document, 'id')}) is revoked."


def _when(document: Document, key: str) -> str:
    at = text(document, key)
    return moment(at, "%Y-%m-%d %H:%M ET") if at else ""


def _list(document: Document, key: str) -> list[Json]:
    found = document.get(key)
    return found if isinstance(found, list) else []
