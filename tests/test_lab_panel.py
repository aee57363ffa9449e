"""The lab's panel: it measures in a process of its own, stops when told, keeps what it has, and says it in words."""

import csv
import re
import time

import lab_groups
import pytest

from course_lib.classroom import LabPanel
from course_lib.classroom.plots_lab import speed_figure, speed_html, speed_words
from course_lib.measure import lab_process
from course_lib.measure.lab import chosen, lab_table, main, read_rows, time_groups
from course_lib.measure.lab_process import LabProcess
from course_lib.measure.speed import Machine, Row, as_csv

WHAT = "lab_groups:groups"
MACHINE = Machine("cpu", "abacus", 1, "2", {"fp32": 1e9, "bf16": 4e9}, 1e8)
ROWS = [
    Row("a: one pass", 40.0, 35.0, 50.0, 3, 1.0, 10.0, 0.25),
    Row("a: 8 tokens", 280.0, 270.0, 300.0, 3, 7.0),
    Row("a: <tf32>", skipped="needs a GPU & more"),
    Row("b: one pass", 1500.0, 1400.0, 1600.0, 3, 1.0),
    Row("c", skipped="needs about 12 GB"),
]


@pytest.fixture
def panel(monkeypatch):
    monkeypatch.setattr(lab_process, "probe", lambda device: MACHINE)
    return LabPanel(["quick", "too large"], "cpu", what=WHAT, rounds=4)


def told(panel):
    return panel._status.value


# ---- the process


def test_a_process_says_its_machine_its_rounds_and_its_rows(monkeypatch):
    monkeypatch.setattr(lab_process, "probe", lambda device: MACHINE)
    monkeypatch.setattr(lab_process, "EVERY", 0)
    events = []
    lab_process.measure(WHAT, "cpu", 4, ["too large", "quick"], events.append)
    assert events[0]["machine"]["name"] == "abacus"
    rounds = [event for event in events if "group" in event]
    assert [(event["done"], event["total"]) for event in rounds] == [(i, 7) for i in range(1, 8)]
    assert rounds[0]["left_s"] is None and rounds[-1]["left_s"] == 0 and rounds[1]["left_s"] > 5 * 0.005
    names = [row["name"] for event in events for row in event.get("rows", [])]
    assert names == ["quick: one pass", "quick: 8 tokens", "quick: 8 tokens, tf32", "too large"]
    with pytest.raises(ValueError, match="There is no group"):
        lab_process.measure(WHAT, "cpu", 4, ["none"], events.append)


def test_messages_are_rare_so_that_they_do_not_disturb_what_is_timed(monkeypatch):
    monkeypatch.setattr(lab_process, "probe", lambda device: MACHINE)
    events = []
    lab_process.measure(WHAT, "cpu", 20, ["quick"], events.append)  # 23 rounds in a tenth of a second
    assert sum("group" in event for event in events) < 6 and events[-2]["done"] == 23


def test_a_process_that_is_told_to_stop_keeps_its_rounds_even_in_the_middle_of_a_long_call():
    process = LabProcess(["quick", "hangs"], rounds=2, what=WHAT)
    rows = []
    for event in process.events():
        rows += event.get("rows", [])
        assert "failed" not in event
        if len(rows) == 3 and "rows" in event:
            time.sleep(2)  # by now, as a rule, in the middle of a call of ten minutes
            process.stop()
    assert [row["name"] for row in rows[:3]] == ["quick: one pass", "quick: 8 tokens", "quick: 8 tokens, tf32"]
    assert rows[0]["rounds"] == 2 and len(rows) == 4
    assert rows[3]["name"].startswith("hangs") and rows[3]["skipped"].startswith("stopped before its")


def test_what_kills_the_process_is_said_and_takes_nothing_else_with_it():
    events = list(LabProcess(["quick", "killed"], rounds=1, what=WHAT).events())
    assert "signal 9" in events[-1]["failed"] and any("rows" in event for event in events[:-1])
    events = list(LabProcess(["broken"], rounds=1, what=WHAT).events())
    assert events[-1] == {"failed": "RuntimeError: shapes differ"}


