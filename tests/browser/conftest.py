"""JupyterLab and Chromium for the browser tests: a server on copies of the notebooks, and a page that writes down trouble.

``page`` is a Playwright page with the server as its base address; ``page.trouble`` collects the console's errors, the
exceptions of scripts, and every request that would leave this computer.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlparse

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_FLAGS = [
    "--no-sandbox",  # Chromium refuses to run as root with it, and it only visits our own server
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium with an empty profile; the tests are skipped where it or Playwright is missing."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (make test installs it)")
    executable = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if executable is None:
        pytest.skip("Chromium is not installed: sudo apt-get install chromium fonts-dejavu-core")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """The address of a JupyterLab on copies of the course's files, with nobody's personal settings."""
    folder, home = tmp_path_factory.mktemp("course"), tmp_path_factory.mktemp("home")
    for name in ("notebooks", "exercises", "data"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(".ipynb_checkpoints", "*.py"))
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
    with (home / "log").open("w") as log:
        server = subprocess.Popen(_command(folder, port), cwd=folder, env=_environment(home), stdout=log, stderr=log)
    address = f"http://localhost:{port}"
    try:
        _wait_until_it_answers(server, address, home / "log")
        yield address
    finally:
        _end(server)


def _command(folder, port):
    options = {
        "ServerApp.root_dir": folder,
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.open_browser": False,
        "ServerApp.allow_root": True,
        "IdentityProvider.token": "",
        "ServerApp.disable_check_xsrf": True,
        "LabApp.expose_app_in_browser": True,
    }
    return [sys.executable, "-m", "jupyterlab", *(f"--{name}={value}" for name, value in options.items())]


def _environment(home):
    """Nobody's Jupyter settings but ours: no news, and Jupyter's files under ``home``."""
    settings = home / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))
    places = {"CONFIG": "config", "DATA": "data", "RUNTIME": "runtime"}
    ours = {f"JUPYTER_{name}_DIR": str(home / place) for name, place in places.items()}
    return {**os.environ, **ours, "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"), "IPYTHONDIR": str(home / "ipython")}


def _wait_until_it_answers(server, address, log, seconds=90):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/api/status", timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"JupyterLab did not answer at {address} (exit code {server.poll()}):\n{log.read_text()[-3000:]}")


def _end(server):
    """Kill the server and its kernels. Nothing in them is worth saving, and a polite end waits for kernels that start."""
    if server.poll() is None:
        family = psutil.Process(server.pid).children(recursive=True)
        server.kill()
        for kernel in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                kernel.kill()
        psutil.wait_procs(family, timeout=10)
    server.wait(10)


@pytest.fixture
def page(browser, lab):
    """A new page with an empty profile. The kernels that the test started end with it."""
    context = browser.new_context(base_url=lab, viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    page.trouble = []
    page.on("console", lambda message: message.type == "error" and page.trouble.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: page.trouble.append(f"exception: {error}"))
    page.on("request", lambda request: _note_strangers(page, request.url))
    yield page
    context.close()
    for session in json.load(urllib.request.urlopen(f"{lab}/api/sessions", timeout=10)):
        urllib.request.urlopen(urllib.request.Request(f"{lab}/api/sessions/{session['id']}", method="DELETE"), timeout=30)


def _note_strangers(page, url):
    if urlparse(url).hostname not in {"localhost", "127.0.0.1", "", None}:
        page.trouble.append(f"request to another computer: {url}")
