"""What may come in: one file by its name, read as text, rebuilt on the released notebook.

Of a submission only the sources of its cells are kept, and the pictures that were pasted into them. Labels, locked cells,
points, order of the labelled cells and everything else come from the notebook that was released, so a cell that was edited,
copied, split, moved or deleted changes nothing but the answer in it, and is named in a note. Student code is not run here,
and not even parsed.
"""

import base64
import json
import os
import stat
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

LARGEST = 20 * 2**20  # bytes of a notebook
MOST_TEXT, MOST_CELLS = 500_000, 2_000  # characters in all its cells together, and cells
NEW = {"code": new_code_cell, "markdown": new_markdown_cell}
PICTURES = {"image/png": b"\x89PNG\r\n", "image/jpeg": b"\xff\xd8\xff"}  # and how such a file begins
Cell = dict[str, Any]  # "kind", "source", "label", "pictures"


class Refused(ValueError):  # noqa: N818
    """A submission that cannot be read; the message says why, for the student and the instructor."""


def read_submission(path: Path, folder: Path) -> list[Cell]:
    """The cells of ``path``: what of them is kept. Raises Refused, with the reason.

    ``folder`` is the folder of all submissions: nothing outside it, and nothing behind a link, is read.
    """
    if not os.path.lexists(path):
        raise Refused(f"No {path.name} was handed in.")
    try:
        if path.resolve() != folder.resolve() / path.relative_to(folder):
            raise Refused(f"{path.name} is a link to another place. Hand in the notebook itself.")
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (OSError, RuntimeError) as error:  # RuntimeError: a link to itself
        raise Refused(f"{path.name} cannot be opened ({type(error).__name__}). Hand in the notebook itself.") from error
    about = os.fstat(handle)
    if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST:
        os.close(handle)
        raise Refused(f"{path.name} is not a file of at most {LARGEST // 2**20} MB. Clear the outputs and save again.")
    with os.fdopen(handle, "rb") as file:
        raw = file.read(LARGEST)
    try:
        cells = [_cell(cell) for cell in json.loads(raw)["cells"]]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"[:200]
        raise Refused(f"{path.name} is not a notebook that can be read ({reason}). Save it again in JupyterLab.") from error
    if len(cells) > MOST_CELLS or sum(len(cell["source"]) for cell in cells) > MOST_TEXT:
        raise Refused(f"{path.name} has more than {MOST_CELLS} cells or {MOST_TEXT} characters. Hand in your answers only.")
    return cells


def _cell(cell: dict) -> Cell:
    source = cell["source"]
    label = cell.get("metadata", {}).get("nbgrader", {}).get("grade_id", "")
    text = source if isinstance(source, str) else "".join(source)
    text.encode()  # half a character cannot be written to a file: UnicodeEncodeError is a ValueError
    kind = cell["cell_type"] if cell["cell_type"] in NEW else "markdown"
    pictures = _pictures(cell.get("attachments", {})) if kind == "markdown" else {}
    return {"kind": kind, "source": text, "label": label if _is_name(label) else "", "pictures": pictures}


def _is_name(text: Any) -> bool:
    return isinstance(text, str) and text.isprintable() and len(text) <= 200


def _pictures(attachments: dict) -> dict[str, dict[str, str]]:
    """What was pasted into a text cell, as far as it is a picture (and not SVG, which is a program)."""
    kept = {}
    for name, versions in attachments.items():
        for kind, begin in PICTURES.items():
            if isinstance(text := versions.get(kind), str):
                try:
                    raw = base64.b64decode(text, validate=True)
                except ValueError:
                    continue
                if raw.startswith(begin) and _is_name(name):
                    kept[name] = {kind: base64.b64encode(raw).decode()}
    return kept


def other_files(place: Path) -> list[str]:
    """What else lies beside a notebook that was handed in; named in a note, never opened."""
    if not place.parent.is_dir():
        return []
    with os.scandir(place.parent) as entries:
        names = sorted(entry.name for entry in islice(entries, 100) if entry.name != place.name)
    return [name if _is_name(name) else repr(name)[:200] for name in names if name != ".ipynb_checkpoints"]


def repair(cells: list[Cell], released: NotebookNode) -> NotebookNode:
    """The released notebook with the submitted answers, and the learner's own cells where they stood.

    Locked cells are the released ones, once each; the learner's own version of a setup cell stands before it (an older
    release imported what this one does not). Several cells with the label of one answer (copied, or split in two)
    become one, in their order. What is missing is put back: a check as it was, an answer as its stub. Unlabelled cells that
    stand as they were released are marked so: grading need not run them. Text written below a blank text answer is that
    answer.
    """
    labelled = {c.metadata.nbgrader.grade_id: c for c in released.cells if "nbgrader" in c.metadata}
    shown = {c.source.strip() for c in released.cells if "nbgrader" not in c.metadata}
    cells = _with_text_below(cells, labelled, shown)
    copies = {name: [c for c in cells if c["label"] == name] for name in labelled}
    last = {c["label"]: i for i, c in enumerate(cells)}  # a repeated label counts where it stands last
    made: list[NotebookNode] = []
    for i, cell in enumerate(cells):
        name = cell["label"]
        if name not in labelled:
            about = {"released": True} if cell["source"].strip() in shown else {}
            made.append(_new(cell["kind"], [cell], about))
        elif last[name] == i:
            made += [_new("code", [cell], {}) for cell in copies[name] if _is_another_setup(cell, labelled[name])]
            made.append(_labelled(labelled[name], copies[name]))
    _put_back(made, released)
    for number, cell in enumerate(made):
        cell.id = f"cell-{number}"
    return new_notebook(cells=made, metadata=released.metadata)