def test_a_process_needs_names_and_rounds():
    for names, rounds in (([], 3), (["quick"], 0)):
        with pytest.raises(ValueError, match="at least one round"):
            LabProcess(names, rounds=rounds, what=WHAT)


# ---- the lab


def test_a_call_that_a_device_does_not_know_is_a_row_with_the_reason():
    quick = next(iter(lab_groups.groups("cpu")))
    finished = []
    rows = time_groups([quick], rounds=1, finished=finished.append)
    assert finished == [rows] and rows[2] == Row("quick: 8 tokens, tf32", skipped="another number format")


def test_what_compiles_for_minutes_is_timed_only_when_asked_for_by_its_name(monkeypatch, capsys):
    groups, left_out = chosen(lab_groups.groups("cpu"))
    assert "asked" not in {group.name for group in groups}
    assert left_out == [Row("asked", skipped="compiles for a minute")]
    groups, left_out = chosen(lab_groups.groups("cpu"), ["asked", "too"])
    assert [group.name for group in groups] == ["too large", "asked"] and not left_out
    monkeypatch.setattr("course_lib.measure.lab.probe", lambda device: MACHINE)
    assert main([WHAT, "--device", "cpu", "--rounds", "1", "--only", "asked", "--only", "quick"]) == 0
    printed = capsys.readouterr().out
    assert "asked: one pass" in printed and "quick: one pass" in printed and "endless" not in printed


def test_rows_come_back_from_their_csv(tmp_path):
    path = tmp_path / "lab.csv"
    path.write_text(as_csv(ROWS))
    assert read_rows(path) == ROWS
    path.write_text("name,ms\na,1\n")
    with pytest.raises(ValueError, match="Expected a table with the columns name, median_ms"):
        read_rows(path)


# ---- what is shown


def test_the_table_shows_every_row_and_another_machine_beside_it():
    page = speed_html(ROWS, {"a: one pass": Row("a: one pass", 20.0, 19.0, 21.0, 3, 1.0)}, "day93_lab")
    assert page.count("<tr>") == 6 and "&lt;tf32&gt;" in page and "needs a GPU &amp; more" in page
    first = re.findall("<td>(.*?)</td>", page.split("a: one pass")[1].split("</tr>")[0])
    assert first == ["40.00", "35.00 … 50.00", "1.00", "25.0", "5 Hz", "10.000", "25%", "20.00", "2.00"]
    assert "day93_lab" not in speed_html(ROWS) and "<td>–</td>" in speed_html(ROWS)


def test_the_words_name_the_slowest_call_and_what_it_reaches():
    words = speed_words(ROWS)
    assert "a: one pass takes 40 ms, 8 tokens 280 ms, 7.0 times as long: 3.57 in a second, enough for 3 Hz." in words
    assert "b: one pass takes 1.5e+03 ms: 0.667 in a second, not even 1 Hz." in words
    assert "c: not timed (needs about 12 GB)." in words


def test_the_figure_has_a_logarithmic_axis_lines_at_the_three_rates_and_the_floor():
    figure = speed_figure(ROWS)
    axis = figure.axes[0]
    upright = {round(float(line.get_xdata()[0])) for line in axis.lines if line.get_linestyle() == ":"}
    assert axis.get_xscale() == "log" and upright == {1000, 333, 200}
    assert any(list(line.get_xdata()) == [10.0, 10.0] for line in axis.lines)
    assert "a: one pass: 40 ms, floor 10 ms" in figure.get_label() and "a: 8 tokens: 280 ms;" in figure.get_label()
    with pytest.raises(ValueError, match="at least one row with a time"):
        speed_figure(ROWS[2:3])


# ---- the panel


