"""Notebooks from their sources: py:percent files become .ipynb, in one direction, with a check that they agree.

    python -m course_lib.grading.notebooks                      build what is out of date
    python -m course_lib.grading.notebooks notebooks/day92_rt1/2_implementation.py
    python -m course_lib.grading.notebooks --execute            run every notebook again, changed or not
    python -m course_lib.grading.notebooks --check              write nothing; name what is out of date; exit code 1

``notebooks/**/*.py``  ->  .ipynb beside it, executed, so that readers see outputs. A hash of the source is kept in the
                           notebook: an edited source is always executed again, an output never outlives its code.
``solutions/**/*.py``  ->  .ipynb beside it, without outputs, and the exercise of the same name in ``exercises/``.

Cell ids are the nbgrader ``grade_id``, else a hash of the cell, so that the same source gives the same bytes.
"""

import argparse
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

from course_lib.grading.rubrics import NoRubric, rubrics

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "python -m course_lib.grading.notebooks"
FOLDERS = ("notebooks", "solutions", "exercises")
LABEL = {"grade": False, "locked": True, "solution": False, "task": False, "schema_version": 3}


def read(source: Path) -> NotebookNode:
    """The notebook of a py:percent file: no outputs, our metadata, deterministic ids.

    An nbgrader label may be short: ``nbgrader={"grade_id": "film", "solution": true}``; cells with ``points`` are grade
    cells, and only solution cells are left unlocked.
    """
    nb = jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent")
    for cell in nb.cells:
        cell.metadata.pop("lines_to_next_cell", None)  # jupytext's note about blank lines in the .py file
        if "nbgrader" in cell.metadata:
            cell.metadata.nbgrader = _label(cell.metadata.nbgrader)
    nb.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    nb.nbformat, nb.nbformat_minor = 4, 5
    _give_ids(nb)
    return nb


def _label(short: dict) -> NotebookNode:
    """The full nbgrader metadata of a short label."""
    full = {**LABEL, "grade": "points" in short, "locked": not short.get("solution", False), **short}
    return nbformat.from_dict(dict(sorted(full.items())))


def _give_ids(nb: NotebookNode) -> None:
    """Ids from the label or the content; equal cells are numbered, so moving a cell moves its id with it."""
    seen: Counter[str] = Counter()
    for cell in nb.cells:
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:10]
        name = cell.metadata.get("nbgrader", {}).get("grade_id", digest)
        seen[name] += 1
        cell.id = name if seen[name] == 1 else f"{name}-{seen[name]}"


def text_of(nb: NotebookNode) -> str:
    """The bytes of an .ipynb file, as text."""
    return nbformat.writes(nb, version=nbformat.NO_CONVERT) + "\n"


def write(path: Path, text: str) -> None:
    """Write beside, then rename: a reader sees the old file or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def source_hash(nb: NotebookNode) -> str:
    """sha256 of what the author wrote: type, source and metadata of every cell, in order."""
    cells = [(cell.cell_type, cell.source, cell.metadata) for cell in nb.cells]
    return hashlib.sha256(json.dumps(cells, sort_keys=True).encode()).hexdigest()


# --- notebooks/: executed ------------------------------------------------------------------------------------------


def stored_hash(nb: NotebookNode) -> str:
    """The hash of the source that the stored outputs were made from; empty when there is none."""
    return nb.metadata.get("workbook", {}).get("source_sha256", "")


def not_executed(nb: NotebookNode) -> list[int]:
    """Numbers (from 1) of the code cells that have never been run."""
    return [
        number
        for number, cell in enumerate(nb.cells, start=1)
        if cell.cell_type == "code"
        and cell.source.strip()
        and cell.execution_count is None
        and "skip-execution" not in cell.metadata.get("tags", [])
    ]


def build_executed(source: Path, *, again: bool, seconds: int) -> bool:
    """Make ``source``'s .ipynb; run it when its outputs are not those of this source. Returns whether it was written."""
    nb, target = read(source), source.with_suffix(".ipynb")
    old = _stored(target)
    if old is None or again or stored_hash(old) != source_hash(nb) or not_executed(old):
        from course_lib.grading.execution import execute  # noqa: PLC0415  (Jupyter's machinery: only when needed)

        print(f"running {source.name} ...", flush=True)
        execute(nb, folder=source.parent, seconds=seconds)
    else:
        _take_outputs(nb, old)
    nb.metadata["workbook"] = {"source_sha256": source_hash(nb)}
    text = text_of(nb)
    if old is not None and target.read_text(encoding="utf-8") == text:
        return False
    write(target, text)
    return True


def _stored(target: Path) -> NotebookNode | None:
    """The notebook at ``target``; None when there is none, or something that is not a notebook."""
    try:
        return nbformat.read(target, as_version=nbformat.NO_CONVERT)
    except (FileNotFoundError, UnicodeDecodeError, nbformat.reader.NotJSONError):
        return None


def _take_outputs(nb: NotebookNode, old: NotebookNode) -> None:
    for cell, before in zip(nb.cells, old.cells, strict=True):  # equal hashes: the same cells in the same order
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = before.outputs, before.execution_count


