"""LabPanel: the decoding-speed lab with buttons. Choose a device and groups, run, watch, stop, read, take the CSV away.

The measurement is a process of its own (``measure.lab_process`` says why), so the notebook stays usable and Stop is heard.
While it runs, the kernel only moves a bar, twice a second; the figure is drawn when all is measured.
Lesson: day93_rt2/4_deployment.
"""

import base64
import html
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ipywidgets
from IPython.display import HTML, display

import course_lib
from course_lib.classroom.lesson_widget import still_class, style
from course_lib.classroom.plots import still_html
from course_lib.classroom.plots_lab import speed_figure, speed_html, speed_words
from course_lib.measure.devices import devices, too_large
from course_lib.measure.lab import GROUPS, Group, machine_card, read_rows
from course_lib.measure.lab_process import Event, LabProcess
from course_lib.measure.speed import Machine, Row, as_csv, find, save

SHIPPED = Path(course_lib.__file__).parent.parent / "data" / "day93_lab.csv"
FIRST = ("RT-1 tiny, 1 at once", "RT-2 tiny fp32, 1 at once")  # what is chosen at the beginning: a minute or less
STILL = (
    "The panel of the decoding-speed lab: choose a device and models, press Run, stop when you like. It needs a kernel: run "
    "this notebook. Without one: python -m course_lib.measure.lab"
)
STYLE = (
    style()
    + """
.lab-panel td.why { color: var(--quiet); text-align: left; white-space: normal; }
.lab-panel .controls { max-width: none; overflow-x: auto; }
.lab-panel .widget-html-content { line-height: 1.4; }
.lab-panel figure { margin: 8px 0; }
.lab-panel figure img { background: #fff; max-width: 100%; }
.lab-panel a { color: var(--jp-content-link-color, #1976d2); }
"""
)


