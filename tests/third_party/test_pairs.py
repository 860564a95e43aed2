"""Two versions of real projects at once in one process, each in use: environment(isolated=True).

pip fetches the wheels; the environments come from the folder they are in. One command runs it:
python -m pytest -m third_party
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import NETWORK, Python

pytestmark = pytest.mark.third_party

CLICK = """
    @click.command()
    @click.option("--count", default=1)
    def program(count):
        click.echo(f"{count} times")
    result = env.import_module("click.testing").CliRunner().invoke(program, ["--count", "3"])
    said = result.output, result.exit_code, type(program) is click.Command
    print(click.__version__, said, pickle.loads(pickle.dumps(click.IntRange(1, 2))).max)
"""
ATTRS = """
    @attr.s(auto_attribs=True, frozen=True)
    class Point:
        x: int = attr.ib(validator=attr.validators.instance_of(int))
    try:
        Point("no")
    except TypeError:
        print(attr.__version__, Point(2), attr.evolve(Point(1), x=3), attr.fields(Point).x.type)
"""
URLLIB3 = """
    pool = urllib3.PoolManager(retries=urllib3.Retry(total=1))
    answer = pool.request("GET", url)
    try:
        pool.request("GET", "http://127.0.0.1:1/")
    except urllib3.exceptions.MaxRetryError as error:
        print(urllib3.__version__, answer.status, answer.data.decode(), type(error.reason).__name__)
"""
DJANGO = """
    if round == 0:
        env.import_module("django.conf").settings.configure(
            INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"], USE_TZ=True,
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
            TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
            DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        )
        django.setup()
        env.import_module("django.core.management").call_command("migrate", verbosity=0)
    User = env.import_module("django.contrib.auth.models").User
    User.objects.create_user(f"user-{django.VERSION[0]}-{round}")
    names = sorted(User.objects.values_list("username", flat=True))
    template = env.import_module("django.template")
    context = template.Context({"names": names})
    html = template.Template("{% for n in names %}{{ n|upper }} {% endfor %}").render(context)
    user = pickle.loads(pickle.dumps(User.objects.get(username=names[0])))
    print(django.get_version(), html, user.username, type(user) is User)
"""
PAIRS = [
    ("click", ("7.1.2", "8.1.8"), "click", CLICK),
    ("attrs", ("21.4.0", "25.4.0"), "attr", ATTRS),
    ("urllib3", ("1.26.20", "2.5.0"), "urllib3", URLLIB3),
    ("django", ("4.2.26", "5.2.8"), "django", DJANGO),
]
CODE = """
import http.server, pickle, sys, threading
import remote_wheel

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")
    def log_message(self, *args):
        pass

server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{{server.server_port}}/"

def use(env, {module}, round):
{body}

def make(version):
    options = {{"isolated": True, "no_index": True, "find_links": ["."]}}
    return remote_wheel.environment(f"{project}=={{version}}", **options)

with make("{first}") as one, make("{second}") as two:
    for round in range(2):
        for env in (one, two):
            use(env, env.import_module("{module}"), round)
print(sorted(str(name) for name in sys.modules if str(name).partition(".")[0] == "{module}"))
server.shutdown()
"""


@pytest.mark.parametrize(("project", "versions", "module", "body"), PAIRS, ids=[pair[0] for pair in PAIRS])
def test_two_versions_in_use_at_once(
    project: str, versions: tuple[str, str], module: str, body: str, python: Python, tmp_path: Path
) -> None:
    for version in versions:
        command = [sys.executable, "-m", "pip", "download", "-q", "--only-binary", ":all:", f"{project}=={version}"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **NETWORK})
        assert done.returncode == 0, done.stderr
    first, second = versions
    said = python(CODE.format(project=project, module=module, body=body, first=first, second=second)).stdout
    *lines, left = said.splitlines()
    assert [line.split()[0] for line in lines] == [first, second] * 2, said
    assert left == "[]"
    expected = {
        "click": f"{first} ('3 times\\n', 0, True) 2",
        "attrs": f"{first} Point(x=2) Point(x=3) <class 'int'>",
        "urllib3": f"{first} 200 hello NewConnectionError",
        "django": f"{first} USER-4-0 USER-4-1  user-4-0 True",
    }
    assert lines[2] == expected[project]
    assert lines[3] == expected[project].replace(first, second).replace("-4-", "-5-")
