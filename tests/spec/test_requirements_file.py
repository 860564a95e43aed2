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
        ("-e .", "line 2: editable projects can't be mounted"),
        ("--colour blue", "line 2: the option --colour is not known"),
        ("flask --colour=x", "line 2: the option --colour is not known"),
        ("flask==1 --hash=md5:00", "line 2: its hashes are weaker than SHA-256"),
    ],
)
def test_what_can_not_be_honoured(line: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse({"r.txt": f"ok\n{line}\n"})
    assert reason in str(caught.value)


def read_one(text: str, **files: str) -> RequirementsFile:
    known = {"r.txt": text, **{f"{name}.txt": body for name, body in files.items()}}
    return parse_requirements_file("r.txt", known.__getitem__, lambda _, named: named, {})


def test_several_options_on_a_line() -> None:
    """As pip reads them: words as a shell has them, whatever the spaces between."""
    line = "-i https://index.example/a?b=c --extra-index-url\thttps://index.example/d \t --pre  -f 'x y'"
    found = read_one(f"{line}\nflask\n")
    assert found.options == {
        "index_url": ["https://index.example/a?b=c"],
        "extra_index_urls": ["https://index.example/d"],
        "pre": [""],
        "find_links": ["x y"],
    }
    assert found.requirements == ["flask"]


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://index.example/s?a=b",
        "--index-url=https://index.example/s?a=b",
        "--index-url\thttps://index.example/s?a=b",
        "-ihttps://index.example/s?a=b",
        "-i=https://index.example/s?a=b",
        "-i  'https://index.example/s?a=b'",
    ],
)
def test_an_equals_sign_in_a_url_is_the_urls(line: str) -> None:
    assert read_one(line).options == {"index_url": ["https://index.example/s?a=b"]}


def test_binaries_that_are_not_wanted() -> None:
    found = read_one("--no-binary Foo,bar\n--only-binary=baz\nflask --config-settings a=b\n")
    assert found.no_binary == {"foo", "bar"}
    assert found.only_binary == {"baz"}
    assert found.requirements == ["flask"]
    assert read_one("--no-binary foo\n--no-binary :none:\n").no_binary == set()
    assert read_one("--no-binary foo\n--only-binary :all:\n").no_binary == set()
    later = read_one("--no-binary :all:\n--only-binary base\n")
    assert (later.no_binary, later.only_binary) == ({":all:"}, {"base"})


def test_hosts_to_be_trusted_are_the_users_to_name() -> None:
    assert read_one("--trusted-host index.example").options == {"allow_insecure": ["index.example"]}
    with pytest.raises(UsageError, match="may not say which hosts"):
        parse_requirements_file("https://index.example/r.txt", lambda _: "--trusted-host x", lambda _, named: named, {})


@pytest.mark.parametrize("line", ["-i", "--index-url", "flask --hash", "--pre=1", "-i 'x", "flask --hash=sha256:zz"])
def test_what_is_half_an_option(line: str) -> None:
    with pytest.raises(UsageError, match="line 1"):
        read_one(line)


def test_no_password_of_a_files_url_is_shown() -> None:
    url = "https://user:secret@index.example/r.txt"
    with pytest.raises(UsageError) as caught:
        parse_requirements_file(url, lambda _: "--colour blue", lambda _, named: named, {})
    assert "secret" not in str(caught.value)
