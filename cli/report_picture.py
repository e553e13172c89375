"""A chart of dollars over time, as an SVG picture and as bars in the terminal.

The picture is text of a few kilobytes that every browser shows, so it needs no drawing library.
https://www.w3.org/TR/SVG11/
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape

from cli.report_amounts import ticks_for

_WIDTH, _HEIGHT = 960, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 90, 215, 50, 60
# Told apart by people who do not see colours alike: Okabe and Ito, https://jfly.uni-koeln.de/color/
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
_MOST_SERIES = len(_COLOURS)
_REST = "others"
_BLOCKS = " ▏▎▍▌▋▊▉█"
_MOST_LABELS = 6
_LONGEST_NAME = 24


@dataclass(frozen=True, slots=True)
class Chart:
    """Amounts by time and series.

    Attributes:
        times: from left to right.
        series: name to one amount for each time.
    """

    title: str
    times: Sequence[str]
    series: Mapping[str, Sequence[Decimal]]

    @property
    def totals(self) -> Sequence[Decimal]:
        """Of all series, by time."""
        return [
            sum((amounts[place] for amounts in self.series.values()), Decimal(0)) for place in range(len(self.times))
        ]


def chart_of(title: str, times: Sequence[str], amounts: Mapping[tuple[str, str], Decimal]) -> Chart:
    """Put amounts by time and series in order: the largest series first, small ones beyond the eighth together."""
    spent = {name for (_, name), amount in amounts.items() if amount}  # the others would have no bar
    names = sorted(spent, key=lambda name: (-_sum_of(name, amounts), name))
    kept = names if len(names) <= _MOST_SERIES else names[: _MOST_SERIES - 1]
    series = {name or "none": [amounts.get((time, name), Decimal(0)) for time in times] for name in kept}
    if len(kept) < len(names):
        rest = names[len(kept) :]
        series[_REST] = [sum((amounts.get((time, name), Decimal(0)) for name in rest), Decimal(0)) for time in times]
    return Chart(title, times, series)


def _sum_of(name: str, amounts: Mapping[tuple[str, str], Decimal]) -> Decimal:
    return sum((amount for (_, series), amount in amounts.items() if series == name), Decimal(0))


def svg_of(chart: Chart) -> str:
    """The picture: one stacked column for each time, an axis in dollars, a legend."""
    ticks = ticks_for(max((*chart.totals, Decimal(0))))
    highest = ticks[-1]
    plot_width, plot_height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    step = plot_width / max(1, len(chart.times))
    frame = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" font-family="sans-serif" font-size="12"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {frame}><title>{escape(chart.title)}</title>',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="28" font-size="16">{escape(chart.title)}</text>',
    ]
    finest = max(0, *(-int(tick.normalize().as_tuple().exponent) for tick in ticks))
    for tick in ticks:
        y = _TOP + plot_height * (1 - float(tick / highest))
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">${tick:,.{finest}f}</text>')
    for place, time in enumerate(chart.times):
        x, y = _LEFT + place * step, float(_TOP + plot_height)
        for number, (name, amounts) in enumerate(chart.series.items()):
            height = float(max(amounts[place], Decimal(0)) / highest) * plot_height
            if height > 0:
                y -= height
                parts.append(
                    f'<rect x="{x + step * 0.1:.2f}" y="{y:.2f}" width="{step * 0.8:.2f}" height="{height:.2f}" '
                    f'fill="{_COLOURS[number]}"><title>{escape(f"{time} {name}: ${amounts[place]:f}")}</title></rect>'
                )
        if place % max(1, -(-len(chart.times) // _MOST_LABELS)) == 0:
            parts.append(
                f'<text x="{x + step / 2:.1f}" y="{_HEIGHT - _BOTTOM + 20}" text-anchor="middle">{escape(time)}</text>'
            )
    for number, name in enumerate(chart.series):
        y = _TOP + 20 * number
        parts.append(f'<rect x="{_WIDTH - _RIGHT + 16}" y="{y}" width="12" height="12" fill="{_COLOURS[number]}"/>')
        short = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
        label = f"{escape(short)}<title>{escape(name)}</title>"
        parts.append(f'<text x="{_WIDTH - _RIGHT + 34}" y="{y + 11}">{label}</text>')
    return "\n".join((*parts, "</svg>")) + "\n"


def bar(amount: Decimal, highest: Decimal, width: int) -> str:
    """A bar of block characters, to an eighth of a character."""
    if highest <= 0 or amount <= 0:
        return ""
    eighths = max(1, round(float(amount / highest) * width * 8))
    return "█" * (eighths // 8) + _BLOCKS[eighths % 8].strip()
