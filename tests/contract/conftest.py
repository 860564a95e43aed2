"""One program, three ways its distributions got there: installed, mounted in memory, mounted unpacked."""

import os
import subprocess
import sys
import textwrap
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from installer import install
from installer.destinations import SchemeDictionaryDestination
from installer.sources import WheelFile

from fixtures.wheels import make_wheel

MODES = ("installed", "memory", "unpacked")


@dataclass
class World:
    """A mode, and the wheels that are there in it. `run` runs code in a fresh interpreter that has them."""

    mode: str
    folder: Path
    wheels: list[Path] = field(default_factory=list)

    def add(self, name: str, files: Mapping[str, str | bytes], version: str = "1", **recipe: object) -> None:
        """Add a wheel by recipe."""
        filename, data = make_wheel(name, version, files, **recipe)  # type: ignore[arg-type]  # passed through
        path = self.folder / "wheels" / filename
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        self.wheels.append(path)

    def run(
        self,
        code: str,
        *arguments: str,
        expect: int = 0,
        flags: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run *code* as the script main.py of the folder work; the mount comes first, as its own line."""
        work = self.folder / "work"
        work.mkdir(exist_ok=True)
        prelude = self._prelude()
        (work / "main.py").write_text(prelude + textwrap.dedent(code), "utf-8")
        command = [str(self._python()), *flags, "main.py", *arguments]
        environment = {**os.environ, **(environ or {})}
        done = subprocess.run(command, capture_output=True, text=True, cwd=work, env=environment, timeout=120)
        assert done.returncode == expect, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def said(self, code: str, *arguments: str, **options: object) -> list[str]:
        """Return the lines that *code* prints, places of the wheels written as ROOT."""
        lines = self.run(code, *arguments, **options).stdout.splitlines()  # type: ignore[arg-type]  # passed through
        return [self._neutral(line) for line in lines]

    @property
    def python(self) -> Path:
        return self._python()

    @property
    def site(self) -> Path:
        return self._site()

    def _prelude(self) -> str:
        if self.mode == "installed":
            return ""
        option = "unpack" if self.mode == "unpacked" else "in_memory"
        wheels = [str(path) for path in self.wheels]
        return (
            f"import remote_wheel; mounts = [remote_wheel.mount(wheel, deps=False, {option}=[':all:']) "
            f"for wheel in {wheels!r}]\n"
        )

    def _python(self) -> Path:
        if self.mode != "installed":
            return Path(sys.executable)
        environment = self.folder / "venv"
        bin_folder = "Scripts" if os.name == "nt" else "bin"
        python = environment / bin_folder / "python"
        if not environment.exists():
            venv.create(environment, with_pip=False, symlinks=os.name != "nt")
        for wheel in self.wheels:
            site = self._site()
            if not (site / f"{'-'.join(wheel.name.split('-')[:2])}.dist-info").exists():
                schemes = {"purelib": str(site), "platlib": str(site), "scripts": str(python.parent)}
                schemes |= {"data": str(environment), "headers": str(environment / "include")}
                destination = SchemeDictionaryDestination(schemes, interpreter=str(python), script_kind="posix")
                with WheelFile.open(wheel) as source:
                    install(source, destination, {"INSTALLER": b"a test\n"})
        return python

    def _site(self) -> Path:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.folder / "venv" / "lib" / version / "site-packages"

    def _neutral(self, line: str) -> str:
        cache = Path(os.environ["REMOTE_WHEEL_CACHE_DIR"]) / "v1"
        for base in (self._site(), *(path for path in cache.glob("images/*/*.zip")), *(cache.glob("trees/*"))):
            line = line.replace(str(base), "ROOT")
        return line


@pytest.fixture(params=MODES)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """The three worlds, one after the other."""
    return World(request.param, tmp_path)


Say = Callable[..., list[str]]
