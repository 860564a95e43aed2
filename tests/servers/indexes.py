"""Real index servers, each with quirks of its own; all serve the wheels of one folder, or of one static index."""

import os
import shutil
import signal
import subprocess
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import NETWORK
from tests.loopback import LoopbackIndex
from tests.servers.process import free_port, listens, running, wait_until

PASSWORD = "correct-horse"


def install(folder: Path, *requirements: str) -> Path:
    """Make a venv with *requirements* from pip's default index; return its folder of programs."""
    venv.create(folder, with_pip=True)
    programs = folder / "bin"
    command = [str(programs / "python"), "-m", "pip", "install", "-q", *requirements]
    environ = {**os.environ, **NETWORK}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=600)
    assert done.returncode == 0, done.stderr
    return programs


def write_static(index: LoopbackIndex, folder: Path) -> None:
    """Write what *index* serves as files: pages in both representations, wheels, metadata."""
    (folder / "files").mkdir(parents=True)
    for project, files in index.files.items():
        place = folder / "simple" / project
        place.mkdir(parents=True)
        (place / "index.html").write_bytes(index.html_page(project))
        (place / "index.json").write_bytes(index.json_page(project))
        for file in files:
            (folder / "files" / file.filename).write_bytes(file.data)
            (folder / "files" / f"{file.filename}.metadata").write_bytes(file.metadata)


NGINX = """
worker_processes 1; pid {d}/nginx.pid; error_log {d}/error.log; daemon off;
events {{ worker_connections 64; }}
http {{
  default_type application/octet-stream; access_log {d}/access.log; etag on; root {d}/www;
  client_body_temp_path {d}/t1; proxy_temp_path {d}/t2; fastcgi_temp_path {d}/t3; uwsgi_temp_path {d}/t4;
  scgi_temp_path {d}/t5;
  ssl_certificate {d}/server.pem; ssl_certificate_key {d}/server.key; ssl_client_certificate {d}/ca.pem;
  types {{ text/html html; application/vnd.pypi.simple.v1+json json; }}
  map $http_accept $page {{ default index.html; "~application/vnd\\.pypi\\.simple\\.v1\\+json" index.json; }}
  server {{ listen 127.0.0.1:{http}; listen 127.0.0.1:{tls} ssl; include {d}/places.conf; }}
  server {{ listen 127.0.0.1:{login} ssl; auth_basic "x"; auth_basic_user_file {d}/users; include {d}/places.conf; }}
  server {{ listen 127.0.0.1:{mutual} ssl; ssl_verify_client on; include {d}/places.conf; }}
}}
"""
PLACES = """
location ~ ^/simple/([^/]+/)?$ { try_files $uri$page =404; add_header Vary Accept; }
location ~ ^/simple/[^/]+$ { return 301 $scheme://$http_host$uri/; }
"""


class Nginx:
    """nginx with a static index: over http, TLS by a CA of its own, with a login, and with client certificates."""

    def __init__(self, folder: Path, ports: dict[str, int]) -> None:
        self.folder, self.ports = folder, ports

    def url(self, kind: str, user: str = "") -> str:
        scheme = "http" if kind == "http" else "https"
        return f"{scheme}://{user}127.0.0.1:{self.ports[kind]}/simple/"

    @property
    def ca(self) -> str:
        return str(self.folder / "ca.pem")

    @property
    def client_cert(self) -> str:
        return str(self.folder / "client.pem")

    def log(self) -> str:
        return (self.folder / "access.log").read_text()


@contextmanager
def serve_nginx(index: LoopbackIndex, folder: Path) -> Iterator[Nginx]:
    import trustme

    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if not nginx:
        pytest.skip("NO SERVER: no nginx here (Debian: nginx-light)")
    write_static(index, folder / "www")
    folder.chmod(0o755)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    server, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("somebody@index.example")
    server.private_key_pem.write_to_path(folder / "server.key")
    for blob in server.cert_chain_pems:
        blob.write_to_path(folder / "server.pem", append=True)
    client.private_key_and_cert_chain_pem.write_to_path(folder / "client.pem")
    (folder / "users").write_text(f"me:{{PLAIN}}{PASSWORD}\n")
    ports = {name: free_port() for name in ("http", "tls", "login", "mutual")}
    (folder / "nginx.conf").write_text(NGINX.format(d=folder, **ports))
    (folder / "places.conf").write_text(PLACES)
    user = ["-g", "user root;"] if os.getuid() == 0 else []
    with running([nginx, "-c", str(folder / "nginx.conf"), *user], folder, stop=signal.SIGQUIT) as log:
        wait_until(listens(ports["mutual"]), log)
        yield Nginx(folder, ports)


@contextmanager
def serve_pypiserver(programs: Path, wheels: Path, folder: Path) -> Iterator[str]:
    """HTML only, hashes in fragments, neither metadata nor sizes."""
    port = free_port()
    command = [
        str(programs / "pypi-server"),
        "run",
        "-p",
        str(port),
        "-i",
        "127.0.0.1",
        "--disable-fallback",
        str(wheels),
    ]
    with running([*command, str(wheels)], folder) as log:
        wait_until(listens(port), log)
        yield f"http://127.0.0.1:{port}/simple/"


@contextmanager
def serve_simpleindex(programs: Path, wheels: Path, folder: Path) -> Iterator[str]:
    """HTML only, without hashes, ranges, ETags or metadata."""
    port = free_port()
    config = folder / "simpleindex.toml"
    routes = "".join(
        f'[routes."{project.name}"]\nsource = "path"\nto = "{project}"\n' for project in sorted(wheels.iterdir())
    )
    config.write_text(f'[server]\nhost = "127.0.0.1"\nport = {port}\n{routes}')
    with running([str(programs / "simpleindex"), str(config)], folder) as log:
        wait_until(listens(port), log)
        yield f"http://127.0.0.1:{port}/"


@contextmanager
def serve_devpi(programs: Path, wheels: Path, folder: Path) -> Iterator[str]:
    """No ranges, no ETags; metadata without a hash of it."""
    port, data, index = free_port(), folder / "data", "root/dev"  # the user and his index
    init = ["devpi-init", "--serverdir", str(data), "--root-passwd", PASSWORD, "--no-root-pypi"]
    client = ["--clientdir", str(folder / "client")]

    def call(*command: str) -> None:
        done = subprocess.run([programs / command[0], *command[1:]], capture_output=True, text=True, cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr

    call(*init)
    command = [str(programs / "devpi-server"), "--serverdir", str(data), "--host", "127.0.0.1", "--port", str(port)]
    with running([*command, "--enable-core-metadata"], folder) as log:
        wait_until(listens(port), log)
        call("devpi", "use", *client, f"http://127.0.0.1:{port}")
        call("devpi", "login", *client, "root", "--password", PASSWORD)
        call("devpi", "index", *client, "-c", "dev")
        call("devpi", "use", *client, index)
        call("devpi", "upload", *client, *map(str, sorted(wheels.iterdir())))
        yield f"http://127.0.0.1:{port}/{index}/+simple/"


@contextmanager
def serve_repository(programs: Path, wheels: Path, folder: Path) -> Iterator[str]:
    """JSON and metadata, and no hash of anything."""
    port = free_port()
    command = [str(programs / "simple-repository-server"), "--host", "127.0.0.1", "--port", str(port), str(wheels)]
    with running(command, folder) as log:
        wait_until(listens(port), log)
        yield f"http://127.0.0.1:{port}/simple/"
