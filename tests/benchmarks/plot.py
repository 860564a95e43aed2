"""The picture of a run of the imports benchmark: bars in milliseconds, as SVG that any browser shows."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Final

from tests.benchmarks.imports import Result

_WIDTH, _LEFT, _BAR, _GAP, _TOP = 860, 96, 11, 16, 58
_STYLE: Final = 'font-family="sans-serif" font-size="12" fill="#333"'
_COLORS: Final = {
    "installed": "#8c8c8c",
    "remote_wheel": "#2a6fdb",
    "uv": "#b04fc4",
    "zipimport": "#d9963a",
}
_WARM: Final = {"installed": "installed", "require": "remote_wheel", "uv": "uv", "zipimport": "zipimport"}
_COLD: Final = {"run": "remote_wheel", "uv": "uv"}


def draw(results: Mapping[str, Result], caption: str) -> str:
    """Return the picture: whole processes that import a package, warm on the left and cold on the right."""
    half = _WIDTH // 2
    panels = [
        (0, "warm: everything at hand", {n: _named(each.warm_s, _WARM) for n, each in results.items()}),
        (half, "cold: an empty cache", {n: _named(each.cold_s, _COLD) for n, each in results.items()}),
    ]
    parts: list[str] = []
    height = 0
    for left, title, rows in panels:
        body, bottom = _panel(left, half, title, rows)
        parts += body
        height = max(height, bottom)
    legend = [
        f'<rect x="{_LEFT + at * 130}" y="30" width="11" height="11" fill="{color}"/>'
        f'<text x="{_LEFT + 16 + at * 130}" y="40">{name}</text>'
        for at, (name, color) in enumerate(_COLORS.items())
    ]
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height + 26}" {_STYLE}>',
            f'<rect width="{_WIDTH}" height="{height + 26}" fill="#fff"/>',
            '<text x="8" y="18" font-size="14">Import of a package, whole process, ms (less is better)</text>',
            *legend,
            *parts,
            f'<text x="8" y="{height + 18}" fill="#777" font-size="10">{escape(caption)}</text>',
            "</svg>\n",
        )
    )


def _named(seconds: Mapping[str, float], names: Mapping[str, str]) -> dict[str, float]:
    return {name: seconds[tool] * 1000 for tool, name in names.items() if tool in seconds}


def _panel(left: int, width: int, title: str, rows: Mapping[str, Mapping[str, float]]) -> tuple[list[str], int]:
    # What is far slower than the rest would leave nothing to see of the rest: its bar is cut, its number is not.
    rest = [ms for row in rows.values() for name, ms in row.items() if name != "zipimport"]
    scale = (width - _LEFT - 60) / max(rest, default=1.0)
    parts, y = [f'<text x="{left + _LEFT}" y="{_TOP + 8}" font-weight="bold">{escape(title)}</text>'], _TOP + 18
    for case, row in rows.items():
        middle = y + len(row) * _BAR / 2 + 4
        parts.append(f'<text x="{left + _LEFT - 8}" y="{middle:.0f}" text-anchor="end">{escape(case)}</text>')
        for bar in _bars(left, y, row, scale, width - _LEFT - 60):
            parts.append(bar)
            y += _BAR
        y += _GAP
    return parts, y


def _bars(left: int, y: int, row: Mapping[str, float], scale: float, most: float) -> Iterator[str]:
    for at, (name, ms) in enumerate(row.items()):
        length, place = min(ms * scale, most), y + at * _BAR
        cut = " (cut)" if length < ms * scale else ""
        yield (
            f'<rect x="{left + _LEFT}" y="{place}" width="{length:.1f}" height="{_BAR - 2}" fill="{_COLORS[name]}"/>'
            f'<text x="{left + _LEFT + length + 4:.1f}" y="{place + 8}" font-size="9">{ms:.0f}{cut}</text>'
        )
