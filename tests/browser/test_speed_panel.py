"""LabPanel in a real browser: run, watch, stop, read, download, by keyboard, in both themes; the kernel stays usable."""

import csv
from pathlib import Path

import pytest
from test_lesson_widgets import in_python
from widget_page import assert_readable, assert_still_stands_in, run_cell

CELL = f"""
import sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[1])!r})
from course_lib.classroom import LabPanel

panel = LabPanel(["quick"], "cpu", what="lab_groups:groups", rounds=6)
panel
"""
MEASURED = 240_000  # milliseconds: a new process imports torch and looks at the machine first


@pytest.fixture
def panel(page, lab):
    run_cell(page, lab, "lab_panel.ipynb", CELL)
    found = page.locator(".lab-panel")
    found.get_by_role("button", name="Run").wait_for()
    return found


def test_a_measurement_is_started_by_keyboard_read_and_taken_away(page, panel):
    assert panel.get_by_label("Device").locator("option").all_inner_texts()[-1] == "cpu"
    groups = panel.get_by_label("Groups")
    assert groups.evaluate("list => [...list.selectedOptions].map(o => o.textContent)") == ["quick"]
    groups.focus()
    page.keyboard.press("Home")
    panel.get_by_role("button", name="Run").focus()
    page.keyboard.press("Enter")
    panel.locator("table").wait_for(timeout=MEASURED)
    panel.get_by_role("status").filter(has_text="Measured.").wait_for(timeout=MEASURED)
    heads = panel.locator("tbody th").all_inner_texts()
    assert heads == ["quick: one pass", "quick: 8 tokens", "quick: 8 tokens, tf32"]
    assert "another number format" in panel.locator("tbody tr").last.inner_text()
    assert panel.locator("figure img").get_attribute("alt").startswith("Milliseconds per call")
    with page.expect_download() as download:
        panel.get_by_role("link", name="Download").click()
    with Path(download.value.path()).open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == heads and rows[0]["rounds"] == "6"
    assert in_python(page, "[row.name for row in panel.rows]") == str(heads)
    assert_readable(page, panel, "lab_panel")
    assert page.trouble == []


def test_stop_is_heard_while_it_measures_and_the_kernel_stays_usable(page, panel):
    groups = panel.get_by_label("Groups")
    groups.select_option(["endless", "hangs"])
    panel.get_by_role("button", name="Run").click()
    panel.get_by_text("endless: round").wait_for(timeout=MEASURED)
    assert in_python(page, "6 * 7") == "42"
    panel.get_by_role("button", name="Stop").focus()
    page.keyboard.press("Enter")
    panel.get_by_role("status").filter(has_text="Stopped; this is what was measured.").wait_for(timeout=MEASURED)
    assert "stopped before its turn" in panel.locator("tbody tr").last.inner_text()
    assert page.trouble == []


def test_without_a_kernel_a_sentence_stands_in(page, panel):
    assert_still_stands_in(page, "lab_panel")
