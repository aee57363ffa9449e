"""What the decoding-speed lab measured: as a figure, as a table, in words.

Lesson: day93_rt2/4_deployment.
"""

import html
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from course_lib.classroom.plots_rt1 import GREY, STYLES, new_figure
from course_lib.measure.lab import RATES, hertz
from course_lib.measure.speed import Row

HEADS = ("call", "ms", "quartiles", "x first", "Hz", "reaches", "floor, ms", "floor / ms")


def speed_figure(rows: Sequence[Row]) -> Figure:
    """Milliseconds of every call on a logarithmic axis, a colour and a mark per group: the median, and a line from quartile
    to quartile.

    Dotted lines stand where 5, 3 and 1 calls fit into a second; a black bar is the floor: the least time in which the
    machine could do the counted operations and move the counted bytes. Skipped rows are left out; raises ValueError if
    nothing was measured.
    """
    timed = [row for row in rows if row.median_ms is not None]
    if not timed:
        raise ValueError("Expected at least one row with a time, got none. Let one group finish its first round.")
    figure, (axis,) = new_figure(9.2, 0.27 * len(timed) + 1.3)
    groups = list(dict.fromkeys(map(group_of, timed)))
    for y, row in enumerate(reversed(timed)):
        colour, _, mark = STYLES[groups.index(group_of(row)) % len(STYLES)]
        axis.plot([row.low_ms, row.high_ms], [y, y], "-", color=colour, lw=3, alpha=0.5)
        axis.plot(row.median_ms, y, mark, color=colour, ms=6)
        if row.roofline_ms:
            axis.plot([row.roofline_ms] * 2, [y - 0.35, y + 0.35], color="#222", lw=2.5)
    for rate in RATES:
        axis.axvline(1000 / rate, color="#222", lw=1, ls=":")
        axis.text(1000 / rate, len(timed) - 0.35, f"{rate} Hz", fontsize=8.5, ha="center")
    least = min(min(row.low_ms, row.roofline_ms or row.low_ms) for row in timed)
    axis.set(xscale="log", xlim=(0.7 * least, 1.5 * max(1000, *(row.high_ms for row in timed))))
    axis.set(ylim=(-0.6, len(timed) - 0.4), xlabel="milliseconds (a black bar: the floor of bytes and operations)")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_yticks(range(len(timed)), [row.name for row in reversed(timed)], fontsize=8.5)
    axis.grid(axis="x", alpha=0.25, color=GREY)
    axis.set_title("time of a call", fontsize=10, pad=16)
    said = [f"{row.name}: {row.median_ms:.3g} ms{_floor_in_words(row)}" for row in timed]
    figure.set_label(
        "Milliseconds per call on a logarithmic axis, with lines at 1, 3 and 5 calls per second (1000, 333 and 200 ms). "
        + "; ".join(said)
        + "."
    )
    return figure


def speed_words(rows: Sequence[Row]) -> str:
    """For each group its first call, its slowest one, and the control rate that the slowest one reaches."""
    said = []
    for group in dict.fromkeys(map(group_of, rows)):
        timed = [row for row in rows if group_of(row) == group and row.median_ms is not None]
        if not timed:
            reasons = "; ".join(dict.fromkeys(row.skipped for row in rows if group_of(row) == group))
            said.append(f"{group}: not timed ({reasons}).")
            continue
        first, slowest = timed[0], max(timed, key=lambda row: row.median_ms)
        more = ""
        if slowest is not first:
            more = f", {call_of(slowest)} {slowest.median_ms:.3g} ms, {slowest.times_first:.1f} times as long"
        said.append(f"{group}: {call_of(first)} takes {first.median_ms:.3g} ms{more}: {reached(slowest)}.")
    return " ".join(said)


def reached(row: Row) -> str:
    """Answers per second of a timed row, and the highest of the control rates that fits."""
    rate = hertz(row)
    best = max((one for one in RATES if rate >= one), default=None)
    return f"{rate:.3g} in a second, " + (f"enough for {best} Hz" if best else "not even 1 Hz")


def speed_html(rows: Sequence[Row], other: Mapping[str, Row] | None = None, name: str = "elsewhere") -> str:
    """A <table> of the rows; ``other`` are rows of another machine by name, which get columns of their own."""
    there = {key: row for key, row in (other or {}).items() if row.median_ms is not None}
    heads = (*HEADS, f"ms, {name}", "here / there") if there else HEADS
    lines = ["<tr>" + "".join(f'<th scope="col">{html.escape(head)}</th>' for head in heads) + "</tr>"]
    for row in rows:
        first = f'<th scope="row">{html.escape(row.name)}</th>'
        if row.median_ms is None:
            lines.append(f'<tr>{first}<td colspan="{len(heads) - 1}" class="why">{html.escape(row.skipped)}</td></tr>')
            continue
        cells = _cells(row)
        if there:
            twin = there.get(row.name)
            cells += [f"{twin.median_ms:.2f}", f"{row.median_ms / twin.median_ms:.2f}"] if twin else ["", ""]
        lines.append(f"<tr>{first}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    caption = "<caption>Medians and quartiles; x first: times the group's first call</caption>"
    return f"<table>{caption}<thead>{lines[0]}</thead><tbody>{''.join(lines[1:])}</tbody></table>"


def group_of(row: Row) -> str:
    """ "RT-2 tiny fp32, 1 at once" of a row "RT-2 tiny fp32, 1 at once: one pass"."""
    return row.name.split(": ")[0]


def call_of(row: Row) -> str:
    """ "one pass" of the same row."""
    return row.name.split(": ")[-1]


def _cells(row: Row) -> list[str]:
    best = max((rate for rate in RATES if hertz(row) >= rate), default=0)
    floor = [f"{row.roofline_ms:.3f}", f"{row.roofline_part:.0%}"] if row.roofline_ms else ["", ""]
    spread = f"{row.low_ms:.2f} … {row.high_ms:.2f}"
    return [
        f"{row.median_ms:.2f}",
        spread,
        f"{row.times_first:.2f}",
        f"{hertz(row):.1f}",
        f"{best} Hz" if best else "–",
        *floor,
    ]


def _floor_in_words(row: Row) -> str:
    return f", floor {row.roofline_ms:.3g} ms" if row.roofline_ms else ""


__all__ = ["call_of", "group_of", "reached", "speed_figure", "speed_html", "speed_words"]
