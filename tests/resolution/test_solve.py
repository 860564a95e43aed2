"""Plans: right against brute force, the same under every hash seed, and explained where there is none."""

import contextlib
import itertools
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name

from remote_wheel.errors import NoMatchingVersion, ProjectNotFound, ResolutionLimit, Unsatisfiable
from remote_wheel.index.listing import Listing, Omissions, Release
from remote_wheel.resolution.masks import Masks
from remote_wheel.resolution.plan import Plan, plan_from_json, plan_to_json
from remote_wheel.resolution.provider import Policy, Provider
from remote_wheel.resolution.solve import solve, solve_once
from remote_wheel.spec.dependency import Dependency
from remote_wheel.spec.metadata import CoreMetadata
from tests.resolution.fakes import TARGET, Graph, MemoryCatalog

PLAIN = Policy()


def never() -> bool:
    return False


def plan_of(
    graph: Graph,
    *requirements: str,
    policy: Policy = PLAIN,
    max_rounds: int = 200_000,
    is_out_of_time: Callable[[], bool] = never,
) -> Plan:
    wanted = [Requirement(text) for text in requirements]
    catalog = MemoryCatalog(graph, extras=("x", "y", "all"), constraints=policy.constraints)
    return solve(wanted, catalog, TARGET, policy, max_rounds=max_rounds, is_out_of_time=is_out_of_time)


def pins(graph: Graph, *requirements: str, policy: Policy = PLAIN) -> dict[str, str]:
    return {pin.name: pin.version for pin in plan_of(graph, *requirements, policy=policy).pins}


def test_newest_versions_that_fit() -> None:
    graph: Graph = {"a": {"1": ["b"], "2": ["b<2"]}, "b": {"1": [], "1.5": [], "2": []}}
    assert pins(graph, "a") == {"a": "2", "b": "1.5"}


def test_backtracks_to_an_older_version() -> None:
    graph: Graph = {"a": {"1": ["b<2"], "2": ["b>=2"]}, "b": {"1": [], "2": []}, "c": {"1": ["b<2"]}}
    assert pins(graph, "a", "c") == {"a": "1", "b": "1", "c": "1"}


def test_extras_and_extras_of_extras() -> None:
    graph: Graph = {
        "a": {"1": ["b[x]; extra == 'x'", "d; extra == 'y'"]},
        "b": {"1": ["c; extra == 'x'"]},
        "c": {"1": []},
        "d": {"1": []},
    }
    assert pins(graph, "a[x]") == {"a": "1", "b": "1", "c": "1"}
    assert pins(graph, "a[x,y]") == {"a": "1", "b": "1", "c": "1", "d": "1"}
    assert pins(graph, "a[unknown]") == {"a": "1"}
    assert plan_of(graph, "a[unknown]").notes == ("a 1 has no extra 'unknown'",)
    assert plan_of(graph, "a[x]").notes == ()


def test_an_extra_of_itself() -> None:
    graph: Graph = {"a": {"1": ["a[x]; extra == 'all'", "b; extra == 'x'"]}, "b": {"1": []}}
    assert pins(graph, "a[all]") == {"a": "1", "b": "1"}


def test_markers_choose() -> None:
    graph: Graph = {
        "a": {"1": ["b; sys_platform == 'win32'", "c; python_version >= '3.12'"]},
        "b": {"1": []},
        "c": {"1": []},
    }
    assert pins(graph, "a", "b; sys_platform == 'win32'") == {"a": "1", "c": "1"}


def test_cycles() -> None:
    graph: Graph = {"a": {"1": ["b"]}, "b": {"1": ["a"]}}
    plan = plan_of(graph, "a")
    assert plan.tree() == "a 1\n└── b 1\n    └── a 1 (above)"


def test_pre_releases_by_pep_440() -> None:
    graph: Graph = {"a": {"1": [], "2rc1": []}, "only": {"1b1": []}, "needs": {"1": ["a>=2rc1"]}}
    assert pins(graph, "a") == {"a": "1"}
    assert pins(graph, "a>=2rc1") == {"a": "2rc1"}
    assert pins(graph, "a>1a1") == {"a": "2rc1"}  # a specifier that names a pre-release opts in
    assert pins(graph, "only") == {"only": "1b1"}
    assert pins(graph, "needs")["a"] == "2rc1"
    assert pins(graph, "a", policy=Policy(pre=True)) == {"a": "2rc1"}
    # A final that falls to a conflict is no reason to take a pre-release that nobody asked for.
    fallen: Graph = {"a": {"1": ["b>2"], "2rc1": []}, "b": {"1": []}}
    with pytest.raises(Unsatisfiable):
        plan_of(fallen, "a")


def test_yanked_releases_only_by_exact_pin() -> None:
    graph: Graph = {"a": {"1": [], "2!": []}, "pins": {"1": ["a==2"]}, "prefix": {"1": ["a==2.*"]}}
    assert pins(graph, "a") == {"a": "1"}
    assert pins(graph, "a==2") == {"a": "2"}
    assert pins(graph, "a==2", "a>1") == {"a": "2"}
    assert pins(graph, "pins")["a"] == "2"
    with pytest.raises(Unsatisfiable, match="yanked"):
        plan_of(graph, "prefix")


def test_preferred_versions_are_kept_where_they_fit() -> None:
    graph: Graph = {"a": {"1": ["b"]}, "b": {"1": [], "2": []}, "c": {"1": ["b>=2"]}}
    policy = Policy(preferred={Requirement("b").name: "1"})  # type: ignore[dict-item]  # b is its own normal form
    assert pins(graph, "a", policy=policy)["b"] == "1"
    assert pins(graph, "a", "c", policy=policy)["b"] == "2"


def test_unknown_root_and_no_match() -> None:
    with pytest.raises(ProjectNotFound) as caught:
        plan_of({}, "nothing")
    assert caught.value.indexes == ("https://index.example/simple/",)
    with pytest.raises(NoMatchingVersion) as no_match:
        plan_of({"a": {"1": []}}, "a>1")
    assert no_match.value.available == ("1",)


def test_giving_up_is_not_called_unsatisfiable() -> None:
    graph: Graph = {
        "a": {str(n): [f"b=={n}"] for n in range(1, 20)},
        "b": {str(n): [f"a=={n + 1}"] for n in range(1, 20)},
    }
    with pytest.raises(ResolutionLimit):
        plan_of(graph, "a", max_rounds=3)
    with pytest.raises(ResolutionLimit, match="it takes too long; that there is no solution is not proven"):
        plan_of(graph, "a", is_out_of_time=lambda: True)


def conflict(graph: Graph, *requirements: str, policy: Policy = PLAIN) -> str:
    with pytest.raises(Unsatisfiable) as caught:
        plan_of(graph, *requirements, policy=policy)
    return f"{caught.value} TRY: {caught.value.hint}"


LOOSEN = "Loosen one of the requirements named, or ask for them in separate environments."
GOLDEN: list[tuple[str, Graph, tuple[str, ...], str]] = [
    (
        "a diamond",
        {"a": {"1": ["c==1"]}, "b": {"1": ["c==2"]}, "c": {"1": [], "2": []}},
        ("a", "b"),
        (
            "because a 1 depends on c==1 and b 1 depends on c==2, and you require a and b, there is no solution"
            f" (usable versions of c: 1, 2) TRY: {LOOSEN}"
        ),
    ),
    (
        "what you require against what it needs",
        {"a": {"1": ["b>=2"]}, "b": {"1": [], "2": []}},
        ("a", "b<2"),
        (
            "because a 1 depends on b>=2, and you require a and b<2, there is no solution"
            f" (usable versions of b: 1, 2) TRY: {LOOSEN}"
        ),
    ),
    (
        "a chain",
        {"a": {"1": ["b"]}, "b": {"1": ["c"]}, "c": {"1": ["d>2"]}, "d": {"1": [], "3": []}},
        ("a", "d<2"),
        (
            "because a 1 depends on b, b 1 depends on c and c 1 depends on d>2, and you require a and d<2,"
            f" there is no solution (usable versions of d: 1, 3) TRY: {LOOSEN}"
        ),
    ),
    (
        "every version of one",
        {"a": {str(n): ["c<2"] for n in range(1, 9)}, "b": {"1": ["c>=3"]}, "c": {"1": [], "3": []}},
        ("a", "b"),
        (
            "because all versions of a depend on c<2 and b 1 depends on c>=3, and you require a and b,"
            f" there is no solution (usable versions of c: 1, 3) TRY: {LOOSEN}"
        ),
    ),
    (
        "newer ones of one way, older ones of another",
        {
            "a": {"1": ["c==1"], "2": ["c==1"], "3": ["c==2"], "4": ["c==2"], "5": ["c==2"]},
            "b": {"1": ["c==3"]},
            "c": {"1": [], "2": [], "3": []},
        },
        ("a", "b"),
        (
            "because a 2 and older depend on c==1, a 3 and newer depend on c==2 and b 1 depends on c==3,"
            f" and you require a and b, there is no solution (usable versions of c: 1, 2, 3) TRY: {LOOSEN}"
        ),
    ),
    (
        "a missing project",
        {"a": {"1": ["missing"]}},
        ("a",),
        (
            "because a 1 depends on missing, and you require a, there is no solution (missing was not found on"
            " https://index.example/simple/) TRY: Check the spelling, or name the index that has it."
        ),
    ),
    (
        "an extra",
        {"a": {"1": ["b; extra == 'x'"]}, "b": {"1": ["c>3"]}, "c": {"3": []}},
        ("a[x]",),
        (
            "because a[x] 1 depends on b and b 1 depends on c>3, and you require a[x], there is no solution"
            f" (usable versions of c: 3) TRY: {LOOSEN}"
        ),
    ),
    (
        "a yanked release",
        {"prefix": {"1": ["a==2.*"]}, "a": {"1": [], "2!": []}},
        ("prefix",),
        (
            "because prefix 1 depends on a==2.*, and you require prefix, there is no solution (usable versions of a: 1;"
            " left out: 2 (yanked)) TRY: A yanked release is taken if you pin it exactly (==)."
        ),
    ),
    (
        "a pre-release that nobody asked for",
        {"a": {"1": ["b>2"], "2rc1": []}, "b": {"1": []}},
        ("a",),
        (
            "because a 1 depends on b>2, and you require a, there is no solution (usable versions of a: 1; left out:"
            " 2rc1 (a pre-release); usable versions of b: 1) TRY: Allow pre-releases of a project: pre=[…] (--pre-for)."
        ),
    ),
    (
        "a project that contradicts itself",
        {"a": {"1": ["b"]}, "b": {"1": ["a>1"]}},
        ("a",),
        f"because a 1 depends on b and b 1 depends on a>1, and you require a, there is no solution TRY: {LOOSEN}",
    ),
    (
        "two requirements on one project",
        {"a": {"1": [], "2": []}},
        ("a<2", "a>=2"),
        f"because you require a<2 and a>=2, there is no solution (usable versions of a: 1, 2) TRY: {LOOSEN}",
    ),
    (
        "metadata that can't be used",
        {"a": {"1": ["b"]}, "b": {"1": ["c @ https://index.example/c.whl"]}},
        ("a",),
        (
            "because a 1 depends on b and b 1 can't be used (depends on c by URL, which only you may ask for),"
            f" and you require a, there is no solution TRY: {LOOSEN}"
        ),
    ),
]


def test_what_would_have_been_taken_is_named_first() -> None:
    left_out = [("1.5", "only a source distribution", ("dep-1.5.tar.gz",))]
    left_out += [(str(version), "requires Python >=4", ("",)) for version in range(5, 10)]

    class Catalog(MemoryCatalog):
        def listings(self, projects: Sequence[NormalizedName]) -> list[Listing]:
            found = super().listings(projects)
            return [
                each._replace(left_out=Omissions(lambda: left_out)) if "dep" in projects else each for each in found
            ]

    with pytest.raises(Unsatisfiable) as caught:
        solve([Requirement("a")], Catalog({"a": {"1": ["dep<2"]}, "dep": {"3": []}}), TARGET, PLAIN, max_rounds=1000)
    assert "left out: 1.5 (only a source distribution), 9 (requires Python >=4)" in str(caught.value)
    assert "Build a wheel of what has only source distributions" in caught.value.hint


