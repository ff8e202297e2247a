"""A study as a page: the front of return against drawdown, what each setting does, how chance would have done."""

from collections.abc import Sequence
from itertools import pairwise

from finagent.backtest.pages import shell
from finagent.backtest.pages.reading import Row, number, rows, section, text, words
from finagent.backtest.pages.shell import Column, Html

MEASURED = ("return", "cagr", "max_drawdown", "sharpe", "sortino", "calmar", "trades", "win_rate")
WALKED = ("cagr", "max_drawdown", "sharpe", "trades")
SHARES = ("return", "cagr", "max_drawdown", "volatility", "win_rate", "worst_session")
WARNING = (
    "The best of many trials looks better than it is. Sessions that chose it say nothing of sessions to come: look at"
    " the probabilities below, at its neighbours, and at a walk-forward."
)


def study_page(document: Row) -> str:
    """The whole file, from the document alone."""
    parts: list[Html] = [_lead(document), _cards(document), shell.paragraph(WARNING, kind="warn")]
    if rows(document, "top"):
        parts += [
            shell.section("Return against drawdown", _points(document)),
            shell.section("Best trials", trials_table(rows(document, "top"))),
            shell.section("Front of the objectives", trials_table(rows(document, "front"))),
        ]
    else:
        parts.append(shell.paragraph("No trial meets every requirement.", kind="warn"))
    parts += [
        shell.section("What each setting does", *_settings(document)),
        *_walked(document),
        shell.section("What the choice is worth", *_worth(document)),
        shell.section("What was asked", shell.facts_table(_asked(document))),
    ]
    return shell.page(f"Optimisation {text(document, 'from')} to {text(document, 'to')}", *parts)


def shown(name: str, value: float | None) -> str | None:
    """A measure as it reads; None where it is not known."""
    if value is None:
        return None
    if name in SHARES:
        return f"{value * 100:.2f} %"
    return f"{value:,.0f}" if name == "trades" else f"{value:.2f}"


def trials_table(trials: Sequence[Row]) -> Html:
    """Number, values and measures of trials."""
    names = list(section(trials[0], "values")) if trials else []
    columns = [Column("Trial", right=True), *(Column(name, right=True) for name in names)]
    columns += [Column(name.replace("_", " "), right=True) for name in MEASURED]
    cells = [
        [
            text(trial, "number"),
            *(text(section(trial, "values"), name) for name in names),
            *(shown(name, number(section(trial, "measures"), name)) for name in MEASURED),
        ]
        for trial in trials
    ]
    return shell.table(columns, cells)


def _lead(document: Row) -> Html:
    counts = section(document, "trials")
    line = (
        f"Study {text(document, 'study_id')}, {text(document, 'method')} with seed {text(document, 'seed')},"
        f" {text(counts, 'asked')} trials over {text(document, 'sessions')} sessions, bars {text(document, 'bars')}."
    )
    return shell.paragraph(line, kind="dim")


def _cards(document: Row) -> Html:
    best = section(section(document, "best"), "measures")
    deflated = number(section(section(document, "worth"), "deflated_sharpe"), "probability")
    overfit = number(section(section(document, "worth"), "overfitting"), "probability")
    facts: list[tuple[str, object]] = [
        ("Eligible trials", text(section(document, "trials"), "eligible")),
        *((f"Best: {name.replace('_', ' ')}", shown(name, number(best, name))) for name in MEASURED[:4]),
        ("Deflated Sharpe", None if deflated is None else f"{deflated:.1%}"),
        ("Overfitting", None if overfit is None else f"{overfit:.1%}"),
    ]
    return shell.cards(facts)


