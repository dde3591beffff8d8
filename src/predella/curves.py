"""Learning curves as an SVG picture, from recorded rows that carry a step."""

from html import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 400, 60, 46, 30, 200
COLOURS = ("#1b6ca8", "#c8553d", "#588157", "#7b2d8b", "#b08900", "#444444")


def curves_svg(rows: list[dict], measure: str) -> str:
    """One line a run, set and way of asking: `measure` over steps.

    Args:
        rows: with "run", "set", "ask", "at" (the step), "measure", "value".
    """
    here = [r for r in rows if r["measure"] == measure and r.get("at") is not None]
    lines = list(dict.fromkeys((r["run"], r["set"], r["ask"]) for r in here))
    asks = {ask for _, _, ask in lines}
    last, high = max(r["at"] for r in here) or 1, max(r["value"] for r in here) * 1.05 or 1
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(step: float) -> float:
        return round(LEFT + across * step / last, 1)

    def y(value: float) -> float:
        return round(TOP + down * (1 - value / high), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="18" font-size="14">{escape(measure)}</text>',
        f'<text x="{LEFT + across / 2}" y="{HEIGHT - 8}" text-anchor="middle">step</text>',
    ]
    for i in range(5):
        step, value = last * i / 4, high * i / 4
        parts.append(f'<line x1="{LEFT}" x2="{LEFT + across}" y1="{y(value)}" y2="{y(value)}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(value) + 4}" text-anchor="end">{value:.3g}</text>')
        parts.append(f'<text x="{x(step)}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{step:.0f}</text>')
    for k, (run, name, ask) in enumerate(lines):
        colour = COLOURS[k % len(COLOURS)]
        points = sorted((r["at"], r["value"]) for r in here if (r["run"], r["set"], r["ask"]) == (run, name, ask))
        line = " ".join(f"{x(s)},{y(v)}" for s, v in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x(s)}" cy="{y(v)}" r="3" fill="{colour}"/>' for s, v in points]
        label = ", ".join((run, name, ask) if len(asks) > 1 else (run, name))
        parts.append(f'<text x="{LEFT + across + 12}" y="{TOP + 14 + 18 * k}" fill="{colour}">{escape(label)}</text>')
    return "\n".join([*parts, "</svg>", ""])