def test_the_panel_measures_shows_a_table_a_figure_and_words_and_writes_a_file(tmp_path):
    other = tmp_path / "other.csv"
    other.write_text(as_csv([Row("quick: one pass", 1000.0, 1000.0, 1000.0, 3, 1.0)]))
    panel = LabPanel(["quick", "too large"], "cpu", what=WHAT, rounds=4, shipped=other)
    with pytest.raises(ValueError, match="Press Run first"):
        panel.save(tmp_path / "lab.csv")
    panel.run()
    panel.run()
    assert "measuring already" in told(panel) and panel.wait()
    assert [row.name for row in panel.rows][::3] == ["quick: one pass", "too large"]
    one, eight = panel.rows[:2]
    assert 1 <= one.median_ms < eight.median_ms and eight.median_ms >= 4 and eight.rounds == 4
    assert "Measured." in told(panel) and "quick: one pass takes" in told(panel) and panel._bar.value == 1
    assert "<td>1000.00</td>" in panel._table.value and "is free" not in panel._table.value
    assert 'alt="Milliseconds per call' in panel._figure.value and "Download lab_cpu_" in panel._link.value
    panel.save(tmp_path / "lab.csv")
    with (tmp_path / "lab.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == [row.name for row in panel.rows]


def test_stop_keeps_what_was_measured_and_the_panel_can_run_again():
    panel = LabPanel(["endless"], "cpu", what=WHAT, rounds=10_000)
    panel.stop()
    assert "Nothing is being measured" in told(panel)
    panel.run()
    deadline = time.monotonic() + 120
    while panel._bar.value == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    panel.stop()
    assert panel.wait(60) and "Stopped; this is what was measured." in told(panel)
    assert panel.rows[0].rounds < 10_000 and 0 < panel._bar.value < 1
    panel._groups.value = ()
    panel.run()
    assert "Choose at least one group" in told(panel) and panel.wait()


def test_the_panel_offers_what_the_device_has_and_says_what_does_not_fit(panel):
    labels = {name: label for label, name in panel._groups.options}
    assert "needs about" in labels["too large"] and "compiles" in labels["asked"] and labels["quick"] == "quick"
    assert panel._groups.value == ("quick", "too large") and panel._devices.value == "cpu"
    with pytest.raises(ValueError, match="There are: quick; endless"):
        LabPanel(["slow"], "cpu", what=WHAT)
    with pytest.raises(ValueError, match="this machine's devices"):
        LabPanel(device="abacus", what=WHAT)


def test_a_problem_of_the_process_is_said_and_the_rows_stay(panel):
    panel._take({"machine": vars(MACHINE)})
    panel._take({"rows": [vars(ROWS[0])]})
    panel._finish("The system ended it (signal 9).")
    assert "signal 9" in told(panel) and "a: one pass takes 40 ms" in told(panel) and panel._bar.bar_style == "danger"


def test_rounds_are_counted_in_silence_and_results_are_spoken(panel):
    where = {"group": "quick", "place": 0, "groups": 3, "done": 2, "total": 8, "left_s": 4.2}
    panel._take(where)
    assert "round 2 of 8, about 4 s left and 2 more groups." in told(panel) and 'aria-live="off"' in told(panel)
    assert panel._bar.value == pytest.approx(1 / 12)
    panel._finish("")
    assert 'role="status"' in told(panel)


def test_without_a_kernel_a_sentence_stands_in_that_the_live_panel_hides(panel, monkeypatch):
    shown = []
    monkeypatch.setattr("course_lib.classroom.lab_panel.display", lambda data, **_: shown.append(data))
    panel._ipython_display_()
    css_class = re.search('class="(lesson-still-[0-9a-f]+)"', shown[0].data).group(1)
    assert f".{css_class} {{ display: none; }}" in panel.children[0].value
    assert "course_lib.measure.lab" in shown[0].data and "application/vnd.jupyter.widget-view+json" in shown[1]


def test_the_table_in_text_shows_a_reason_too():
    assert "skipped: needs about 12 GB" in lab_table(ROWS)
