"""Two threads and many processes that want the same thing at once."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import Python
from tests.loopback import LoopbackIndex


def _fill(index: LoopbackIndex) -> None:
    index.add("app", "1", {"app/__init__.py": "import lib\n"}, requires=["lib"])
    index.add("lib", "1")


def test_two_threads(index: LoopbackIndex, python: Python) -> None:
    _fill(index)
    code = """
        import threading, remote_wheel
        barrier, found = threading.Barrier(4), []
        def work():
            barrier.wait()
            found.append(remote_wheel.require("app"))
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4 and len(set(map(id, found))) == 1, found
        import sys
        assert len(sys.path) == len(set(sys.path))
    """
    python(code)
    assert (index.pages(), index.wheels()) == (2, 2)


def test_many_processes_make_one_request_for_each_file(index: LoopbackIndex, cache: Path) -> None:
    _fill(index)
    code = "import remote_wheel; print(remote_wheel.require('app').lib.__version__)"
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=dict(os.environ)) for _ in range(8)
    ]
    assert [process.communicate(timeout=60)[0].split() for process in started] == [[b"1"]] * 8
    assert (index.pages(), index.metadata_files(), index.wheels()) == (2, 2, 2)
    assert not list(cache.rglob("*.tmp"))


def test_different_requests_at_once_fetch_a_shared_wheel_once(index: LoopbackIndex) -> None:
    _fill(index)
    for at in range(6):
        index.add(f"user{at}", "1", requires=["lib"])
    code = "import sys, remote_wheel; remote_wheel.require(sys.argv[1]); import lib; print(lib.__version__)"
    started = [
        subprocess.Popen([sys.executable, "-c", code, f"user{at}"], stdout=subprocess.PIPE, env=dict(os.environ))
        for at in range(6)
    ]
    assert [process.communicate(timeout=60)[0].split() for process in started] == [[b"1"]] * 6
    assert index.count("/files/lib-1-py3-none-any.whl") - index.count("/files/lib-1-py3-none-any.whl.metadata") == 1


def test_a_killed_helper_leaves_nothing_broken(index: LoopbackIndex, python: Python) -> None:
    """Kill the process group while the index hangs, then ask again."""
    _fill(index)
    index.hang_s = 30.0
    command = [sys.executable, "-c", "import remote_wheel; remote_wheel.require('app')"]
    with subprocess.Popen(command, env=dict(os.environ), start_new_session=True, stderr=subprocess.DEVNULL) as asking:
        while not index.requests and asking.poll() is None:
            try:
                asking.wait(1.0)
            except subprocess.TimeoutExpired:
                break
        os.killpg(asking.pid, 9)
    index.hang_s = 0.0
    assert python("import remote_wheel; print(remote_wheel.require('app').__name__)").stdout.strip() == "app"


def test_fork_after_mount(index: LoopbackIndex, python: Python) -> None:
    index.add("app", "1", {"app/__init__.py": "", **{f"app/m{at}.py": f"V = {at}\n" for at in range(20)}})
    code = """
        import os, importlib, remote_wheel
        remote_wheel.require("app")
        children = []
        for child in range(4):
            pid = os.fork()
            if pid == 0:
                total = sum(importlib.import_module(f"app.m{at}").V for at in range(20))
                os._exit(0 if total == 190 else 1)
            children.append(pid)
        print([os.waitpid(pid, 0)[1] for pid in children])
    """
    assert python(code).stdout.strip() == "[0, 0, 0, 0]"


def test_multiprocessing_spawn_sees_the_mounts(index: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    index.add("app", "1", {"app/__init__.py": "", "app/work.py": "def square(x):\n    return x * x\n"})
    (tmp_path / "main.py").write_text(
        "import multiprocessing, remote_wheel\n"
        "if __name__ == '__main__':\n"
        "    remote_wheel.require('app')\n"
        "    from app.work import square\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.map(square, [2, 3]))\n"
    )
    assert python("", "main.py").stdout.strip() == "[4, 9]"