class LabPanel(ipywidgets.VBox):
    """The lab's groups with their times on this machine.

    ``groups``: names that are chosen at the beginning (default: the tiny models, one table); ``device``: one of this
    machine's (default: its best); ``what``: the function that makes the groups, as module:name; ``rounds``: timed calls of
    each; ``shipped``: a CSV of another machine to compare with, if it is there. ``rows`` are the results so far.
    Raises ValueError for a device that is not here and for names that no group has.
    """

    def __init__(
        self, groups: Sequence[str] | None = None, device: str | None = None, *,
        what: str = GROUPS, rounds: int = 10, shipped: str | Path = SHIPPED,
    ):  # fmt: skip
        here = devices()
        if device is not None and device not in here:
            raise ValueError(f"Expected one of this machine's devices, {', '.join(here)}, got {device!r}.")
        self._what, self._rounds, self._lock = what, rounds, threading.RLock()
        self._process: LabProcess | None = None
        self._thread: threading.Thread | None = None
        self.rows: list[Row] = []
        self.machine: Machine | None = None
        self._shipped = {row.name: row for row in read_rows(shipped)} if Path(shipped).exists() else {}
        self._shipped_name = Path(shipped).stem
        self._make_controls(here, device or here[0])
        self._offer(FIRST if groups is None else groups, strict=groups is not None)
        hidden = f".{still_class(STILL)} {{ display: none; }}"  # the still is for readers without a kernel
        look = ipywidgets.HTML(f"<style>{STYLE}{hidden}</style>")
        buttons = ipywidgets.HBox([self._run, self._stop])
        chooser = ipywidgets.VBox([self._devices, self._groups, buttons, self._bar])
        super().__init__([look, chooser, self._status, self._table, self._figure, self._link])
        self.add_class("lab-panel")

    def run(self) -> None:
        """Measure the chosen groups; returns at once, ``wait`` waits. What was measured before is forgotten."""
        with self._lock:
            if self._process is not None:
                self._say("It is measuring already. Stop ends it; what was measured is kept.")
                return
            names = list(self._groups.value)
            if not names:
                self._say("Choose at least one group in the list above, then press Run.")
                return
            self.rows, self.machine = [], None
            self._table.value = self._figure.value = self._link.value = ""
            self._bar.value, self._bar.bar_style = 0, ""
            self._say("It looks at the machine first: a few large products and copies.")
            self._process = LabProcess(names, device=self._devices.value, rounds=self._rounds, what=self._what)
            self._thread = threading.Thread(target=self._follow, args=(self._process,), daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the measurement; the rounds that were measured are kept. At the second time it ends at once."""
        with self._lock:
            if self._process is None:
                self._say("Nothing is being measured. Run begins.")
                return
            self._say("Stopping after the call that is running. Press Stop again to end it at once.")
            self._process.stop()

    def wait(self, seconds: float | int | None = None) -> bool:
        """Whether the measurement ended within ``seconds`` (default: however long it takes)."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self._process is None

    def save(self, path: str | Path) -> None:
        """Write the rows: ``.json`` with the machine, anything else as CSV. Raises ValueError before the first row."""
        if not self.rows or self.machine is None:
            raise ValueError("Expected something measured, got none. Press Run first, or call panel.run(); panel.wait().")
        save(self.rows, self.machine, path)

    # --- inside

    def _make_controls(self, here: list[str], device: str) -> None:
        label, wide = {"description_width": "6em"}, {"width": "44em", "max_width": "98%"}
        self._devices = ipywidgets.Dropdown(options=here, value=device, description="Device", style=label)
        self._groups = ipywidgets.SelectMultiple(description="Groups", rows=9, style=label, layout=wide)
        self._groups.tooltip = "Arrow keys and Shift choose neighbours; Ctrl (or ⌘) and a click choose any"
        self._run = ipywidgets.Button(description="Run", tooltip="Time the chosen groups")
        self._stop = ipywidgets.Button(description="Stop", tooltip="End the measurement and keep what was measured")
        self._bar = ipywidgets.FloatProgress(min=0, max=1, description="Progress", style=label, layout=wide)
        self._status, self._table, self._figure, self._link = (ipywidgets.HTML() for _ in range(4))
        for part in (self._status, self._table, self._figure, self._link):
            part.add_class("controls")
        self._say("Choose a device and groups (Shift or Ctrl for several), then press Run.")
        self._run.on_click(lambda _: self.run())
        self._stop.on_click(lambda _: self.stop())
        self._devices.observe(lambda _: self._offer(self._groups.value), names="value")

    def _offer(self, names: Sequence[str], strict: bool = False) -> None:
        """The groups of the device; those called ``names`` are chosen."""
        device = self._devices.value
        made: list[Group] = list(find(self._what)(device))
        known = [group.name for group in made]
        if strict and not set(names) <= set(known):
            wrong = sorted(set(names) - set(known))
            raise ValueError(f"Expected names of groups, got {wrong}. There are: {'; '.join(known)}.")
        self._groups.options = [(_label(group, device), group.name) for group in made]
        self._groups.value = [name for name in known if name in names]

    def _follow(self, process: LabProcess) -> None:
        """In a thread: wait for what the process says, until it ends."""
        problem = ""
        for event in process.events():
            with self._lock:
                problem = event.get("failed", problem)
                self._take(event)
        with self._lock:
            self._finish(problem)
            self._process = None

    def _take(self, event: Event) -> None:
        if "machine" in event:
            self.machine = Machine(**event["machine"])
        elif "rows" in event:
            self.rows += [Row(**row) for row in event["rows"]]
            self._table.value = speed_html(self.rows, self._shipped, self._shipped_name)
        elif "group" in event:
            done, groups, left = event["done"] / event["total"], event["groups"], event["left_s"]
            self._bar.value = (event["place"] + done) / groups
            after = groups - event["place"] - 1
            more = f" and {after} more {'group' if after == 1 else 'groups'}" if after else ""
            seconds = (
                "the first round" if left is None else f"about {left:.0f} s left" if left >= 1 else "under a second left"
            )
            self._say(f"{event['group']}: round {event['done']} of {event['total']}, {seconds}{more}.", spoken=False)

    def _finish(self, problem: str) -> None:
        timed = [row for row in self.rows if row.median_ms is not None]
        card = f"{machine_card(self.machine)}\n" if self.machine else ""
        stopped = any(row.skipped.startswith("stopped") or 0 < row.rounds < self._rounds for row in self.rows)
        how = problem or ("Stopped; this is what was measured." if stopped or not self.rows else "Measured.")
        self._bar.bar_style = "danger" if problem else "warning" if stopped or not self.rows else "success"
        self._bar.value = self._bar.value if stopped or problem or not self.rows else 1
        self._say(f"{how}\n{card}{speed_words(self.rows)}")
        if timed:
            figure = speed_figure(self.rows)
            self._figure.value = still_html(figure, figure.get_label(), "lab-figure")
            data = base64.b64encode(as_csv(self.rows).encode()).decode()
            name = f"lab_{self._devices.value.replace(':', '')}_{time.strftime('%Y%m%d_%H%M%S')}.csv"
            self._link.value = f'<a download="{name}" href="data:text/csv;base64,{data}">Download {name}</a>'

    def _say(self, text: str, spoken: bool = True) -> None:
        """Below the buttons; a screen reader reads it aloud, but for the counting of the rounds."""
        live = 'role="status"' if spoken else 'aria-live="off"'
        self._status.value = f'<p {live} class="controls-words">{html.escape(text).replace(chr(10), "<br>")}</p>'

    def _ipython_display_(self, **_: Any) -> None:
        words = html.escape(STILL)
        display(HTML(f'<figure class="{still_class(STILL)}"><figcaption>{words}</figcaption></figure>'))
        data = self._repr_mimebundle_()
        data["text/plain"] = "The decoding-speed lab: run this notebook to use it."
        display(data, raw=True)


def _label(group: Group, device: str) -> str:
    """The name, with what to know before it is chosen."""
    notes = ["compiles for up to minutes first"] if group.by_name else []
    notes += [f"needs about {group.needs / 1e9:.0f} GB: too large here"] if too_large(group.needs, device) else []
    return f"{group.name}{' (' + '; '.join(notes) + ')' if notes else ''}"
