"""What the browser tests of widgets share: a notebook with one cell, and what everyone must be able to read and use."""

import json
import urllib.request

from lab_page import open_notebook, run_all_cells, screenshot, wait_finished, wait_kernel_idle


def run_cell(page, lab, name, source):
    """Make the notebook ``name`` with one code cell, open it, and run it to the end."""
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "outputs": [], "execution_count": None, "source": source.strip()}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    body = json.dumps({"type": "notebook", "format": "json", "content": notebook}).encode()
    request = urllib.request.Request(f"{lab}/api/contents/{name}", body, {"Content-Type": "application/json"}, method="PUT")
    urllib.request.urlopen(request, timeout=30).close()
    open_notebook(page, name)
    wait_kernel_idle(page)
    run_all_cells(page)
    wait_finished(page)


def run_widget(page, lab, name, source, ready):
    """The same, until the widget is there: its element, ``ready`` being "class[data-...]", what it says of itself then."""
    run_cell(page, lab, name, source)
    page.locator(f".{ready}").wait_for()
    return page.locator(f".{ready.partition('[')[0]}")


def change_theme(page, theme):
    """``theme``: "Light" or "Dark"."""
    page.evaluate(f"window.jupyterapp.commands.execute('apputils:change-theme', {{ theme: 'JupyterLab {theme}' }})")
    page.wait_for_function(f"document.body.dataset.jpThemeLight === '{str(theme == 'Light').lower()}'")
    page.wait_for_function("!document.querySelector('#jupyterlab-splash')")


# WCAG's contrast of a text with what lies behind it, for every kind of text there is; 4.5 is enough for small letters.
CONTRAST = """root => {
    const linear = c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const light = rgb => [0.2126, 0.7152, 0.0722].reduce((sum, part, i) => sum + part * linear(rgb[i] / 255), 0);
    const numbers = colour => colour.match(/[0-9.]+/g).map(Number);
    const behind = node => {
        const colour = numbers(getComputedStyle(node).backgroundColor);
        return colour[3] === 0 ? behind(node.parentElement) : colour;
    };
    const tags = ["p", "td", "th", "small", "legend", "label", "caption", "figcaption", "output", "select", "button",
        "[type=submit]", "[type=text]"];
    return Object.fromEntries(tags.filter(tag => root.querySelector(tag)).map(tag => {
        const node = root.querySelector(tag);
        const pair = [light(numbers(getComputedStyle(node).color)), light(behind(node))].sort((a, b) => a - b);
        return [tag, (pair[1] + 0.05) / (pair[0] + 0.05)];
    }));
}"""
NAMELESS = """root => [...root.querySelectorAll("button, input, select, canvas:not([aria-hidden])")]
    .filter(node => !(node.textContent.trim() || node.ariaLabel || node.labels?.length)).map(node => node.outerHTML)"""


def assert_readable(page, widget, name):
    """All that can be used has a name, and all text stands out, in both themes; the screenshots begin with ``name``."""
    assert widget.evaluate(NAMELESS) == []
    for theme in ("Dark", "Light"):
        change_theme(page, theme)
        screenshot(page, f"{name}_{theme.lower()}")
        contrast = widget.evaluate(CONTRAST)
        assert min(contrast.values()) >= 4.5, (theme, contrast)


def assert_still_stands_in(page, name, timeout=None):
    """Saved, and opened again without a kernel, the notebook shows the lesson's still picture; before, it is hidden."""
    still = page.locator("figure[class^=lesson-still]")
    assert still.count() == 1 and not still.is_visible()
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.reload()
    still.wait_for(state="visible", timeout=timeout)  # JupyterLab loads again
    screenshot(page, f"{name}_without_kernel")
