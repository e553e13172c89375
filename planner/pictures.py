"""Pictures of a plan as SVG: cost by design, cost against p99, instances and queue over time."""

import math
from collections.abc import Sequence
from html import escape

from planner.comparison import Comparison
from planner.outcome import Outcome
from planner.timeline import Timeline

_WIDTH = 860
_THINNEST = 0.05
"""Bars that are thinner would be drawn as nothing."""
_COLOURS = ("#31688e", "#35b779", "#b8860b", "#440154", "#90a0b0", "#d95f02")
_TICK_HOURS = (0.25, 1.0, 3.0, 6.0, 12.0, 24.0, 72.0, 168.0, 744.0)
_TEXT = 'font-family="sans-serif" font-size="12" fill="#222"'


def cost_by_design(comparison: Comparison) -> str:
    """Bars of the bill, part by part, with the bound as a line."""
    outcomes = comparison.outcomes
    most = float(max(outcome.total for outcome in outcomes)) or 1.0
    left, row, wide = 190, 26, _WIDTH - 290
    parts = sorted({part for outcome in outcomes for part, amount in outcome.bill.items() if amount})
    colour = {part: _COLOURS[n % len(_COLOURS)] for n, part in enumerate(parts)}
    shapes = [_label(left + 150 * n, 16, part, fill=colour[part]) for n, part in enumerate(parts)]
    for number, outcome in enumerate(outcomes):
        top, at = 30 + row * number, float(left)
        shapes.append(_label(left - 8, top + 15, outcome.design, anchor="end"))
        for part in parts:
            length = wide * float(outcome.bill.get(part, 0)) / most
            if length >= _THINNEST:
                shapes.append(f'<rect x="{at:.1f}" y="{top}" width="{length:.1f}" height="18" fill="{colour[part]}"/>')
            at += length
        late = f", {outcome.missed:,} late" if outcome.missed else ""
        shapes.append(_label(at + 6, top + 14, f"${outcome.total:,.2f}{late}"))
    height = 40 + row * len(outcomes)
    bound = left + wide * float(comparison.bounds.least) / most
    shapes.append(f'<line x1="{bound:.1f}" x2="{bound:.1f}" y1="26" y2="{height - 12}" stroke="#c00"/>')
    shapes.append(_label(bound, height, f"bound on instances ${comparison.bounds.least:,.2f}", fill="#c00"))
    return _svg(height + 12, "Cost by design", shapes)


def frontier(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The designs for which none is both cheaper and quicker, by rising p99."""
    found: list[Outcome] = []
    for outcome in sorted(outcomes, key=lambda o: (o.latency.p99, o.total)):
        if not found or outcome.total < found[-1].total:
            found.append(outcome)
    return found


def cost_against_p99(comparison: Comparison) -> str:
    """A point for each design, p99 on a logarithmic axis, and the line of those that nothing beats in both."""
    outcomes = comparison.outcomes
    logs = [math.log10(max(0.1, outcome.latency.p99)) for outcome in outcomes]
    low, high = math.floor(min(logs)), math.ceil(max(logs))
    span = (high - low) or 1
    most = float(max(outcome.total for outcome in outcomes)) or 1.0

    def place(outcome: Outcome) -> tuple[float, float]:
        along = (math.log10(max(0.1, outcome.latency.p99)) - low) / span
        return 70 + (_WIDTH - 100) * along, 330 - 290 * float(outcome.total) / most

    shapes: list[str] = []
    for decade in range(low, high + 1):
        x = 70 + (_WIDTH - 100) * (decade - low) / span
        shapes.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="30" y2="330" stroke="#eee"/>')
        shapes.append(_label(x, 348, f"{10.0**decade:,g} s", anchor="middle"))
    for share in (0.0, 0.5, 1.0):
        y = 330 - 290 * share
        shapes.append(f'<line x1="70" x2="{_WIDTH - 30}" y1="{y}" y2="{y}" stroke="#eee"/>')
        shapes.append(_label(62, y + 4, f"${most * share:,.2f}", anchor="end"))
    best = frontier(outcomes)
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, best))
    shapes.append(f'<polyline points="{line}" fill="none" stroke="#35b779" stroke-width="2"/>')
    taken: list[tuple[float, float, float]] = []
    for outcome in sorted(outcomes, key=lambda o: place(o)[::-1]):
        x, y = place(outcome)
        fill = _COLOURS[1] if outcome in best else "#999"
        shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{fill}"/>')
        shapes.append(_beside(x, y, f"{outcome.design} ${outcome.total:,.2f}", taken))
    shapes.append(_label(70, 368, "99th percentile of the time to the answer, logarithmic, against the bill"))
    return _svg(380, "Cost against p99", shapes)


def _beside(x: float, y: float, text: str, taken: list[tuple[float, float, float]]) -> str:
    """A label next to its point, moved as little as it takes to cover none before it, and not over the axis."""
    wide = 7.0 * len(text)
    left = x + 9 if x + 9 + wide < _WIDTH else x - 9 - wide

    def free(top: float) -> bool:
        apart = all(abs(top - other) >= 14 or left >= end or begin >= left + wide for begin, end, other in taken)
        return 14 <= top <= 334 and apart

    moved = (y + 4 + sign * step for step in range(0, 320, 2) for sign in (1, -1))
    top = next(filter(free, moved), y + 4)
    taken.append((left, left + wide, top))
    return _label(left, top, text)


def over_time(line: Timeline, title: str) -> str:
    """Instances billed and requests in the system, each on its own scale."""
    shapes: list[str] = []
    for number, (name, values) in enumerate((("instances", line.instances), ("requests", line.requests))):
        top = 40 + 150 * number
        most = max(values, default=0.0) or 1.0
        count = max(1, len(values) - 1)
        points = " ".join(
            f"{60 + (_WIDTH - 80) * n / count:.1f},{top + 110 - 100 * value / most:.1f}"
            for n, value in enumerate(values)
        )
        shapes.append(f'<polyline points="{points}" fill="none" stroke="{_COLOURS[number]}"/>')
        shapes.append(_label(60, top, f"{name}, at most {most:,.1f}"))
    hours = line.step * len(line.instances) / 3600
    every = next((step for step in _TICK_HOURS if hours / step <= 14), _TICK_HOURS[-1])
    for number in range(int(hours / every) + 1):
        x = 60 + (_WIDTH - 80) * number * every / max(hours, every)
        shapes.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="45" y2="304" stroke="#eee"/>')
        shapes.append(_label(x, 318, f"{number * every:g} h", anchor="middle"))
    shapes.append(_label(60, 338, f"means over {line.step:,.0f} s; requests that wait or are served"))
    return _svg(345, title, shapes)


def _label(x: float, y: float, text: str, *, anchor: str = "start", fill: str = "#222") -> str:
    style = _TEXT.replace("#222", fill)
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {style}>{escape(text)}</text>'


def _svg(height: int, title: str, shapes: Sequence[str]) -> str:
    body = "\n".join(shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" role="img">\n'
        f"<title>{escape(title)}</title>\n"
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )
