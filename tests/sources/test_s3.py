"""s3:// against a server that checks signatures."""

import random
from pathlib import Path

import pytest

from fixtures.wheels import make_wheel, make_zip
from tests.conftest import Python
from tests.loopback import LoopbackIndex
from tests.servers.s3 import SECRET_KEY, Bucket

CATCH = """
import remote_wheel
def caught(call, *args, **options):
    try:
        call(*args, **options)
    except remote_wheel.RemoteWheelError as error:
        return f"{type(error).__name__}: {error} | {error.hint}"
    return "nothing"
"""
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


def test_a_version_of_an_object(bucket: Bucket, python: Python) -> None:
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    try:
        first = bucket.put("versioned/thing.py", b"V = 1\n")
        bucket.put("versioned/thing.py", b"V = 2\n")
        assert first
        url = bucket.url(f"versioned/thing.py?versionId={first}")
        code = f"import remote_wheel; m = remote_wheel.mount({url!r}); print(m.import_module().V, m.source)"
        assert python(code).stdout.strip() == f"1 {url}"
        wrong = CATCH + f"print(caught(remote_wheel.mount, {bucket.url('versioned/thing.py?versionId=0000')!r}))"
        assert python(wrong).stdout.startswith("NotFound:")
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
        import sys; del sys.executable  # no helper: the spy is in this process
        sys.executable = ""
        import remote_wheel
        print(remote_wheel.mount({url!r}, refresh=True).import_module().V)
    """
    assert python(watch).stdout.split() == ["200", "1"]
    assert python(watch).stdout.split() == ["304", "1"]
    bucket.put("etag/tool.py", b"V = 22\n")
    assert python(watch).stdout.split() == ["200", "22"]


def test_a_simple_index_and_a_flat_folder_in_a_bucket(bucket: Bucket, python: Python) -> None:
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
    missing = CATCH + f"print(caught(remote_wheel.require, 'gamma', index_url={bucket.url('flat')!r}))"
    assert python(missing).stdout.startswith("ProjectNotFound: project 'gamma' was not found on s3://")


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
        import sys; sys.executable = ""
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
        ("probe.py", {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "no credentials were found"),
        ("probe.py", {"AWS_PROFILE": "nobody"}, "boto3 can't be set up"),
        ("probe.py", {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, "NetworkError: "),
    ],
)
def test_what_goes_wrong_is_said(bucket: Bucket, python: Python, key: str, environ: dict[str, str], said: str) -> None:
    bucket.put("probe.py", b"V = 1\n")
    url = key if key.startswith("s3:") else bucket.url(key)
    done = python(CATCH + f"print(caught(remote_wheel.mount, {url!r}))", AWS_MAX_ATTEMPTS="1", **environ)
    assert said in done.stdout
    assert not any(secret in done.stdout for secret in (SECRET_KEY, "not-the-secret"))


def test_hashes_hold_objects_too(bucket: Bucket, python: Python) -> None:
    bucket.put("held/tool.py", b"V = 1\n")
    url = bucket.url("held/tool.py") + "#sha256=" + "0" * 64
    assert python(CATCH + f"print(caught(remote_wheel.mount, {url!r}))").stdout.startswith("DigestMismatch")


def test_zip_and_tree(bucket: Bucket, python: Python) -> None:
    bucket.put("trees/repo.zip", make_zip({"repo/inside/__init__.py": "V = 5\n", "repo/sub/deep.py": "V = 6\n"}))
    code = f"""
        import remote_wheel
        print(remote_wheel.mount("{bucket.url("trees/repo.zip")}").import_module().V)
        print(remote_wheel.mount("{bucket.url("trees/repo.zip")}#subdirectory=sub").import_module().V)
    """
    assert python(code).stdout.split() == ["5", "6"]


def test_without_boto3_the_extra_is_named(python: Python, tmp_path: Path) -> None:
    (tmp_path / "boto3.py").write_text("raise ModuleNotFoundError(\"No module named 'boto3'\", name='boto3')\n")
    code = CATCH + "print(caught(remote_wheel.mount, 's3://bucket/x.whl'))"
    done = python(code, PYTHONPATH=str(tmp_path))
    assert "s3:// needs boto3: pip install 'remote-wheel[s3]'" in done.stdout
