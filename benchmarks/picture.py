"""The picture: one line for each goal, with the figure, what was measured before, and the best peer.

All are drawn as multiples of the goal, on a scale of doublings, so that rows of different units can be read
together.
"""

from __future__ import annotations

import math
from html import escape
from pathlib import Path

from goals import Target
from results import Figure, number

LEFT, WIDTH, ROW, TOP = 430, 460, 20, 50
LOW, HIGH = 0.25, 16.0  # multiples of the goal; what is further out is drawn at the edge
GREEN, RED, GREY, BLUE = "#1b7f5c", "#c0392b", "#8895a3", "#2f6db5"


def draw(goals: list[Target], figures: dict[str, Figure], path: Path, heading: str) -> bool:
    """Draw all figures that have a goal; false where there is none."""
    rows = [(one, figures[one.id]) for one in goals if one.goal and one.id in figures]
    if not rows:
        return False
    bottom = TOP + ROW * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 190} {bottom + 30}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="10" y="18" font-size="14">{escape(heading)}</text>',
        f'<text x="10" y="36" fill="{GREY}">multiples of the goal, left is better: '
        f'<tspan fill="{GREEN}">● met</tspan> <tspan fill="{RED}">● missed</tspan> '
        f'<tspan fill="{BLUE}">| before</tspan> <tspan fill="{GREY}">◆ best peer</tspan></text>',
    ]
    for step in range(round(math.log2(LOW)), round(math.log2(HIGH)) + 1):
        x, colour = _x(2.0**step), "#000" if step == 0 else "#ddd"
        parts.append(f'<path d="M{x:.0f} {TOP - 4}V{bottom}" stroke="{colour}"/>')
        parts.append(
            f'<text x="{x:.0f}" y="{bottom + 16}" text-anchor="middle" fill="{GREY}">{2.0**step:g}</text>'
        )
    for place, (target, figure) in enumerate(rows):
        parts += _row(target, figure, TOP + ROW * place + ROW // 2)
    path.write_text("\n".join([*parts, "</svg>"]) + "\n")
    return True


def _row(target: Target, figure: Figure, y: int) -> list[str]:
    assert target.goal
    colour = GREEN if target.is_met(figure) else RED
    label = escape(target.what.replace("`", ""))
    found = [f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{label}</text>']
    if target.before is not None:
        x = _x(_multiple(target, target.before))
        found.append(f'<path d="M{x:.0f} {y - 7}V{y + 7}" stroke="{BLUE}" stroke-width="2"/>')
    if figure.peers:
        x = _x(_multiple(target, min(figure.peers.values())))
        found.append(f'<path d="M{x:.0f} {y - 5}l5 5l-5 5l-5 -5z" fill="{GREY}"/>')
    found.append(f'<circle cx="{_x(_multiple(target, figure.value)):.0f}" cy="{y}" r="5" fill="{colour}"/>')
    text = f"{number(figure.value)} of {target.goal:.3g} {target.unit}"
    found.append(f'<text x="{LEFT + WIDTH + 10}" y="{y + 4}" fill="{colour}">{escape(text)}</text>')
    return found


def _multiple(target: Target, value: float) -> float:
    assert target.goal
    found = target.goal / value if target.better == "more" and value > 0 else value / target.goal
    return max(found, LOW)


def _x(multiple: float) -> float:
    share = math.log2(min(max(multiple, LOW), HIGH) / LOW) / math.log2(HIGH / LOW)
    return LEFT + WIDTH * share
