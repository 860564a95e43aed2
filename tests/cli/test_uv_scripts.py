"""Scripts that are written for uv: ``[tool.uv]`` has uv's meaning here, or is refused."""

from pathlib import Path

import pytest

from fixtures.wheels import make_wheel
from tests.conftest import Python
from tests.loopback import LoopbackIndex, serve


@pytest.fixture
def corp(tmp_path: Path) -> Path:
    """A flat folder of wheels."""
    folder = tmp_path / "corp"
    folder.mkdir()
    filename, data = make_wheel("alpha", "0.1", {"alpha.py": "V = 'corp'\n"})
    (folder / filename).write_bytes(data)
    return folder


@pytest.fixture
def public(index: LoopbackIndex) -> LoopbackIndex:
    index.add("alpha", "2.0", {"alpha.py": "V = 'public'\n"})
    index.add("beta", "1.0", {"beta.py": "V = 'public'\n"})
    return index


def script(tmp_path: Path, tools: str, needs: str = '"alpha"', code: str = "import alpha; print(alpha.V)") -> str:
    lines = f"dependencies = [{needs}]\n{tools}".splitlines()
    block = "".join(f"# {line}".rstrip() + "\n" for line in lines)
    (tmp_path / "s.py").write_text(f"# /// script\n{block}# ///\n{code}\n")
    return "s.py"


INDEX = '[[tool.uv.index]]\nname = "{name}"\nurl = "{url}"\n{more}\n'


@pytest.mark.parametrize("form", ["flat", "simple"])
def test_an_explicit_index_is_for_those_that_are_bound_to_it(
    public: LoopbackIndex, remote_wheel: Python, tmp_path: Path, form: str
) -> None:
    with serve(LoopbackIndex()) as other:
        other.add("alpha", "0.1", {"alpha.py": "V = 'corp'\n"})
        url = other.url if form == "simple" else f"{other.root}flat"
        link = f"/files/{other.files['alpha'][0].filename}"
        other.html_at["/flat"] = other.html_at["/flat/"] = f"<a href='{link}'>x</a>"
        index = INDEX.format(name="corp.internal", url=url, more=f'format = "{form}"\nexplicit = true')
        assert remote_wheel("run", script(tmp_path, index)).stdout == "public\n"
        assert not other.asked
        bound = f'{index}[tool.uv.sources]\nalpha = {{ index = "corp.internal" }}'
        assert remote_wheel("run", script(tmp_path, bound)).stdout == "corp\n"


def test_an_explicit_folder(public: LoopbackIndex, remote_wheel: Python, tmp_path: Path, corp: Path) -> None:
    index = INDEX.format(name="corp", url=corp.as_uri(), more='format = "flat"\nexplicit = true')
    assert remote_wheel("run", script(tmp_path, index)).stdout == "public\n"
    bound = f'{index}[tool.uv.sources]\nalpha = {{ index = "corp" }}'
    assert remote_wheel("run", script(tmp_path, bound)).stdout == "corp\n"


