"""s3:// against a server that checks signatures."""

import random
from pathlib import Path

import pytest

from fixtures.wheels import make_wheel, make_zip
from tests.conftest import Python
from tests.loopback import LoopbackIndex, serve
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY, STRANGER_KEY, Bucket
from tests.sources.conftest import Mounting

SQUARE = b"def square(x):\n    return x * x\n"


def test_a_module_with_a_square_function(bucket: Bucket, python: Python) -> None:
    bucket.put("tools/math_tools.py", SQUARE)
    code = f"""
        import remote_wheel
        with remote_wheel.mount("{bucket.url("tools/math_tools.py")}") as mount:
            import math_tools
            print(math_tools.square(12), mount.source)
        other = remote_wheel.mount("{bucket.url("tools/math_tools.py")}", name="squares")
        print(other.import_module().square(3), other.modules)
    """
    assert python(code).stdout.splitlines() == [f"144 {bucket.url('tools/math_tools.py')}", "9 ('squares',)"]


def test_a_wheel_with_dependencies_and_offline_afterwards(bucket: Bucket, index: LoopbackIndex, python: Python) -> None:
    index.add("needed", "1.5")
    filename, data = make_wheel("from-bucket", "1.0", requires=["needed>=1"])
    bucket.put(f"wheels/{filename}", data)
    url = bucket.url(f"wheels/{filename}")
    code = "import remote_wheel; m = remote_wheel.mount({!r}, {}); import needed; print(m.distribution.version)"
    assert python(code.format(url, "")).stdout == "1.0\n"
    assert python(code.format(url, "offline=True"), AWS_ENDPOINT_URL_S3="http://127.0.0.1:9").stdout == "1.0\n"
    direct = f"import remote_wheel; print(remote_wheel.require('from-bucket @ {url}').__name__)"
    assert python(direct).stdout == "from_bucket\n"


def test_a_version_of_an_object(bucket: Bucket, mounting: Mounting) -> None:
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    try:
        first = bucket.put("versioned/thing.py", b"V = 1\n")
        bucket.put("versioned/thing.py", b"V = 2\n")
        assert first
        url = bucket.url(f"versioned/thing.py?versionId={first}")
        assert mounting.value(url, "m.V, mount.source") == f"1 {url}"
        assert mounting.error(bucket.url("versioned/thing.py?versionId=0000")).startswith("NotFound:")
    finally:
        bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Suspended"})


def test_an_unchanged_object_is_not_sent_again(bucket: Bucket, python: Python) -> None:
    bucket.put("etag/tool.py", b"V = 1\n")
    url = bucket.url("etag/tool.py")
    watch = f"""
        from remote_wheel.fetch import s3
        fetch = s3.S3Transport.fetch
        def spied(*args, **kwargs):
            answer = fetch(*args, **kwargs)
            print(answer.status)
            return answer
        s3.S3Transport.fetch = spied
        import sys; sys.frozen = True
        import remote_wheel
        print(remote_wheel.mount({url!r}, refresh=True).import_module().V)
    """
    assert python(watch).stdout.split() == ["200", "1"]
    assert python(watch).stdout.split() == ["304", "1"]
    bucket.put("etag/tool.py", b"V = 22\n")
    assert "ContentChanged" in python(watch, expect=1).stderr


