"""Requirements files as pip documents them."""

import posixpath

import pytest

from remote_wheel.errors import UsageError
from remote_wheel.spec.requirements_file import RequirementsFile, parse_requirements_file


def parse(files: dict[str, str], name: str = "r.txt", **environ: str) -> RequirementsFile:
    return parse_requirements_file(
        name,
        files.__getitem__,
        lambda path, named: posixpath.normpath(posixpath.join(posixpath.dirname(path), named)),
        environ,
    )


def test_lines() -> None:
    text = """
# a comment
flask>=3      # why
rich \\
    >=13
  spaced [extra] == 1 ; python_version > "3"
name @ https://index.example/x.whl#sha256=00
./local/x.whl
with-hash==1 --hash=sha256:AB --hash sha512:cd
https://${HOST}/${UNSET}/y.whl
"""
    found = parse({"r.txt": text}, HOST="h.example")
    assert found.requirements == [
        "flask>=3",
        "rich      >=13",
        'spaced [extra] == 1 ; python_version > "3"',
        "name @ https://index.example/x.whl#sha256=00",
        "./local/x.whl",
        "with-hash==1",
        "https://h.example/${UNSET}/y.whl",
    ]
    assert found.hashes == {"with-hash==1": frozenset(("sha256:ab", "sha512:cd"))}


def test_options_and_nested_files() -> None:
    files = {
        "r.txt": "-r sub/more.txt\n-c c.txt\n-i https://i.example/\n--extra-index-url=https://e.example/\n--pre\nflask\n",
        "sub/more.txt": "-r ../r.txt\nrich\n-rthird.txt\n--find-links 'wheels'\n",
        "sub/third.txt": "third\n--no-index\n--only-binary :all:\n--require-hashes\n",
        "c.txt": "rich<14\n",
    }
    found = parse(files)
    assert found.requirements == ["rich", "third", "flask"]
    assert found.constraints == ["rich<14"]
    assert found.options == {
        "find_links": ["sub/wheels"],  # beside the file that names it
        "no_index": [""],
        "require_hashes": [""],
        "index_url": ["https://i.example/"],
        "extra_index_urls": ["https://e.example/"],
        "pre": [""],
    }
    assert found.files == ["r.txt", "sub/more.txt", "sub/third.txt", "c.txt"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("--no-binary :all:", "line 2: --no-binary asks for a build, and nothing is ever built"),
        ("-e .", "line 2: editable projects can't be mounted"),
        ("--colour blue", "line 2: the option --colour is not known"),
        ("flask --global-option=x", "line 2: the option --global-option=x is not known"),
        ("flask==1 --hash=md5:00", "line 2: its hashes are weaker than SHA-256"),
    ],
)
def test_what_can_not_be_honoured(line: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse({"r.txt": f"ok\n{line}\n"})
    assert reason in str(caught.value)
