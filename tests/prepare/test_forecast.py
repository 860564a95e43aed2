"""The order in which modules will probably be imported."""

import email
import subprocess
import sys
from pathlib import Path
from types import CodeType

from remote_wheel.prepare.forecast import Forecast

APP = {
    "app/__init__": "",
    "app": "import os\nfrom . import one\nfrom .two import name\nimport lib.deep\ndef later():\n    import app.never\n",
    "app/one": "from .sub import leaf\n",
    "app/two": "",
    "app/sub": "from ..two import other\nfrom .leaf import x\n",
    "app/sub/leaf": "",
    "app/never": "",
}
LIB = {"lib": "", "lib/deep": "import lib.more\n", "lib/more": ""}
PACKAGES = ("app", "app/sub", "lib")


def code_of(source: str) -> CodeType:
    return compile(source, "x.py", "exec", dont_inherit=True)


def drain(forecast: Forecast, sources: dict[str, str]) -> list[str]:
    order = []
    while key := forecast.next():
        order.append(key)
        forecast.learn(key, code_of(sources[key]), is_package=key in PACKAGES)
    return order


def test_depth_first_as_the_code_imports() -> None:
    forecast = Forecast(["print", "app"])
    forecast.add(APP)
    assert drain(forecast, APP) == ["app", "app/one", "app/sub", "app/two", "app/sub/leaf"]
    forecast.add(LIB)  # what waited for it goes on
    assert drain(forecast, LIB) == ["lib", "lib/deep", "lib/more"]
    assert forecast.next() is None


def test_a_module_comes_behind_its_package_and_once() -> None:
    forecast = Forecast(["lib.more", "lib", "lib.more", "lib.missing", "lib.missing.deeper"])
    forecast.add(LIB)
    assert drain(forecast, LIB) == ["lib", "lib/more"]


def test_what_is_added_later_counts_less() -> None:
    forecast = Forecast(["lib"])
    forecast.want(["app"])
    forecast.add({**APP, **LIB})
    assert drain(forecast, {**APP, **LIB})[:2] == ["lib", "app"]


def test_it_is_what_an_import_really_does() -> None:
    """Of a package of the standard library that imports much at its top level."""
    folder = Path(email.__file__).parent.parent
    sources = {}
    for name in ("email", "json", "logging"):
        for path in sorted((folder / name).rglob("*.py")):
            key = path.relative_to(folder).with_suffix("").as_posix().removesuffix("/__init__")
            sources[key] = path.read_text("utf-8")
    packages = {path.parent.relative_to(folder).as_posix() for path in folder.glob("*/**/__init__.py")}
    forecast = Forecast(["email.mime.text", "json", "logging.config"])
    forecast.add(sources)
    order = []
    while found := forecast.next():
        order.append(found)
        forecast.learn(found, code_of(sources[found]), is_package=found in packages)
    program = "import sys, email.mime.text, json, logging.config; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    imported = {name.replace(".", "/") for name in done.stdout.split()} & set(sources)
    assert len(imported) > 10
    assert imported <= set(order)
