"""Repositories of real projects, mounted from a look-alike of GitHub: what is imported is what their wheels hold.

Made of their sdists' contents, without the metadata that only an sdist has. pip fetches both, as in test_suites.
"""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import parse_email
from packaging.requirements import Requirement

from fixtures.wheels import write_index
from tests.conftest import NETWORK, Python
from tests.servers.forge import Forge

pytestmark = pytest.mark.third_party

# Several build backends, and as many ways to say where packages and version are.
PROJECTS = {"requests": "2.34.2", "flask": "3.1.3", "click": "8.5.1", "attrs": "26.1.0", "rich": "15.0.0"}
MODULES = {"attrs": "attr"}

WATCH = """
    import hashlib, json, os, sys
    import remote_wheel
    source, name, paths = json.loads(sys.stdin.read())
    mount = remote_wheel.mount(source)
    module = mount.import_module(name)
    root, load = os.path.dirname(os.path.dirname(module.__file__)), module.__loader__.get_data
    print(json.dumps({
        "hashes": {path: hashlib.sha256(load(os.path.join(root, path))).hexdigest() for path in paths},
        "explained": remote_wheel.explain(module),
        "version": mount.distribution.version,
        "requires": mount.distribution.requires or [],
    }))
"""


def _download(folder: Path, *arguments: str) -> list[Path]:
    command = [sys.executable, "-m", "pip", "download", "-q", "-d", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **NETWORK}, timeout=300)
    assert done.returncode == 0, done.stderr
    return sorted(folder.iterdir())


def _sources(sdist: Path) -> dict[str, str | bytes]:
    """Return the files of an sdist, less what the making of it added."""
    found: dict[str, str | bytes] = {}
    with tarfile.open(sdist) as archive:
        for member in archive:
            name = member.name.partition("/")[2]
            if (file := archive.extractfile(member)) and name != "PKG-INFO" and ".egg-info/" not in name:
                found[name] = file.read()
    return found


@pytest.mark.parametrize("project", PROJECTS)
def test_a_real_tree(project: str, forge: Forge, python: Python, tmp_path: Path) -> None:
    version = PROJECTS[project]
    (sdist,) = _download(tmp_path / "sdist", "--no-deps", "--no-binary", project, f"{project}=={version}")
    wheels = _download(tmp_path / "wheels", "--only-binary", ":all:", f"{project}=={version}")
    (wheel,) = (path for path in wheels if path.name.startswith(f"{project}-"))
    (tmp_path / "index").mkdir()
    write_index([(path.name, path.read_bytes()) for path in wheels if path != wheel], tmp_path / "index")
    commit = forge.commit(f"real/{project}", _sources(sdist), tag=version)
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    code = {path: hashlib.sha256(data).hexdigest() for path, data in files.items() if ".dist-info/" not in path}
    request = json.dumps((f"github:real/{project}@{version}", MODULES.get(project, project), list(code)))
    said = json.loads(python(WATCH, REMOTE_WHEEL_INDEX_URL=str(tmp_path / "index"), stdin=request).stdout)
    raw, _ = parse_email(next(data for name, data in files.items() if name.endswith(".dist-info/METADATA")))
    assert said["hashes"] == code
    assert f"commit  {commit}" in said["explained"]
    assert said["version"] == version
    assert set(map(Requirement, said["requires"])) == set(map(Requirement, raw.get("requires_dist", [])))
