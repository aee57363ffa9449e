"""Open JupyterLab on the course's first page, on a port that is free. Runs inside `.venv`, from `make lab`.

python .ci/lab.py PORT [options of jupyter lab]     PORT may be "": then the first free one from 8888 on
"""

import os
import socket
import sys
from pathlib import Path

import psutil
from jupyter_server.serverapp import list_running_servers

ROOT = Path(__file__).resolve().parent.parent
FIRST_PORT, PORTS = 8888, 50
FIRST_PAGE = "notebooks/index.ipynb"


def is_free(port):
    """Whether nobody listens on this port of this computer."""
    with socket.socket() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port closed a moment ago counts as free
        try:
            door.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def who_listens(port):
    """The program behind a busy port, in words. Other users' programs keep their names to themselves."""
    for server in list_running_servers():
        if server["port"] == port:
            return f"a JupyterLab in {server['root_dir']} (process {server['pid']}, {server['url']})"
    try:
        pids = [c.pid for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.laddr.port == port]
        return f"{psutil.Process(pids[0]).name()} (process {pids[0]})"
    except (psutil.Error, IndexError, TypeError):
        return "a program of another user"


def first_free():
    """The first free port from 8888 on."""
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        if is_free(port):
            return port
    raise ValueError(
        f"Expected a free port from {FIRST_PORT} to {FIRST_PORT + PORTS - 1}, got none. Try another one: make lab PORT=9500"
    )


def choose_port(wanted):
    """The port to use: the wanted one, or the first free one if none was asked for ("").

    Raises ValueError (expected, got, try) if the wanted one is no port number or is busy.
    """
    if not wanted:
        port = first_free()
        if port != FIRST_PORT:
            print(f"lab: port {FIRST_PORT} is used by {who_listens(FIRST_PORT)}; this one opens on port {port}.", flush=True)
        return port
    if not wanted.isdecimal() or not 1024 <= int(wanted) <= 65535:
        raise ValueError(f"Expected PORT to be a number from 1024 to 65535, got {wanted!r}. Try: make lab PORT={FIRST_PORT}")
    port = int(wanted)
    if not is_free(port):
        raise ValueError(
            f"Expected port {port} to be free, got a busy one: it is used by {who_listens(port)}. "
            f"Try another: make lab PORT={first_free()}, or leave PORT out and a free one is found."
        )
    return port


def main(wanted, *options):
    """Replace this process by JupyterLab."""
    try:
        port = choose_port(wanted)
    except ValueError as error:
        return f"lab: {error}"
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={ROOT}", f"--port={port}"]
    command.append(f"--LabApp.default_url=/lab/tree/{FIRST_PAGE}")  # not as a file: then the printed address opens it too
    command.append("--ServerApp.port_retries=0")  # the port was chosen above; no silent second choice
    if os.geteuid() == 0:
        command.append("--allow-root")  # in a container; Jupyter refuses otherwise
    os.chdir(ROOT)
    os.execv(sys.executable, [*command, *options])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if sys.argv[1:] else __doc__)