def _points(document: Row) -> Html:
    points = section(document, "points")
    numbers, drawdowns, gains, able = (
        _listed(points, name) for name in ("number", "max_drawdown", "return", "eligible")
    )
    traces: list[dict[str, object]] = []
    for name, is_able, colour in (("misses a requirement", False, "#c3ccd5"), ("eligible", True, shell.LINE)):
        chosen = [at for at, flag in enumerate(able) if bool(flag) is is_able]
        traces.append(
            {
                "type": "scatter", "mode": "markers", "name": name, "marker": {"size": 6, "color": colour},
                "x": [drawdowns[at] for at in chosen], "y": [gains[at] for at in chosen],
                "text": [shell.label(f"trial {numbers[at]}") for at in chosen],
                "hovertemplate": "%{text}<br>drawdown %{x:.1%}<br>return %{y:.1%}<extra></extra>",
            }
        )  # fmt: skip
    front = [section(each, "measures") for each in rows(document, "front")]
    places = sorted((number(each, "max_drawdown") or 0.0, number(each, "return") or 0.0) for each in front)
    traces.append(
        {
            "type": "scatter", "mode": "lines+markers", "name": "front", "marker": {"size": 8, "color": shell.GAIN},
            "line": {"shape": "hv", "color": shell.GAIN}, "x": [x for x, _ in places], "y": [y for _, y in places],
            "hovertemplate": "drawdown %{x:.1%}<br>return %{y:.1%}<extra>front</extra>",
        }
    )  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": "deepest drawdown"}, "tickformat": ".2~%"},
        "yaxis": {"title": {"text": "return"}, "tickformat": ".2~%"},
    }
    caption = "Each point is a trial over all sessions; no trial beats one of the front in all objectives."
    return shell.chart(traces, layout, caption=caption)


def _settings(document: Row) -> list[Html]:
    found = section(document, "sensitivity")
    measured = text(found, "measure")
    charts = [_setting(each, measured) for each in rows(found, "settings")]
    maps = [_map(each, measured) for each in rows(found, "maps")]
    words = f"Over {text(found, 'trials')} trials that were played to their end. A good value has good neighbours."
    return [shell.paragraph(words, kind="dim"), shell.grid(*charts), shell.grid(*maps)]


def _setting(row: Row, measured: str) -> Html:
    own = rows(row, "groups")
    labels = [shell.label(text(each, "value")) for each in own]
    traces = [
        {
            "type": "bar" if name == "median" else "scatter", "mode": "lines+markers", "name": name, "x": labels,
            "y": [number(each, name) for each in own],
        }
        for name in ("median", "mean", "best")
    ]  # fmt: skip
    for trace in traces:
        if trace["type"] == "bar":
            del trace["mode"]
    share = number(row, "explained")
    caption = f"{text(row, 'name')} explains {share:.0%} of the variance." if share is not None else ""
    layout = {
        "xaxis": {"title": {"text": shell.label(text(row, "name"))}, "type": "category", "automargin": True},
        "yaxis": {
            "title": {"text": _spoken(measured)},
            "tickformat": ".2~%" if measured in SHARES else ".3~g",
        },
    }
    return shell.chart(traces, layout, caption=caption)


def _spoken(measure: str) -> str:
    return measure.replace("_", " ")


def _map(row: Row, measured: str) -> Html:
    trace: dict[str, object] = {
        "type": "heatmap", "x": [shell.label(each) for each in words(row, "xs")],
        "y": [shell.label(each) for each in words(row, "ys")], "z": _listed(row, "medians"),
        "colorscale": "Viridis", "hovertemplate": "%{x}<br>%{y}<br>%{z:.4g}<extra></extra>",
    }  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": shell.label(text(row, "x"))}, "type": "category", "automargin": True},
        "yaxis": {"title": {"text": shell.label(text(row, "y"))}, "type": "category", "automargin": True},
    }
    return shell.chart([trace], layout, caption=f"Median {_spoken(measured)} of the trials in each cell.")