def test_a_mounted_version_is_named_as_the_reason() -> None:
    graph: Graph = {"b": {"1.0": [], "2.0": []}}
    plan = plan_of(graph, "b", policy=Policy(preferred={canonicalize_name("b"): "1.0"}))
    assert plan.explain("b").splitlines()[-1] == "  not 2.0: the version that is mounted satisfies"


def test_a_root_that_was_drawn_already_says_so() -> None:
    graph: Graph = {"a": {"1": ["b"]}, "b": {"1": ["c"]}, "c": {"1": []}}
    tree = "a 1\n└── b 1\n    └── c 1\nb 1 (above)\nc 1"
    assert plan_of(graph, "a", "b", "c").tree() == tree


@pytest.mark.parametrize(("graph", "requirements", "expected"), [g[1:] for g in GOLDEN], ids=[g[0] for g in GOLDEN])
def test_conflicts_are_explained(graph: Graph, requirements: tuple[str, ...], expected: str) -> None:
    assert conflict(graph, *requirements) == expected


def test_what_the_user_left_out_is_named_in_a_conflict() -> None:
    graph: Graph = {"a": {"1": ["b>=2"]}, "b": {"1": [], "2": []}}
    bound = Policy(constraints={canonicalize_name("b"): SpecifierSet("<2")})
    assert conflict(graph, "a", policy=bound) == (
        "because a 1 depends on b>=2, and you require a, there is no solution (usable versions of b: 1; left out:"
        " 2 (your constraint is <2)) TRY: Loosen the constraint."
    )


def test_only_the_requirements_that_take_part_are_named() -> None:
    graph: Graph = {"a": {"1": ["c==1"]}, "b": {"1": ["c==2"]}, "c": {"1": [], "2": []}, "fine": {"1": []}}
    with pytest.raises(Unsatisfiable) as caught:
        plan_of(graph, "fine", "a", "b")
    assert caught.value.requirements == ("a", "b")


def test_what_metadata_says_of_python_counts_beside_the_page() -> None:
    class OfAnotherPython(MemoryCatalog):
        def metadata(self, release: Release) -> CoreMetadata:
            found = super().metadata(release)
            return found._replace(requires_python=">=99") if str(release) == "a 2" else found

    plan = solve([Requirement("a")], OfAnotherPython({"a": {"1": [], "2": []}}), TARGET, PLAIN, max_rounds=100)
    assert [str(pin) for pin in plan.pins] == ["a 1"]
    assert plan.pins[0].rejected == (("2", "requires Python >=99"),)


