"""Hard backtracking: ten shapes of conflict, seeded. Each ends with a plan, a proof or a clear limit."""

import random
import time
from collections.abc import Callable

import pytest

from remote_wheel.errors import NoMatchingVersion, ResolutionLimit, Unsatisfiable
from tests.resolution.fakes import Graph
from tests.resolution.test_solve import pins, plan_of

MOST_S = 10.0  # of computing, as settings.Limits has it


def lockstep(rng: random.Random) -> tuple[Graph, list[str]]:
    """Two projects released together by the hundred, and a third that only very old ones go with (boto3)."""
    count = 300
    graph: Graph = {"front": {}, "core": {}, "http": {"1.26": [], "2.0": []}}
    for n in range(1, count):
        graph["front"][f"1.{n}"] = [f"core>=1.{n}.0,<1.{n + 1}"]
        graph["core"][f"1.{n}.0"] = ["http<1.27"] if n > 3 else []
    return graph, ["front", "http>=2"]


def no_old_one_either(rng: random.Random) -> tuple[Graph, list[str]]:
    """The same without a way out."""
    graph, roots = lockstep(rng)
    return {**graph, "core": {version: ["http<1.27"] for version in graph["core"]}}, roots


def wide_ranges(rng: random.Random) -> tuple[Graph, list[str]]:
    """Many projects that agree on one only at its oldest version."""
    names = [f"p{n}" for n in range(12)]
    graph: Graph = {"shared": {str(n): [] for n in range(1, 40)}}
    for at, name in enumerate(names):
        graph[name] = {str(n): [f"shared<{42 - n - at}"] for n in range(1, 20)}
    return graph, [*names, "shared<=3"]


def pigeons(rng: random.Random) -> tuple[Graph, list[str]]:
    """More projects than slots, each slot for one: the classic that learning solvers find hard."""
    holes = 5
    graph: Graph = {f"hole{h}": {str(p): [] for p in range(1, holes + 2)} for h in range(holes)}
    for p in range(1, holes + 2):
        graph[f"pigeon{p}"] = {str(h + 1): [f"hole{h}=={p}"] for h in range(holes)}
    return graph, [f"pigeon{p}" for p in range(1, holes + 2)]


def chains(rng: random.Random) -> tuple[Graph, list[str]]:
    """A long chain whose end contradicts its beginning, in every version."""
    length = 40
    graph: Graph = {f"c{n}": {v: [f"c{n + 1}=={v}"] for v in ("1", "2", "3")} for n in range(length)}
    graph[f"c{length}"] = {v: ["gate!=1"] for v in ("1", "2", "3")}
    graph["gate"] = {"1": [], "2": []}
    return graph, ["c0", "gate==1"]


def extras(rng: random.Random) -> tuple[Graph, list[str]]:
    """Extras of extras, each bound to one version of the next."""
    graph: Graph = {}
    for n in range(15):
        graph[f"e{n}"] = {str(v): [f"e{n + 1}[x]=={v}; extra == 'x'"] for v in range(1, 12)}
    graph["e15"] = {str(v): [] for v in range(1, 4)}
    return graph, ["e0[x]"]


def sparse(rng: random.Random) -> tuple[Graph, list[str]]:
    """Random windows on random neighbours."""
    names = [f"r{n}" for n in range(30)]
    graph: Graph = {}
    for name in names:
        graph[name] = {}
        for version in range(1, 15):
            low = rng.randint(1, 12)
            graph[name][str(version)] = [f"{rng.choice(names)}>={low},<{low + 4}" for _ in range(2)]
    return graph, rng.sample(names, 5)


def dense(rng: random.Random) -> tuple[Graph, list[str]]:
    """The same with narrow windows, where hardly anything fits."""
    names = [f"d{n}" for n in range(12)]
    graph = {
        name: {str(v): [f"{rng.choice(names)}=={rng.randint(1, 8)}" for _ in range(2)] for v in range(1, 9)}
        for name in names
    }
    return graph, names[:4]


def layers(rng: random.Random) -> tuple[Graph, list[str]]:
    """A stack whose layers must all be of one age, asked for from the middle."""
    graph: Graph = {f"l{n}": {} for n in range(20)}
    for n in range(19):
        for age in range(1, 30):
            graph[f"l{n}"][str(age)] = [f"l{n + 1}>={age},<{age + 2}"]
    graph["l19"] = {str(age): [] for age in range(1, 12)}
    return graph, ["l0", "l10>=5"]


def two_families(rng: random.Random) -> tuple[Graph, list[str]]:
    """Two families that each need the other one in an older version than it has."""
    graph: Graph = {"a": {}, "b": {}, "base": {str(n): [] for n in range(1, 60)}}
    for n in range(1, 60):
        graph["a"][str(n)] = [f"base<={n}", f"b>={n}"]
        graph["b"][str(n)] = [f"base>={n}"]
    return graph, ["a", "b", "base>30"]


def patience() -> Callable[[], bool]:
    """Return the check that the pipeline gives the resolver."""
    began_s = time.thread_time()
    return lambda: time.thread_time() - began_s > MOST_S


SHAPES: list[Callable[[random.Random], tuple[Graph, list[str]]]] = [
    lockstep, no_old_one_either, wide_ranges, pigeons, chains, extras, sparse, dense, layers, two_families,
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=[shape.__name__ for shape in SHAPES])
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.slow
def test_hard_cases_end(shape: Callable[[random.Random], tuple[Graph, list[str]]], seed: int) -> None:
    graph, roots = shape(random.Random(seed))
    try:
        plan = plan_of(graph, *roots, is_out_of_time=patience())
    except (Unsatisfiable, NoMatchingVersion) as conflict:
        told = str(conflict)
    except ResolutionLimit as limit:
        told = str(limit)
        if not told.startswith("gave up resolving"):
            raise
    else:
        told = plan.tree()
        assert len(plan.roots) == len({root.split("[")[0].split("<")[0].split(">")[0].split("=")[0] for root in roots})
    assert len(told) > 20


def test_what_is_known_of_some() -> None:
    rng = random.Random(0)
    graph, roots = lockstep(rng)
    assert pins(graph, *roots) == {"front": "1.3", "http": "2.0", "core": "1.3.0"}
    for shape in (no_old_one_either, pigeons, chains):
        graph, roots = shape(rng)
        with pytest.raises(Unsatisfiable):
            plan_of(graph, *roots)


def test_what_no_answer_can_have_costs_the_search_nothing() -> None:
    """Three hundred releases that need what the roots forbid are passed over, not fought one by one."""
    graph, roots = lockstep(random.Random(0))
    assert len(plan_of(graph, *roots, max_rounds=30).pins) == 3


def test_there_is_no_solution_even_where_there_is_no_time_to_say_why() -> None:
    graph, roots = no_old_one_either(random.Random(0))
    with pytest.raises(Unsatisfiable, match="you require") as caught:
        plan_of(graph, *roots, max_rounds=30)
    assert caught.value.requirements == ("front", "http>=2")
