"""The command line of `run`, read by hand: the same options as the full parser's."""

import pytest

from remote_wheel.cli.commands import make_parser
from remote_wheel.mounts.run import OPTIONS, RunRequest, parse_run


def parsed(*words: str) -> tuple[str, str, list[str], list[str], dict[str, object]]:
    request = parse_run(words)
    assert isinstance(request, RunRequest)
    return request.kind, request.target, request.argv, request.requirements, request.options


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["s.py"], ("script", "s.py", [], [], {})),
        (["s.py", "--with", "x", "-v"], ("script", "s.py", ["--with", "x", "-v"], [], {})),
        (["--with", "a>=1", "--with=b", "-m", "mod", "-x"], ("module", "mod", ["-x"], ["a>=1", "b"], {})),
        (["-c", "code", "-m"], ("command", "code", ["-m"], [], {})),
        (["--exe", "tool"], ("exe", "tool", [], ["tool"], {})),
        (["--with", "p", "--exe=tool", "--", "-x"], ("exe", "tool", ["-x"], ["p"], {})),
        (
            ["--offline", "--no-prefer-installed", "-"],
            ("script", "-", [], [], {"offline": True, "prefer_installed": False}),
        ),
        (
            ["--extra-index-url", "a", "--extra-index-url=b", "--index-url", "c", "x"],
            ("script", "x", [], [], {"extra_index_urls": ["a", "b"], "index_url": "c"}),
        ),
    ],
)
def test_in_order(words: list[str], expected: object) -> None:
    assert parsed(*words) == expected


@pytest.mark.parametrize(
    "words", [[], ["--with"], ["--nonsense", "x"], ["-m"], ["--offline=1", "x"], ["-v"], ["-h"], ["--help"]]
)
def test_left_to_the_full_parser(words: list[str]) -> None:
    assert parse_run(words) is None


def test_both_parsers_know_the_same_options() -> None:
    text = make_parser().parse_args(["tree", "x"])
    for option, _, _, _ in OPTIONS:
        assert hasattr(text, option.removeprefix("--").replace("-", "_")), option