def test_an_answer_that_breaks_a_requirement_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing unproven is mounted, whatever is wrong with the bits that the solver works with."""
    monkeypatch.setattr(Masks, "fitting", lambda self, _: self.all)
    with pytest.raises(ResolutionLimit, match="breaks a requirement of a 1"):
        plan_of({"a": {"1": ["b<2"]}, "b": {"1": [], "2": []}}, "a")


@pytest.mark.parametrize("place", ["https://h/c.whl", "#x", "//me:pw@"])
def test_a_release_that_depends_on_a_url_is_not_taken(place: str) -> None:
    with pytest.raises(Unsatisfiable, match="depends on c by URL, which only you may ask for"):
        plan_of({"a": {"1": [f"c @ {place}"]}, "c": {"1": []}}, "a")


def test_what_one_extra_makes_unusable_is_told_of_the_rest() -> None:
    needs = ["e", "c @ https://h/c.whl ; extra == 'x'"]
    graph: Graph = {
        "d": {"1": [], "2": ["a[x]"]},
        "a": {"1": needs, "2": needs},
        "e": {"1": ["b>=2"], "2": ["b>=2"]},
        "b": {"1": [], "2": []},
    }
    with pytest.raises(Unsatisfiable, match="all versions of a depend on e and all versions of e depend on b>=2"):
        plan_of(graph, "d", "a", "b<2")


def test_two_requirements_that_say_the_same_are_told_once() -> None:
    needs = ["b>=2; os_name == 'posix'", "b>=2; sys_platform == 'linux'", "b!=5; sys_platform == 'linux'"]
    with pytest.raises(Unsatisfiable, match="a 1 depends on b>=2 and b!=5, and you require"):
        plan_of({"a": {"1": needs}, "b": {"1": [], "2": []}}, "a", "b<2")


def test_a_plan_survives_its_json() -> None:
    plan = plan_of({"a": {"1": ["b"]}, "b": {"1": []}}, "a")
    assert plan_from_json(plan_to_json(plan), Plan) == plan


# --- against brute force ---------------------------------------------------------------------------------------


def random_graph(seed: int) -> tuple[Graph, tuple[str, ...]]:
    """Return a small graph with extras, cycles, yanks and pre-releases, and its roots."""
    rng = random.Random(seed)
    names = "abcde"[: rng.randint(2, 5)]
    versions = ["1", "2", "3", "4rc1"]

    def requirement() -> str:
        name, operator, version = rng.choice(names), rng.choice(["", "<", ">=", "==", "!="]), rng.choice(versions)
        extra = "[x]" if rng.random() < 0.2 else ""
        marker = "; extra == 'x'" if rng.random() < 0.2 else ""
        return f"{name}{extra}{operator}{version if operator else ''}{marker}"

    graph: Graph = {}
    for name in names:
        chosen = sorted(rng.sample(versions, rng.randint(1, 3)))
        graph[name] = {
            v + ("!" if rng.random() < 0.1 else ""): [requirement() for _ in range(rng.randint(0, 2))] for v in chosen
        }
    roots = tuple(requirement().partition(";")[0] for _ in range(rng.randint(1, 3)))
    return graph, roots


def _is_pinned(specifier: SpecifierSet) -> bool:
    return any(each.operator == "==" for each in specifier)


class Rules:
    """The rules for one graph and its roots, written again from the standards, without sets or clauses."""

    def __init__(self, graph: Graph, roots: tuple[str, ...], *, is_loosened: bool = False) -> None:
        self.graph = graph
        self.roots = [Requirement(text) for text in roots]
        self.is_loosened = is_loosened  # what any requirement of the answer says of pre-releases, it says for all
        self.met: list[Requirement] = []

    def admits(self, requirement: Requirement, version: str) -> bool:
        """Whether *requirement* may be met by *version* ("!": yanked; PEP 592, and PEP 440 on pre-releases)."""
        return version in self._admitted(requirement)

    def _admitted(self, requirement: Requirement) -> list[str]:
        fitting = [v for v in self.graph[requirement.name] if requirement.specifier.contains(v.rstrip("!"), True)]
        fitting = [v for v in fitting if not v.endswith("!") or self._is_opened(requirement, v)]
        named = [r for r in (requirement, *self.roots, *self.met) if r.name == requirement.name]
        named = [r for r in named if r.specifier.prereleases]
        finals = [v for v in fitting if "rc" not in v]
        return fitting if named or not finals else finals

    def _is_opened(self, requirement: Requirement, yanked: str) -> bool:
        pins = [r for r in (requirement, *self.roots) if r.name == requirement.name and _is_pinned(r.specifier)]
        return any(pin.specifier.contains(yanked.rstrip("!"), True) for pin in pins)

    def solutions(self) -> Iterator[dict[str, str]]:
        """Yield every assignment of versions that satisfies the rules, by trying all of them."""
        names = sorted(self.graph)
        for choice in itertools.product(*([None, *self.graph[name]] for name in names)):
            assigned = dict(zip(names, choice, strict=True))
            if self._holds(assigned):
                yield {name: version.rstrip("!") for name, version in assigned.items() if version}

    def _holds(self, assigned: dict[str, str | None]) -> bool:
        todo, seen, met = list(self.roots), set(), list[Requirement]()
        while todo:
            requirement = todo.pop()
            met.append(requirement)
            version = assigned[requirement.name]
            if version is None or not requirement.specifier.contains(version.rstrip("!"), True):
                return False
            for extra in ("", *requirement.extras):
                if (requirement.name, extra) not in seen:
                    seen.add((requirement.name, extra))
                    todo += self._needs(requirement.name, version, extra)
        self.met = met if self.is_loosened else []
        is_admitted = all(self.admits(each, assigned[each.name] or "") for each in met)
        return is_admitted and {name for name, _ in seen} == {name for name, version in assigned.items() if version}

    def _needs(self, name: str, version: str, extra: str) -> Iterator[Requirement]:
        for each in map(Requirement, self.graph[name][version]):
            bare = each.marker is None or each.marker.evaluate({**TARGET.environment, "extra": ""})
            if bare or (extra and each.marker and each.marker.evaluate({**TARGET.environment, "extra": extra})):
                yield each


@settings(max_examples=300, deadline=None)
@given(st.integers(min_value=10_000, max_value=10**9))
def test_brute_force_agrees(seed: int) -> None:
    check_against_brute_force(seed)


@pytest.mark.parametrize("block", range(10))
@pytest.mark.slow
def test_brute_force_agrees_on_thousands_of_graphs(block: int) -> None:
    for seed in range(block * 300, block * 300 + 300):
        check_against_brute_force(seed)


def check_against_brute_force(seed: int) -> None:
    graph, roots = random_graph(seed)
    possible = list(Rules(graph, roots).solutions())
    for prunes in (True, False):
        provider = Provider(MemoryCatalog(graph, extras=("x",)), TARGET, PLAIN, prunes=prunes)
        try:
            plan = solve_once([Dependency.parse(text) for text in roots], provider, 200_000)
        except (Unsatisfiable, NoMatchingVersion):
            assert possible == [], (graph, roots, prunes)
        else:
            found = {pin.name: pin.version for pin in plan.pins}
            assert found in possible, (graph, roots, prunes, found)
    if not possible:  # then what one requirement says of pre-releases may count for all, where the search has met it
        loosened = list(Rules(graph, roots, is_loosened=True).solutions())
        wanted = [Requirement(text) for text in roots]
        with contextlib.suppress(Unsatisfiable, NoMatchingVersion):
            plan = solve(wanted, MemoryCatalog(graph, extras=("x",)), TARGET, PLAIN, max_rounds=200_000)
            assert {pin.name: pin.version for pin in plan.pins} in loosened, (graph, roots)


def test_a_pre_release_that_one_requirement_names_is_one_for_all_if_nothing_else_will_do() -> None:
    graph: Graph = {"a": {"1": ["b>=2rc1"]}, "b": {"1": [], "2rc1": [], "3rc1": []}, "c": {"1": ["b"]}}
    assert pins(graph, "c") == {"c": "1", "b": "1"}
    assert pins(graph, "a", "c") == {"a": "1", "b": "3rc1", "c": "1"}
    graph["a"]["0"] = ["b"]
    assert pins(graph, "a", "c") == {"a": "0", "b": "1", "c": "1"}, "without one, there is a way"


def test_a_pre_release_that_no_requirement_of_the_answer_names_is_not_taken() -> None:
    graph: Graph = {"a": {"1": ["gone"], "2rc1": []}, "b": {"1": ["gone"], "2": ["c", "a>=2rc1"]}, "c": {}}
    with pytest.raises(Unsatisfiable):
        pins(graph, "a", "b<2")


@pytest.mark.parametrize("hash_seed", ["0", "1", "42"])
def test_the_same_plan_under_every_hash_seed(hash_seed: str) -> None:
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.resolution.test_solve import pins, random_graph
for seed in range(60):
    graph, roots = random_graph(seed)
    try:
        print(seed, pins(graph, *roots))
    except Exception as error:
        print(seed, type(error).__name__)
"""
    root = __file__.rsplit("tests", 1)[0]
    run = [sys.executable, "-c", code, root]
    outputs = {
        subprocess.run(run, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}).stdout
        for seed in ("7", hash_seed)
    }
    assert len(outputs) == 1
    assert "{" in next(iter(outputs))
