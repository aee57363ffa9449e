"""The tree in README.md: one line per file of course_lib, which is the first line of that file's docstring.

python tests/readme_tree.py --write     rewrite the block between the two comments in README.md
"""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BEGIN, END = "<!-- tree -->", "<!-- /tree -->"
LINE = re.compile(r"^( *)(\S+)\s*(.*)$")  # indentation, name, text


def first_lines(package: Path = ROOT / "course_lib") -> dict[str, str]:
    """Path from the project's folder -> first line of the docstring. A folder stands for its ``__init__.py``."""
    found = {}
    for path in sorted(package.rglob("*.py"), key=_files_before_folders):
        name = path.relative_to(package.parent).as_posix().removesuffix("__init__.py")
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        found[name] = (docstring or "").partition("\n")[0]
    return found


def _files_before_folders(path: Path) -> list:
    """Sort key: in each folder its ``__init__.py`` first, then its files, then its folders."""
    parts = path.relative_to(ROOT).parts if path.is_relative_to(ROOT) else path.parts
    return [(1, part) for part in parts[:-1]] + [(0, "" if parts[-1] == "__init__.py" else parts[-1])]


def write(lines: dict[str, str]) -> str:
    """The block as it stands in README.md, with its comments."""
    names = {path: "  " * path.rstrip("/").count("/") + re.search(r"[^/]+/?$", path)[0] for path in lines}
    width = max(map(len, names.values())) + 2
    tree = "\n".join(f"{names[path]:{width}}{text}".rstrip() for path, text in lines.items())
    return f"{BEGIN}\n```text\n{tree}\n```\n{END}"


def read(readme: str) -> dict[str, str]:
    """The inverse of ``write``: path -> text, from the block in ``readme``. Raises ValueError if there is no block."""
    if BEGIN not in readme or END not in readme:
        raise ValueError(
            f"Expected {BEGIN} and {END} in README.md, but one is missing. Try: python tests/readme_tree.py --write"
        )
    found, folders = {}, []
    for line in readme.partition(BEGIN)[2].partition(END)[0].splitlines():
        if not line.strip() or line.startswith("```"):
            continue
        indent, name, text = LINE.match(line).groups()
        folders[len(indent) // 2 :] = [name]  # two spaces per level
        found["".join(folders)] = text
    return found


def main() -> None:
    """Put the block into README.md: in the place of the old one, or at the end."""
    text, block = README.read_text(encoding="utf-8"), write(first_lines())
    old = re.search(re.escape(BEGIN) + ".*?" + re.escape(END), text, re.DOTALL)
    README.write_text(text.replace(old[0], block) if old else f"{text.rstrip()}\n\n{block}\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        main()
    else:
        print(write(first_lines()))