def test_a_bound_index_is_asked_for_others_too(public: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    """What is not explicit serves all, in the order of the file; the default index comes last."""
    with serve(LoopbackIndex()) as other:
        other.add("alpha", "0.1", {"alpha.py": "V = 'corp'\n"})
        other.add("beta", "0.1", {"beta.py": "V = 'corp'\n"})
        tools = INDEX.format(name="corp", url=other.url, more="")
        tools += '[tool.uv.sources]\nalpha = { index = "corp" }'
        code = "import alpha, beta; print(alpha.V, beta.V)"
        assert remote_wheel("run", script(tmp_path, tools, '"alpha", "beta"', code)).stdout == "corp corp\n"


def test_a_source_is_for_what_the_script_names(public: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    """A project that only another one needs is taken from the index, as uv does it."""
    public.add("top", "1.0", {"top.py": ""}, requires=["alpha"])
    with serve(LoopbackIndex()) as other:
        other.add("alpha", "9.0", {"alpha.py": "V = 'corp'\n"})
        tools = INDEX.format(name="corp", url=other.url, more="explicit = true")
        tools += '[tool.uv.sources]\nalpha = { index = "corp" }'
        assert remote_wheel("run", script(tmp_path, tools, '"top"')).stdout == "public\n"
        assert remote_wheel("run", script(tmp_path, tools, '"top", "Alpha"')).stdout == "corp\n"
        without = f'[tool.uv]\nno-sources-package = ["alpha"]\n{tools}'
        assert remote_wheel("run", script(tmp_path, without, '"top", "alpha"')).stdout == "public\n"


@pytest.mark.parametrize("more", ["default = true", ""])
def test_of_two_with_one_place_the_first_counts(
    public: LoopbackIndex, remote_wheel: Python, tmp_path: Path, more: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if more:
        monkeypatch.delenv("REMOTE_WHEEL_INDEX_URL", raising=False)
    with serve(LoopbackIndex()) as first, serve(LoopbackIndex()) as second:
        first.add("alpha", "0.1", {"alpha.py": "V = 'first'\n"})
        second.add("alpha", "0.2", {"alpha.py": "V = 'second'\n"})
        names = ("a", "b") if more else ("a", "a")
        urls = (first.url, second.url)
        tools = "".join(INDEX.format(name=name, url=url, more=more) for name, url in zip(names, urls, strict=True))
        assert remote_wheel("run", script(tmp_path, tools)).stdout == "first\n"


def test_a_default_index_may_have_a_name(public: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    with serve(LoopbackIndex()) as other:
        other.add("alpha", "0.1", {"alpha.py": "V = 'corp'\n"})
        tools = INDEX.format(name="corp", url=other.url, more="default = true")
        run = ("run", script(tmp_path, tools))
        assert remote_wheel(*run, REMOTE_WHEEL_INDEX_URL="").stdout == "corp\n"
        assert remote_wheel(*run).stdout == "public\n"  # the user's own variable counts more
        script(tmp_path, f'{tools}[tool.uv.sources]\nalpha = {{ index = "corp" }}')
        assert remote_wheel(*run).stdout == "corp\n"


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ("alpha = {{ url = '{url}', marker = \"sys_platform == 'nowhere'\" }}", "public"),
        ("alpha = {{ url = '{url}', marker = \"sys_platform != 'nowhere'\" }}", "corp"),
        ("alpha = [{{ url = '{url}x', marker = \"sys_platform == 'nowhere'\" }}, {{ url = '{url}' }}]", "corp"),
        ("alpha = [{{ url = '{url}', extra = 'x' }}]", "public"),
        ("alpha = [{{ url = '{url}', group = 'x' }}]", "public"),
        ("Alpha = {{ url = '{url}' }}", "corp"),
    ],
)
def test_sources_have_markers(
    public: LoopbackIndex, remote_wheel: Python, tmp_path: Path, corp: Path, sources: str, said: str
) -> None:
    (wheel,) = corp.iterdir()
    tools = f"[tool.uv.sources]\n{sources.format(url=wheel.as_uri())}"
    assert remote_wheel("run", script(tmp_path, tools)).stdout == f"{said}\n"


def test_no_sources(public: LoopbackIndex, remote_wheel: Python, tmp_path: Path, corp: Path) -> None:
    (wheel,) = corp.iterdir()
    tools = f"[tool.uv]\nno-sources = true\n[tool.uv.sources]\nalpha = {{ url = '{wheel.as_uri()}' }}"
    assert remote_wheel("run", script(tmp_path, tools)).stdout == "public\n"


def test_what_is_excluded_is_left_out(public: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    public.add("top", "1", {"top.py": ""}, requires=["alpha", "beta"])
    tools = '[tool.uv]\nexclude-dependencies = ["alpha"]'
    code = "import importlib.util as u; print(u.find_spec('alpha'), u.find_spec('beta') is not None)"
    assert remote_wheel("run", script(tmp_path, tools, '"top"', code)).stdout == "None True\n"


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ('resolution = "lowest"', "tool.uv.resolution can't be 'lowest'"),
        ('resolution = "lowest-direct"', "tool.uv.resolution can't be 'lowest-direct'"),
        ('index-strategy = "unsafe-first-match"', "tool.uv.index-strategy can't be 'unsafe-first-match'"),
        ("index-strategy = 5", "tool.uv.index-strategy can't be 5"),
        ("prerelease = 5", "tool.uv.prerelease can't be 5"),
        ("index = 5", "tool.uv.index is an array of tables"),
        ("index = [5]", "each tool.uv.index has a url"),
        ('index = [{ url = "x", format = "odd" }]', "simple or flat, not 'odd'"),
        ('index = [{ url = "x", name = 5 }]', "5 is no name"),
        ("sources = 5", "tool.uv.sources is a table"),
        ("sources.a = 5", "tool.uv.sources.a is a table, or a list of them"),
        ("sources.a.git = 5", "tool.uv.sources.a.git is a string"),
        ("sources.a = [{ url = 5 }]", "tool.uv.sources.a.url is a string"),
        ("exclude-dependencies = 5", "tool.uv.exclude-dependencies is a list of strings"),
        ("exclude-newer-package = 5", "tool.uv.exclude-newer-package is a table of projects"),
        ('dependency-metadata = [{ name = "x" }]', "tool.uv.dependency-metadata can't be honoured"),
        ("sources.a.workspace = true", ""),
        ('no-binary-package = ["alpha"]', "tool.uv.no-binary-package can't be honoured"),
        ("no-binary = true", "tool.uv.no-binary can't be honoured"),
        ('torch-backend = "cu126"', "tool.uv.torch-backend can't be honoured"),
        ('exclude-dependencies = ["a>1"]', "'a>1' of tool.uv.exclude-dependencies is no name"),
        ('no-sources-package = "a"', "tool.uv.no-sources-package is a list of strings"),
    ],
)
def test_what_can_not_be_honoured_is_refused(
    public: LoopbackIndex, remote_wheel: Python, tmp_path: Path, tools: str, said: str
) -> None:
    done = remote_wheel("run", script(tmp_path, f"[tool.uv]\n{tools}"), expect=2 if said else 0)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "tools",
    [
        'resolution = "highest"',
        'index-strategy = "first-index"',
        'index-strategy = "unsafe-best-match"',
        "no-build = true",
    ],
)
def test_what_means_the_same_is_taken(public: LoopbackIndex, remote_wheel: Python, tmp_path: Path, tools: str) -> None:
    assert remote_wheel("run", script(tmp_path, f"[tool.uv]\n{tools}")).stdout == "public\n"