def _put_back(made: list[NotebookNode], released: NotebookNode) -> None:
    """Insert the labelled cells that are missing, each behind the cell that stood before it when it was released."""
    before = -1
    for cell in released.cells:
        label, text = cell.metadata.get("nbgrader", {}).get("grade_id"), cell.source.strip()
        if label:
            found = [i for i, c in enumerate(made) if c.metadata.get("nbgrader", {}).get("grade_id") == label]
            if not found:
                made.insert(before + 1, _labelled(cell, []))
            before = found[0] if found else before + 1
        else:
            behind = range(before + 1, len(made))
            before = next((i for i in behind if made[i].get("source", "").strip() == text), before)


def _with_text_below(cells: list[Cell], labelled: dict[str, NotebookNode], shown: set[str]) -> list[Cell]:
    """The cells, with the learner's own text right below a blank text answer moved into it."""
    moved: list[Cell] = []
    for cell in cells:
        above = moved[-1] if moved else {"label": ""}
        answer = labelled.get(above["label"])
        own = cell["kind"] == "markdown" and not cell["label"] and cell["source"].strip() not in shown
        if own and answer is not None and answer.cell_type == "markdown" and answer.metadata.nbgrader.solution:
            blank = above["source"].strip() == answer.source.strip()
            if blank or above.get("joined"):
                text = cell["source"] if blank else f"{above['source']}\n\n{cell['source']}"
                pictures = {**above["pictures"], **cell["pictures"]}
                moved[-1] = {**above, "source": text, "pictures": pictures, "joined": True}
                continue
        moved.append(cell)
    return moved


def _labelled(released: NotebookNode, answers: list[Cell]) -> NotebookNode:
    if not answers or not released.metadata.nbgrader.solution:
        answers = [{"source": released.source, "pictures": {}}]
    return _new(released.cell_type, answers, released.metadata)


def _is_another_setup(cell: Cell, released: NotebookNode) -> bool:
    """Is this the learner's version of a locked cell that prepares something (and gives no points)?"""
    about = released.metadata.nbgrader
    prepares = not about.solution and not about.get("points") and released.cell_type == "code"
    return prepares and cell["kind"] == "code" and cell["source"] != released.source


def _new(kind: str, parts: list[Cell], metadata: dict) -> NotebookNode:
    made = NEW[kind]("\n\n".join(part["source"] for part in parts), metadata=metadata)
    pictures = {name: versions for part in parts for name, versions in part["pictures"].items()}
    if kind == "markdown" and pictures:
        made.attachments = pictures
    return made


def remarks(cells: list[Cell], released: NotebookNode) -> list[str]:
    """What ``repair`` had to put right, one line each: for the instructor, and to tell an older release."""
    labelled = {c.metadata.nbgrader.grade_id: c for c in released.cells if "nbgrader" in c.metadata}
    count = Counter(c["label"] for c in cells if c["label"])
    lines = []
    if unknown := [name for name in count if name not in labelled]:
        names = ", ".join(sorted(unknown))[:200]
        lines.append(f"Cells of another release of this assignment, kept as the learner's own: {names}.")
    if missing := [name for name in labelled if not count[name]]:
        lines.append(f"Put back, because they were missing: {', '.join(missing)}.")
    if double := [name for name in labelled if count[name] > 1]:
        lines.append(f"There several times (answers were joined, the others dropped): {', '.join(double)}.")
    locked = {name: c.source for name, c in labelled.items() if not c.metadata.nbgrader.solution}
    if changed := sorted({c["label"] for c in cells if c["label"] in locked and c["source"] != locked[c["label"]]}):
        lines.append(f"Locked cells that are not as released; the released ones count: {', '.join(changed)}.")
    return lines


def borrowed(cells: list[Cell], released: NotebookNode) -> list[str]:
    """A line for the instructor when answers or own cells speak of course_lib where the released cells do not."""
    ours = {c.metadata.get("nbgrader", {}).get("grade_id"): c.source for c in released.cells}
    locked = {c.metadata.nbgrader.grade_id for c in released.cells if c.metadata.get("nbgrader", {}).get("locked")}
    shown = {c.source.strip() for c in released.cells}
    found = [
        cell["label"] or f"cell {number}"
        for number, cell in enumerate(cells, start=1)
        if cell["kind"] == "code" and cell["label"] not in locked and cell["source"].strip() not in shown
        if "course_lib" in cell["source"] and "course_lib" not in ours.get(cell["label"] or 0, "")
    ]
    return [f"Uses the course's own code, to be looked at: {', '.join(found)[:200]}."] if found else []


def with_notes(notebook: NotebookNode, lines: list[str]) -> NotebookNode:
    """The notebook with what was put right in it on top, for the student to read; in place."""
    if lines:
        text = "**Before grading, this was put right in your notebook:**\n\n" + "\n".join(f"- {line}" for line in lines)
        notebook.cells.insert(0, new_markdown_cell(text, id="notes"))
    return notebook


def blank(released: NotebookNode, reason: str) -> NotebookNode:
    """The notebook that stands for a refused submission: the released one, with the reason on top."""
    notebook = repair([], released)
    notebook.cells.insert(0, new_markdown_cell(f"**This submission could not be graded.** {reason}", id="refused"))
    return notebook