@pytest.mark.slow
def test_a_simple_index_and_a_flat_folder_in_a_bucket(bucket: Bucket, python: Python, requiring: Mounting) -> None:
    for name, requires in (("alpha", ["beta>=1"]), ("beta", [])):
        filename, data = make_wheel(name, "1.0", requires=requires)
        bucket.put(f"flat/{filename}", data)
        bucket.put(f"simple/{name}/{filename}", data)
        page = f'<!DOCTYPE html><html><body><a href="{filename}">{filename}</a></body></html>'
        bucket.put(f"simple/{name}/index.html", page.encode())
        bucket.put(f"files/{filename}", data)
        bucket.put(f"relative/{name}/index.html", page.replace('href="', 'href="../../files/').encode())
        bucket.put(f"pageless/{name}/{filename}", data)
    for folder in ("simple", "flat/", "relative/", "pageless/"):
        code = f"""
            import remote_wheel
            alpha = remote_wheel.require("alpha", index_url="{bucket.url(folder)}")
            import beta
            print(remote_wheel.explain("beta").splitlines()[1])
        """
        assert f"s3://{bucket.name}/" in python(code, REMOTE_WHEEL_CACHE_DIR=f"cache-{folder.strip('/')}").stdout
    offline = "import remote_wheel; remote_wheel.require('alpha', index_url='{}', offline=True); print('ok')"
    for folder in ("simple", "flat/"):
        done = python(offline.format(bucket.url(folder)), REMOTE_WHEEL_CACHE_DIR=f"cache-{folder.strip('/')}")
        assert done.stdout == "ok\n"
    with_index = f"index_url={bucket.url('flat')!r}"
    assert requiring.error("gamma", with_index).startswith("ProjectNotFound: project 'gamma' was not found on s3://")


def test_metadata_is_read_by_ranges(bucket: Bucket, python: Python) -> None:
    noise = random.Random(1).randbytes(600_000)  # does not get smaller when it is packed
    filename, data = make_wheel("bulky", "1.0", files={"bulky/__init__.py": "", "bulky/data.bin": noise})
    bucket.put(f"bulk/{filename}", data)
    code = f"""
        from remote_wheel.fetch import s3
        received = []
        fetch = s3.S3Transport.fetch
        def spied(self, url, *, headers, max_bytes, sink=None):
            answer = fetch(self, url, headers=headers, max_bytes=max_bytes, sink=sink)
            if url.endswith(".whl"):
                received.append((answer.status, int(answer.headers["content-length"])))
            return answer
        s3.S3Transport.fetch = spied
        import sys; sys.frozen = True
        import remote_wheel
        plan = remote_wheel.resolve("bulky", index_url="{bucket.url("bulk")}")
        print(plan.pins[0].version, received)
    """
    assert len(data) > 500_000
    assert python(code).stdout.strip() == "1.0 [(206, 65536)]"


def test_a_presigned_url_needs_nothing_and_stays_secret(bucket: Bucket, python: Python) -> None:
    bucket.put("signed/tool.py", b"V = 7\n")
    url = bucket.client.generate_presigned_url(
        "get_object", Params={"Bucket": bucket.name, "Key": "signed/tool.py"}, ExpiresIn=60
    )
    code = f"import remote_wheel; m = remote_wheel.mount({url!r}); print(m.import_module().V, m.source, m)"
    shown = python(code, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="").stdout
    assert shown.startswith("7 ")
    signature = url.partition("X-Amz-Signature=")[2] or url.partition("Signature=")[2]
    assert signature[:16] not in shown