def _walked(document: Row) -> list[Html]:
    """The walk-forward, where there is one: the judging parts as one course, and each window."""
    found = section(document, "walk_forward")
    if not found:
        return []
    course = section(found, "course")
    trace: dict[str, object] = {
        "type": "scatter",
        "mode": "lines",
        "x": words(course, "sessions"),
        "y": _listed(course, "return"),
        "name": "judging parts",
    }
    chart = shell.chart(
        [trace],
        {"yaxis": {"title": {"text": "return"}, "tickformat": ".2~%"}},
        caption="Only sessions that had no say in what was chosen for them, one window after the other.",
    )
    columns = (
        Column("Window", right=True),
        Column("Chosen by"),
        Column("Judged by"),
        Column("Values", is_wide=True),
        *(
            Column(f"{name.replace('_', ' ')} {part}", right=True)
            for name in WALKED
            for part in ("in", "out")
        ),
    )
    cells = []
    for row in rows(found, "windows"):
        values, spans = section(row, "values"), [section(row, part) for part in ("inside", "outside")]
        measured = [section(row, f"measures_{part}") for part in ("inside", "outside")]
        cells.append(
            [
                text(row, "window"),
                *(f"{text(span, 'from')} to {text(span, 'to')}" for span in spans),
                text(row, "failure") or ", ".join(f"{name} {text(values, name)}" for name in values),
                *(shown(name, number(part, name)) for name in WALKED for part in measured),
            ]
        )
    outside, efficiency = section(found, "outside"), number(found, "efficiency")
    cards = [
        *(
            (f"Outside: {name.replace('_', ' ')}", shown(name, number(outside, name)))
            for name in MEASURED[:4]
        ),
        ("Yearly return that is left", None if efficiency is None else f"{efficiency:.0%}"),
    ]
    return [shell.section("Walk-forward", shell.cards(cards), chart, shell.table(columns, cells))]


def _worth(document: Row) -> list[Html]:
    deflated = section(section(document, "worth"), "deflated_sharpe")
    overfit = section(section(document, "worth"), "overfitting")
    parts: list[Html] = []
    if deflated:
        probability = number(deflated, "probability")
        parts.append(
            shell.facts_table(
                (
                    ("Sharpe ratio of the best", _two(deflated, "sharpe")),
                    ("Expected of the best without skill", _two(deflated, "sharpe_without_skill")),
                    ("Deflated: probability of skill", None if probability is None else f"{probability:.1%}"),
                    ("Trials that it is deflated by", text(deflated, "trials")),
                )
            )
        )
    if overfit:
        logits = section(overfit, "logits")
        edges = [float(str(each)) for each in _listed(logits, "edges")]
        middles = [(low + high) / 2 for low, high in pairwise(edges)]
        parts.append(
            shell.chart(
                [{"type": "bar", "x": middles, "y": _listed(logits, "counts"), "name": "splits"}],
                {"xaxis": {"title": {"text": "logit of the rank outside"}}, "bargap": 0.02},
                caption=(
                    f"{text(overfit, 'splits')} ways to choose by one half and judge by the other: in"
                    f" {number(overfit, 'probability') or 0:.1%} the choice was below the median (logit 0), in"
                    f" {number(overfit, 'loss_probability') or 0:.1%} it lost."
                ),
            )
        )
    return parts or [shell.paragraph("Too few trials or sessions to tell.", kind="dim")]


def _asked(document: Row) -> list[tuple[str, object]]:
    return [
        *((f"Varied: {text(each, 'name')}", _range(each)) for each in rows(document, "params")),
        ("Objectives", ", ".join(text(each, "name") for each in rows(document, "objectives"))),
        ("Required", ", ".join(words(document, "requirements")) or None),
        ("Assumed", "; ".join(words(document, "assumptions"))),
        ("Dataset", text(document, "dataset_id")),
        ("Hash of the trials", text(document, "trials_hash")),
    ]


def _range(row: Row) -> str:
    return f"{text(row, 'from')} to {text(row, 'to')}, {text(row, 'values')} values"


def _two(row: Row, key: str) -> str | None:
    value = number(row, key)
    return None if value is None else f"{value:.2f}"


def _listed(row: Row, key: str) -> list[object]:
    value = row.get(key)
    return list(value) if isinstance(value, list) else []
