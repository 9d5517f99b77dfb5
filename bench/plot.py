"""Small hand-written SVG: bars for CPU per request, a line for memory. No library, and text a diff can be read in."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_INK, _GREY, _GRID = "#1f2933", "#9aa5b1", "#e4e7eb"
_OURS, _THEIRS = "#0b7285", "#adb5bd"
_FONT = 'font-family="system-ui, sans-serif" font-size="13"'


def _svg(width: int, height: int, parts: Sequence[str]) -> str:
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {_FONT}>'
    back = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    return "\n".join([head, back, *parts, "</svg>", ""])


def _text(x: float, y: float, text: str, *, fill: str = _INK, anchor: str = "start", weight: str = "normal") -> str:
    attributes = f'x="{x:.1f}" y="{y:.1f}" fill="{fill}" text-anchor="{anchor}" font-weight="{weight}"'
    return f"<text {attributes}>{escape(text)}</text>"


def bars(
    panels: Sequence[tuple[str, Sequence[tuple[str, float, bool]]]], *, left: int = 190, cut: float | None = None
) -> str:
    """Horizontal bars from zero, one panel under the other. A panel is (title, [(label, value, ours?)]); linear scale.
    `cut`: a bar of more than so many times the middle one is broken there; its number is the true one."""
    right, row, width = 70, 28, 720
    parts, y = [], 16.0
    for title, entries in panels:
        parts.append(_text(16, y + 14, title, weight="bold"))
        y += 30
        top = max((value for _, value, _ in entries), default=1.0) or 1.0
        if cut is not None:
            top = min(top, cut * sorted(value for _, value, _ in entries)[len(entries) // 2])
        for label, value, ours in sorted(entries, key=lambda entry: -entry[1]):
            length = max(1.0, (width - left - right) * min(1.0, value / top))
            parts.append(_text(left - 8, y + 15, label, anchor="end", weight="bold" if ours else "normal"))
            fill = _OURS if ours else _THEIRS
            parts.append(f'<rect x="{left}" y="{y + 2:.1f}" width="{length:.1f}" height="18" rx="2" fill="{fill}"/>')
            if value > top:
                parts.append(
                    f'<rect x="{left + length - 24:.1f}" y="{y + 2:.1f}" width="8" height="18" fill="#ffffff"/>'
                )
            parts.append(_text(left + length + 6, y + 15, _short(value)))
            y += row
        y += 18
    return _svg(width, int(y), parts)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def line(title: str, points: Sequence[tuple[float, float]], *, x_name: str, y_name: str) -> str:
    """One line over a grid, the vertical axis from zero so that a small drift looks as small as it is."""
    width, height, left, right, top, bottom = 720, 300, 60, 24, 48, 44
    span_x = max((x for x, _ in points), default=1.0) or 1.0
    span_y = _round_up(max((y for _, y in points), default=1.0) or 1.0)

    def at(x: float, y: float) -> tuple[float, float]:
        across = left + (width - left - right) * x / span_x
        return across, height - bottom - (height - top - bottom) * y / span_y

    parts = [_text(16, 24, title, weight="bold")]
    for step in range(5):
        value = span_y * step / 4
        _, y = at(0, value)
        parts.append(f'<line x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_GRID}"/>')
        parts.append(_text(left - 8, y + 4, f"{value:g}", fill=_GREY, anchor="end"))
        x, _ = at(span_x * step / 4, 0)
        parts.append(_text(x, height - bottom + 18, f"{span_x * step / 4:,.0f}", fill=_GREY, anchor="middle"))
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in points))
    parts.append(f'<polyline points="{path}" fill="none" stroke="{_OURS}" stroke-width="2"/>')
    parts.append(_text(width - right, height - 8, x_name, fill=_GREY, anchor="end"))
    parts.append(_text(left, top - 8, y_name, fill=_GREY))
    return _svg(width, height, parts)


def _round_up(value: float) -> float:
    step = 1.0
    while step * 10 < value:
        step *= 10
    return step * next(n for n in (1, 2, 4, 5, 8, 10, 20) if step * n >= value)
