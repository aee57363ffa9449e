"""The learner's own copies of the exercises: made once, never overwritten; an update of the course says what it brings.

    make exercises                  copy what is missing, name what is new (``make lab`` does it too)
    make exercises ARGS=--update    also take the new cells in

``exercises/`` belongs to the course and changes with it. Learners write in ``my_exercises/``, which git does not know. In
``my_exercises/.released/`` lies the release that each copy was made from, so that a newer one is seen.
"""

import argparse
import copy
import itertools
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_lib.grading.notebooks import ROOT, text_of, write

MINE, RELEASED = "my_exercises", ".released"
TAKE_IN = "To take the new cells in: make exercises ARGS=--update (your answers come along, today's file stays beside it)"


def hand_out(root: Path = ROOT, *, update: bool = False) -> Iterator[str]:
    """Copy each exercise that has no copy yet; yields a line for all that is new.

    No copy is changed, unless ``update`` asks for it: then the file as it was keeps every byte, under another name.
    """
    for release in sorted((root / "exercises").rglob("*.ipynb")):
        if ".ipynb_checkpoints" in release.parts:
            continue
        name = release.relative_to(root / "exercises")
        mine, base = root / MINE / name, root / MINE / RELEASED / name
        if not mine.exists():
            for place in (base, mine):  # this order: a copy without its base would look like an old one
                write(place, release.read_text(encoding="utf-8"))
            yield f"{mine.relative_to(root)}: new, and yours to write in."
            continue
        before = _read(base if base.exists() else mine)
        lines = news(before, now := _read(release))
        if not lines:
            continue
        yield f"{mine.relative_to(root)}: the course has a newer release. {' '.join(lines)}"
        if update:
            taken_in = text_of(take_in(_read(mine), before, now))
            kept = _keep(mine)
            write(mine, taken_in)
            write(base, release.read_text(encoding="utf-8"))
            yield f"  It is in now, with your answers. The file as it was: {kept.relative_to(root)}"
        else:
            yield f"  Yours is as you left it. {TAKE_IN}"


def _read(path: Path) -> NotebookNode:
    try:
        return nbformat.read(path, as_version=4)
    except (ValueError, nbformat.reader.NotJSONError) as error:
        raise ValueError(f"Expected a notebook in {path}, got {error}. Move it away, and you get a fresh one.") from error


def _keep(path: Path) -> Path:
    """Copy a file to the first free name beside it."""
    names = (path.with_name(f"{path.stem}_before_update_{number}{path.suffix}") for number in itertools.count(1))
    kept = next(name for name in names if not name.exists())
    with kept.open("xb") as file, path.open("rb") as old:
        shutil.copyfileobj(old, file)
    return kept


def _label(cell: NotebookNode) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def _is_answer(cell: NotebookNode) -> bool:
    return bool(cell.metadata.get("nbgrader", {}).get("solution", False))


def _texts(notebook: NotebookNode) -> set[str]:
    """What stands in the cells that have no label."""
    return {cell.source.strip() for cell in notebook.cells if not _label(cell)}


def news(before: NotebookNode, now: NotebookNode) -> list[str]:
    """How a release differs from the one before, as sentences; none when the same cells say the same."""
    old, new = ({_label(c): c for c in notebook.cells if _label(c)} for notebook in (before, now))
    told = {
        "New": [name for name in new if name not in old and _is_answer(new[name])],
        "Changed": [name for name in new if name in old and new[name].source != old[name].source],
        "Gone": [name for name in old if name not in new and _is_answer(old[name])],
    }
    lines = [f"{word}: {', '.join(names)}." for word, names in told.items() if names]
    if fresh := [text for text in _texts(now) - _texts(before) if text]:
        lines.append(f"Cells of text and examples that are new or changed: {len(fresh)}.")
    known = old.keys() == new.keys() and _texts(before) == _texts(now)
    return lines or ([] if known else ["Cells were taken out."])


def take_in(mine: NotebookNode, before: NotebookNode, now: NotebookNode) -> NotebookNode:
    """The new release with the learner's answers, and the learner's own cells behind the cell that they stood behind.

    An answer that was still the old stub becomes the new one. An answer whose question is gone stays, as an own cell.
    """
    made = copy.deepcopy(now)
    stubs, labels = {_label(c): c.source for c in before.cells}, {_label(c) for c in now.cells}
    for cell in made.cells:
        if _is_answer(cell):
            texts = [c.source for c in mine.cells if _label(c) == _label(cell)]
            if texts and texts != [stubs.get(_label(cell))]:
                cell.source = "\n\n".join(texts)
    place, shown = 0, _texts(before)
    for cell in mine.cells:
        name = _label(cell)
        gone = _is_answer(cell) and name not in labels and cell.source != stubs.get(name)
        if gone or (not name and cell.source.strip() not in shown | {""}):
            own = copy.deepcopy(cell)
            own.metadata.pop("nbgrader", None)
            made.cells.insert(place, own)
            place += 1
        else:
            place = next((i + 1 for i, c in enumerate(made.cells) if _same(c, cell)), place)
    for number, cell in enumerate(made.cells):
        cell.id = f"{cell.id}-{number}" if cell.id in {c.id for c in made.cells[:number]} else cell.id
    return made


def _same(one: NotebookNode, other: NotebookNode) -> bool:
    """Do two cells take the same place in their notebooks?"""
    return _label(one) == _label(other) and (bool(_label(one)) or one.source.strip() == other.source.strip())


def main(arguments: list[str] | None = None) -> int:
    """The command line; see the top of this file."""
    parser = argparse.ArgumentParser(prog="python -m course_lib.grading.handouts", description=__doc__.split("\n")[0])
    parser.add_argument("--update", action="store_true", help="take new cells into copies that exist")
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder that holds exercises/")
    options = parser.parse_args(arguments)
    try:
        for line in hand_out(options.root.resolve(), update=options.update):
            print(line, flush=True)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