@pytest.mark.parametrize(
    ("key", "environ", "said"),
    [
        ("s3://nowhere-at-all/x.py", {}, "NotFound: can't fetch s3://nowhere-at-all/x.py: there is no bucket"),
        ("no/such.py", {}, "NotFound: can't fetch s3://shelf/no/such.py: no such file"),
        ("probe.py", {"AWS_SECRET_ACCESS_KEY": "not-the-secret"}, "the secret key does not fit the access key"),
        ("probe.py", {"AWS_ACCESS_KEY_ID": "AKIAUNKNOWN"}, "the access key is not known there"),
        (
            "probe.py",
            {"AWS_ACCESS_KEY_ID": STRANGER_KEY},
            "AccessDenied: can't fetch s3://shelf/probe.py: no permission",
        ),
        ("probe.py", {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "no credentials were found"),
        ("probe.py", {"AWS_PROFILE": "nobody"}, "boto3 can't be set up"),
        ("probe.py", {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, "NetworkError: "),
    ],
)
def test_what_goes_wrong_is_said(
    bucket: Bucket, mounting: Mounting, key: str, environ: dict[str, str], said: str
) -> None:
    bucket.put("probe.py", b"V = 1\n")
    url = key if key.startswith("s3:") else bucket.url(key)
    shown = mounting.error(url, AWS_MAX_ATTEMPTS="1", **environ)
    assert said in shown
    assert not any(secret in shown for secret in (SECRET_KEY, "not-the-secret"))


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (400, "ExpiredToken", "AccessDenied: can't fetch s3://shelf/x.py: the credentials have expired (ExpiredToken)"),
        (400, "InvalidToken", "the session token is not valid"),
        (403, "RequestTimeTooSkewed", "this machine's clock is wrong"),
        (
            301,
            "PermanentRedirect",
            "the bucket is in another region than 'us-east-1' (PermanentRedirect); set AWS_REGION",
        ),
        (400, "AuthorizationHeaderMalformed", "the bucket is in another region than 'us-east-1'"),
        (503, "SlowDown", "ServerError: can't fetch s3://shelf/x.py: S3 answers SlowDown"),
    ],
)
@pytest.mark.slow
def test_what_only_the_real_one_answers(mounting: Mounting, status: int, code: str, said: str) -> None:
    """Answers as Amazon documents them (S3 API Reference, Error Responses), which SeaweedFS never gives."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    with serve(LoopbackIndex(statuses={"/shelf/x.py": status}, status_body=body)) as server:
        place = Bucket(server.root.rstrip("/"))
        shown = mounting.error("s3://shelf/x.py", AWS_MAX_ATTEMPTS="1", **place.environ)
    assert said in shown


def test_a_url_with_credentials_is_refused_and_not_shown(bucket: Bucket, mounting: Mounting) -> None:
    said = mounting.error("s3://AKIAX:top-secret@shelf/a.py")
    assert said.startswith("InvalidSource: ")
    assert "top-secret" not in said
    assert "AWS_ACCESS_KEY_ID" in said


def test_the_credential_chain(bucket: Bucket, mounting: Mounting, tmp_path: Path) -> None:
    """Of boto3's own sources, those of its files; the variables have been used all along."""
    bucket.put("chain/tool.py", b"V = 1\n")
    folder = tmp_path / "home" / ".aws"
    folder.mkdir()
    (folder / "credentials").write_text(
        f"[gardener]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    )
    (folder / "config").write_text(f"[profile gardener]\nregion = us-east-1\nendpoint_url = {bucket.endpoint}\n")
    nothing = dict.fromkeys(bucket.environ, "")
    assert mounting.value(bucket.url("chain/tool.py"), "m.V", **{**nothing, "AWS_PROFILE": "gardener"}) == "1"


def test_hashes_hold_objects_too(bucket: Bucket, mounting: Mounting) -> None:
    bucket.put("held/tool.py", b"V = 1\n")
    assert mounting.error(bucket.url("held/tool.py") + "#sha256=" + "0" * 64).startswith("DigestMismatch")


def test_zip_and_tree(bucket: Bucket, python: Python) -> None:
    bucket.put("trees/repo.zip", make_zip({"repo/inside/__init__.py": "V = 5\n", "repo/sub/deep.py": "V = 6\n"}))
    code = f"""
        import remote_wheel
        print(remote_wheel.mount("{bucket.url("trees/repo.zip")}").import_module().V)
        print(remote_wheel.mount("{bucket.url("trees/repo.zip")}#subdirectory=sub").import_module().V)
    """
    assert python(code).stdout.split() == ["5", "6"]


def test_without_boto3_the_extra_is_named(mounting: Mounting, tmp_path: Path) -> None:
    (tmp_path / "boto3.py").write_text("raise ModuleNotFoundError(\"No module named 'boto3'\", name='boto3')\n")
    said = mounting.error("s3://bucket/x.whl", PYTHONPATH=str(tmp_path))
    assert "s3:// needs boto3: pip install 'boto3'" in said
