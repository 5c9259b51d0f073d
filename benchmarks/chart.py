"""The picture: bars for what is compared, curves for what must stay flat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from results import Bar, Line, Section, number

PANELS = {
    "local": "JWT, one thread: multiples of one raw RSA-2048 verification ",
    "starlette": "Starlette: added per request, µs",
    "fastapi": "FastAPI: added per request, µs",
    "flask": "Flask: added per request, µs",
    "django": "Django WSGI: added per request, µs",
    "remote": "Opaque tokens, 5 ms upstream, 64 at once: verifications/s",
}
OURS, OTHERS = "#1b7f5c", "#9aa5b1"


def draw(sections: list[Section], path: Path) -> bool:
    """Draw what the sections found; false where there is nothing to draw."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "results"  # the same figures give the same file
    from matplotlib import pyplot

    groups: dict[str, list[Bar]] = {}
    for bar in [bar for section in sections for bar in section.bars]:
        groups.setdefault(bar.group, []).append(bar)
    lines = [line for section in sections for line in section.lines]
    count = len(groups) + bool(lines)
    if not count:
        return False
    rows = (count + 1) // 2
    figure, places = pyplot.subplots(rows, 2, figsize=(15, 3.6 * rows), squeeze=False, layout="constrained")
    panels = list(places.flat)
    for place, (group, bars) in zip(panels, groups.items(), strict=False):
        _bars(place, PANELS.get(group, group), bars, more_is_better=group == "remote")
    if lines:
        _lines(panels[len(groups)], lines)
    for place in panels[count:]:
        place.set_axis_off()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return True


def _bars(place: Any, title: str, bars: list[Bar], *, more_is_better: bool) -> None:
    # Linear from zero: the length of a bar is the figure.
    ordered = sorted(bars, key=lambda bar: bar.value, reverse=not more_is_better)
    names = [bar.name for bar in ordered]
    values = [bar.value for bar in ordered]
    drawn = place.barh(names, values, color=[OURS if bar.ours else OTHERS for bar in ordered])
    place.bar_label(drawn, [number(bar.value) for bar in ordered], padding=3)
    place.set_title(title, fontsize=10)
    place.margins(x=0.15)
    for side in ("top", "right"):
        place.spines[side].set_visible(False)


def _lines(place: Any, lines: list[Line]) -> None:
    for line in lines:
        place.plot(line.x, line.y, marker="o", label=line.name)
    place.set_xscale("log")
    place.set_ylim(bottom=0)
    place.set_title("CPU per verification, µs, by how many tokens were seen before", fontsize=10)
    place.legend(fontsize=8)