def test_a_dependency_of_another_machine_is_skipped(
    public: LoopbackIndex, remote_wheel: Python, tmp_path: Path, corp: Path
) -> None:
    away = "\"beta; sys_platform == 'nowhere'\", \"gamma @ file:///nowhere.whl ; sys_platform == 'nowhere'\""
    assert remote_wheel("run", script(tmp_path, "", f'"alpha", {away}')).stdout == "public\n"


@pytest.mark.parametrize("need", ['"alpha[more]"', '"alpha @ {url}"', '"alpha[more] @ {url}"', '"alpha[more]>=1"'])
def test_a_lock_of_a_script_satisfies_it(
    public: LoopbackIndex, remote_wheel: Python, tmp_path: Path, corp: Path, need: str
) -> None:
    """Also where an extra or a URL is in it, of which pins do not tell."""
    (wheel,) = corp.iterdir()
    public.add("alpha", "3.0", {"alpha.py": "V = 'public'\n"}, extras=["more"], requires=["beta; extra == 'more'"])
    script(tmp_path, "", need.format(url=wheel.as_uri()))
    remote_wheel("lock", "--script", "s.py")
    first = remote_wheel("run", "--locked", "s.py").stdout
    assert first in ("public\n", "corp\n")
    script(tmp_path, "", '"alpha[other]"')
    assert "does not satisfy 'alpha[other]'" in remote_wheel("run", "--locked", "s.py", expect=2).stderr
