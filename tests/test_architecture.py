"""The drawing in README.md, enforced: what may import what, how long things may be, one line per file."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import readme_tree

ROOT = Path(__file__).resolve().parents[1]
GROUND = {"interfaces", "actions", "action_vocabulary", "attention", "configs", "costs"}
BELOW = {"ground", "world", "datasets", "rt1", "rt2", "learn", "measure"}
MAY_IMPORT = {  # room: the rooms it may look into, besides itself
    "ground": set(),
    "world": {"ground"},
    "datasets": {"ground", "world"},
    # These four never meet in an import: only through Policy.act, Trainable.loss and the Gymnasium API.
    "rt1": {"ground"},
    "rt2": {"ground"},
    "learn": {"ground"},
    "measure": {"ground"},
    "checks": BELOW,
    "classroom": BELOW | {"checks"},
    "grading": BELOW | {"checks"},  # a learner's instant check and the points come from the same file
}
LIBRARY = sorted((ROOT / "course_lib").rglob("*.py"))
CODE = LIBRARY + sorted((ROOT / "tests").rglob("*.py")) + sorted((ROOT / ".ci").rglob("*.py"))
LINES_PER_FILE, LINES_PER_FUNCTION = 300, 40


def name_of(path):
    """``course_lib/rt1/film.py`` -> ``course_lib.rt1.film``; a folder's front door has the folder's name."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in LIBRARY}


def room_of(module):
    part = module.split(".")[1]
    if module.startswith("course_lib.classroom.checks"):  # a room in the classroom, with a door to grading
        return "checks"
    return "ground" if part in GROUND else part


def statements(tree, lazy=True):
    """Every node below ``tree``; with ``lazy=False`` without the insides of functions, which do not run on import."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if lazy or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from statements(node, lazy)


def imports(source, lazy=True):
    """The modules of course_lib that ``source`` imports, anywhere or (``lazy=False``) only when it is imported itself."""
    found = set()
    for node in statements(ast.parse(source), lazy):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("course_lib.")}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import; write it in full"
            found |= {meant(node.module, alias.name) for alias in node.names if node.module.startswith("course_lib")}
    return found - {"course_lib"}


def meant(module, name):
    """`from course_lib.rt1 import film` means the module course_lib.rt1.film; `... import FiLM`, the front door."""
    full = f"{module}.{name}"
    return full if full in MODULES or (module == "course_lib" and room_of(full) in MAY_IMPORT) else module


def forbidden(module, source):
    """The imports of ``source`` that do not point down."""
    here = room_of(module)
    return sorted(name for name in imports(source) if room_of(name) not in MAY_IMPORT[here] | {here})


@pytest.mark.parametrize("module", [name for name in MODULES if name != "course_lib"])
def test_imports_point_down(module):
    wrong = forbidden(module, MODULES[module].read_text(encoding="utf-8"))
    assert not wrong, f"{module} ({room_of(module)}) must not import {wrong}"


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("course_lib.rt1.policy", "from course_lib.rt2.gemma import Gemma"),
        ("course_lib.rt1.policy", "from course_lib import rt2"),
        ("course_lib.actions", "import course_lib.world.tabletop"),
        ("course_lib.learn.train", "def f():\n    from course_lib.measure import rollout"),
        ("course_lib.world.env", "from course_lib.classroom.plots import show"),
        ("course_lib.grading.score", "from course_lib.classroom.plots import show"),
    ],
)
def test_an_import_that_points_up_or_sideways_is_caught(module, line):
    assert forbidden(module, line)


def cycle_in(graph):
    """A list of modules that import one another in a circle, or []."""
    done, path = set(), []

    def visit(module):
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        path.append(module)
        circle = next(filter(None, map(visit, sorted(graph.get(module, ())))), [])
        done.add(path.pop())
        return circle

    return next(filter(None, map(visit, sorted(graph))), [])


def test_no_module_imports_itself_in_a_circle():
    graph = {module: imports(path.read_text(encoding="utf-8"), lazy=False) for module, path in MODULES.items()}
    assert not cycle_in(graph), "a circle of imports: " + " -> ".join(cycle_in(graph))


def test_a_circle_is_found():
    assert cycle_in({"a": {"b", "d"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


def test_files_are_at_most_300_lines():
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in CODE}
    assert not {path: n for path, n in lengths.items() if n > LINES_PER_FILE}


def test_functions_are_at_most_40_lines():
    long = {}
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1  # docstring and nested functions included
                if lines > LINES_PER_FUNCTION:
                    long[f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"] = lines
    assert not long


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, course_lib; print(*{'torch', 'numpy', 'matplotlib', 'transformers', 'jupyterlab'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


def test_the_tree_in_the_readme_quotes_the_first_line_of_every_file():
    written, true = readme_tree.read(readme_tree.README.read_text(encoding="utf-8")), readme_tree.first_lines()
    wrong = {path for path in written.keys() | true.keys() if written.get(path) != true.get(path)}
    assert not wrong, f"not as in the files: {sorted(wrong)}. Try: python tests/readme_tree.py --write"
    assert all(true.values()), f"no docstring: {[path for path, text in true.items() if not text]}"


def test_the_tree_reads_back_as_it_was_written(tmp_path):
    (tmp_path / "pkg" / "room").mkdir(parents=True)
    texts = {"__init__.py": "House.", "zoo.py": "Animals: a, b.", "room/__init__.py": "Room.", "room/bed.py": "Bed."}
    for name, text in texts.items():
        (tmp_path / "pkg" / name).write_text(f'"""{text}\n\nMore.\n"""\n')
    lines = readme_tree.first_lines(tmp_path / "pkg")
    assert lines == {"pkg/": "House.", "pkg/zoo.py": "Animals: a, b.", "pkg/room/": "Room.", "pkg/room/bed.py": "Bed."}
    assert readme_tree.read(f"# Title\n{readme_tree.write(lines)}\nend") == lines


def test_no_file_knows_the_folder_it_was_written_in():
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    place = re.compile(rb"(?<![\w.])/(work|root)/|\.\./shar" + rb"ed")
    texts = {name: (ROOT / name).read_bytes() for name in listed if (ROOT / name).is_file()}
    assert not [name for name, text in texts.items() if b"\0" not in text and place.search(text)]


def test_no_two_test_files_have_the_same_name():
    """Pytest imports them without their folders: the second one would not be run."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert not {name for name in names if names.count(name) > 1}