def problems_executed(source: Path) -> Iterator[str]:
    """What is wrong with ``source``'s .ipynb: not there, another source, edited by hand, never run."""
    nb, old = read(source), _stored(source.with_suffix(".ipynb"))
    nb.metadata["workbook"] = {"source_sha256": source_hash(nb)}
    if old is None:
        yield "has not been built"
        return
    if stored_hash(old) != source_hash(nb):
        yield "its source was edited after it was built"
        return
    bare = [[(c.cell_type, c.source, c.id, c.metadata) for c in n.cells] for n in (nb, old)]
    if bare[0] != bare[1]:
        changed = [i for i, (a, b) in enumerate(zip(*bare, strict=False), start=1) if a != b]
        yield f"cell {changed[0]} differs from its source" if changed else "has more or fewer cells than its source"
    if nb.metadata != old.metadata:
        yield "its notebook metadata differ from what the build makes"
    if missing := not_executed(old):
        yield f"cells {', '.join(map(str, missing))} have no outputs: the notebook was not run to the end"
    for number, cell in enumerate(old.cells, start=1):
        failed = any(output.output_type == "error" for output in cell.get("outputs", []))
        if failed and "raises-exception" not in cell.metadata.get("tags", []):
            yield f"cell {number} shows an error"


# --- solutions/ and exercises/: without outputs ----------------------------------------------------------------------


def made_from_solution(source: Path, root: Path) -> dict[Path, str]:
    """The two files that one solution makes: its own .ipynb, and the exercise. Raises NoRubric (``rubrics``)."""
    from course_lib.grading.release import make_exercise  # noqa: PLC0415  (nbgrader: only where exercises are made)

    rubrics(read(source))
    target = source.with_suffix(".ipynb")
    exercise = root / "exercises" / target.relative_to(root / "solutions")
    return {target: text_of(read(source)), exercise: text_of(make_exercise(read(source)))}


# --- the command -------------------------------------------------------------------------------------------------------


def sources(root: Path, folder: str, only: Iterable[Path] = ()) -> list[Path]:
    """The py:percent files of ``folder``, all or those named (by .py, .ipynb, or the exercise made from them)."""
    found = sorted(p for p in (root / folder).rglob("*.py") if ".ipynb_checkpoints" not in p.parts)
    wanted = {p.with_suffix(".py") for p in only}
    wanted |= {
        root / "solutions" / p.relative_to(root / "exercises") for p in wanted if p.is_relative_to(root / "exercises")
    }
    return [p for p in found if p in wanted] if wanted else found


def orphans(root: Path) -> list[Path]:
    """Notebooks without a source: made by hand, or left behind by a renamed source."""
    found = []
    for folder in FOLDERS:
        home = "solutions" if folder == "exercises" else folder
        for path in sorted((root / folder).rglob("*.ipynb")):
            source = root / home / path.relative_to(root / folder).with_suffix(".py")
            if ".ipynb_checkpoints" not in path.parts and not source.exists():
                found.append(path)
    return found


def build(root: Path = ROOT, only: Iterable[Path] = (), *, execute: bool = False, seconds: int = 120) -> list[Path]:
    """Build everything, or the files named; returns the files written.

    ``seconds`` is the time limit of one cell. Raises ``nbclient.exceptions.CellExecutionError`` when a cell fails; the
    old .ipynb then stays as it was, and ``--check`` says that it is out of date.
    """
    only, written = list(only), []
    for source in sources(root, "notebooks", only):
        if build_executed(source, again=execute, seconds=seconds):
            written.append(source.with_suffix(".ipynb"))
    for source in sources(root, "solutions", only):
        for path, text in made_from_solution(source, root).items():
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                write(path, text)
                written.append(path)
    return written


def check(root: Path = ROOT, only: Iterable[Path] = ()) -> list[str]:
    """One line for each file that is not what its source makes, with the command that repairs it. Writes nothing."""
    only, lines = list(only), []
    for source in sources(root, "notebooks", only):
        target = source.with_suffix(".ipynb").relative_to(root)
        lines += [f"{target}: {what}. Run: {COMMAND} {source.relative_to(root)}" for what in problems_executed(source)]
    for source in sources(root, "solutions", only):
        for path, text in made_from_solution(source, root).items():
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                what = "differs from what its source makes" if path.exists() else "has not been built"
                lines.append(f"{path.relative_to(root)}: {what}. Run: {COMMAND} {source.relative_to(root)}")
    if not only:
        lines += [f"{p.relative_to(root)}: has no source. Write the .py file, or remove it." for p in orphans(root)]
    return lines


def main(arguments: list[str] | None = None) -> int:
    """The command line; see the top of this file."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, help="only these (.py or .ipynb)")
    parser.add_argument("--check", action="store_true", help="write nothing, say what is out of date")
    parser.add_argument("--execute", action="store_true", help="run notebooks again even when their source is unchanged")
    parser.add_argument("--seconds", type=int, default=120, help="time limit of one cell")
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder that holds notebooks/ and solutions/")
    options = parser.parse_args(arguments)
    root, only = options.root.resolve(), [path.resolve() for path in options.files]
    known = {p for folder in FOLDERS for p in sources(root, folder, only)}
    if only and not known:
        parser.error(f"no source in {', '.join(FOLDERS[:2])} belongs to {', '.join(map(str, options.files))}.")
    if options.check:
        lines = check(root, only)
        print("\n".join(lines) or "Every notebook is what its source makes.")
        return 1 if lines else 0
    for path in build(root, only, execute=options.execute, seconds=options.seconds):
        print(f"wrote {path.relative_to(root)}")
    return 0


def run() -> int:
    """``main`` with a missing nbgrader or rubric told in one line; what needs no nbgrader is built before that."""
    try:
        return main()
    except ModuleNotFoundError as error:
        if error.name != "nbgrader":
            raise
        print(error, file=sys.stderr)
    except NoRubric as error:
        print(error, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(run())
