"""Settings: show, validate, schema."""

import json
from decimal import Decimal

import typer

from finagent.cli.invocation import answer, invocation
from finagent.cli.options import AsJson
from finagent.cli.page import Page
from finagent.context import Document, Json

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True, help="Settings.")


@app.command("show")
def show(context: typer.Context, as_json: AsJson = False) -> None:
    """The settings in force, file and environment together, secrets redacted."""
    answer(invocation(context).settings().redacted(), as_json=as_json, render=_as_yaml)


@app.command("validate")
def validate(context: typer.Context, as_json: AsJson = False) -> None:
    """Check the file and the environment; exit 2 with the mend where they are wrong."""
    call = invocation(context)
    call.settings()
    source = str(call.config) if call.config is not None else "settings.yaml"
    answer(
        {"valid": True, "file": source},
        as_json=as_json,
        render=lambda document, _: f"{document['file']} is valid.",
    )


@app.command("schema")
def schema() -> None:
    """JSON Schema of settings.yaml for editors."""
    from finagent.settings import settings_schema

    print(json.dumps(settings_schema(), ensure_ascii=False, indent=2))


def _as_yaml(document: Document, page: Page) -> str:
    lines = []
    for name, section in document.items():
        if isinstance(section, dict):
            lines.append(page.heading(f"{name}:"))
            lines.extend(f"  {key}: {_scalar(value)}" for key, value in section.items())
        else:
            lines.append(f"{name}: {_scalar(section)}")
    return "\n".join(lines)


def _scalar(value: Json) -> str:
    if isinstance(value, str):
        try:
            Decimal(value)
        except ArithmeticError:
            return json.dumps(value, ensure_ascii=False) if value != "***" else '"***"'
        return value
    return json.dumps(value, ensure_ascii=False)
