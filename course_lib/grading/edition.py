"""The edition of course_lib that a grading run uses: a copy taken once, so that an update in the middle changes nothing.

A run takes minutes. Whoever updates the course meanwhile (``git pull``, an editor) must not get a class of which one half
was tried by the old checks and the other half by the new ones. The sandbox sees this copy and nothing else of the course,
and the version under which verdicts are kept is that of the copy.
"""

import functools
import hashlib
import shutil
import tempfile
from pathlib import Path

import course_lib

LIBRARY = Path(course_lib.__file__).resolve().parent
_kept: list[tempfile.TemporaryDirectory] = []  # removed when this process ends


@functools.cache
def folder() -> Path:
    """The copy of course_lib; made when it is asked for first, and the same until this process ends."""
    _kept.append(tempfile.TemporaryDirectory(prefix="course_edition."))
    return take(LIBRARY, Path(_kept[-1].name) / LIBRARY.name)


@functools.cache
def version() -> str:
    """A fingerprint of the copy: another one may judge differently."""
    return fingerprint_of(folder())


def take(library: Path, target: Path) -> Path:
    """Copy ``library`` to ``target``, with the times of its files, so that Python's compiled files stay good."""
    for path in sorted(library.rglob("*")):
        there = target / path.relative_to(library)
        try:
            if path.is_file():
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, there)
        except FileNotFoundError:  # half-written files of others come and go
            there.unlink(missing_ok=True)
    return target


def fingerprint_of(library: Path) -> str:
    """16 hexadecimal digits that change with any .py file of a library."""
    digest = hashlib.sha256()
    for path in sorted(library.rglob("*.py")):
        digest.update(path.relative_to(library).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
