"""s3://bucket/key, by boto3: its own configuration, credentials, regions and endpoints, signed requests."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from remote_wheel.errors import (
    AccessDenied,
    FetchError,
    FetchTimeout,
    InvalidSource,
    NetworkError,
    NotFound,
    ServerError,
    TooLarge,
)
from remote_wheel.fetch.port import PAGES, Answer, Pace, Sink, import_extra, receive, stopped_in_time
from remote_wheel.fetch.secure import hide_secrets, is_secure_enough
from remote_wheel.settings import Limits
from remote_wheel.spec.listing import LISTING, dump_listing
from remote_wheel.spec.source import redact, redact_text

_CHUNK_BYTES: Final = 256 * 1024
_PARAMETERS: Final = {"Range": "Range", "If-None-Match": "IfNoneMatch"}
_MISSING: Final = ("NoSuchKey", "404", "NotFound")
# What S3 calls them (Amazon S3 API Reference, Error Responses), in words.
_DENIED: Final = {
    "AccessDenied": "no permission",
    "403": "no permission",
    "AllAccessDisabled": "all access to it is disabled",
    "InvalidAccessKeyId": "the access key is not known there",
    "SignatureDoesNotMatch": "the secret key does not fit the access key",
    "ExpiredToken": "the credentials have expired",
    "ExpiredTokenException": "the credentials have expired",
    "TokenRefreshRequired": "the credentials have expired",
    "RequestExpired": "the credentials have expired",
    "InvalidToken": "the session token is not valid",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
}
_REGION: Final = ("AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException", "301")


class S3Transport:
    """One boto3 client for the life of the process that fetches; it is safe for threads."""

    def __init__(self, limits: Limits) -> None:
        hide_secrets()
        self._limits = limits
        boto3 = import_extra("s3", "boto3")
        from botocore import UNSIGNED
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        config = Config(
            connect_timeout=limits.connect_timeout_s,
            read_timeout=limits.read_timeout_s,
            retries={"total_max_attempts": limits.retries + 1, "mode": "standard"},
            max_pool_connections=limits.parallel_requests,
        )
        try:
            session = boto3.session.Session()
            self._is_signed = session.get_credentials() is not None
            if not self._is_signed:  # a public bucket needs none; another one answers with an error that says so
                config = config.merge(Config(signature_version=UNSIGNED))
            self._client = session.client("s3", config=config)
            self._is_plain = not is_secure_enough(self._client.meta.endpoint_url)
        except (BotoCoreError, ValueError) as error:  # a profile that does not exist, an endpoint that is no URL
            raise NetworkError(url="s3://", reason=f"boto3 can't be set up: {redact_text(str(error))}") from error

    def fetch(self, url: str, *, headers: Mapping[str, str], max_bytes: int, sink: Sink | None = None) -> Answer:
        """Get the object; see Transport.fetch. ``?versionId=`` names one of its versions."""
        from botocore.exceptions import BotoCoreError, ClientError

        parts = urlsplit(url)
        if "@" in parts.netloc:
            way = "Give them to boto3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE."
            raise InvalidSource(source=redact(url), reason="an s3 URL has no credentials in it", way_out=way)
        bucket, key = parts.netloc, unquote(parts.path.removeprefix("/"))
        request: dict[str, str] = {"Bucket": bucket}
        if version := parse_qs(parts.query).get("versionId"):
            request["VersionId"] = version[0]
        request |= {_PARAMETERS[name]: value for name, value in headers.items() if name in _PARAMETERS}
        try:
            if not key or key.endswith("/"):
                return self._folder(url, request, key, max_bytes)
            return self._object(url, {**request, "Key": key}, max_bytes, sink)
        except ClientError as error:
            return self._answer_of_error(url, error)
        except BotoCoreError as error:
            raise _translate(url, error) from error

    def _object(self, url: str, request: Mapping[str, str], max_bytes: int, sink: Sink | None) -> Answer:
        pace = Pace(self._limits, url)
        answer = self._client.get_object(**request)
        if answer["ContentLength"] > max_bytes:
            raise TooLarge(url=redact(url), reason=f"it is larger than {max_bytes} bytes")
        stop = answer["Body"]._raw_stream.shutdown  # noqa: SLF001  # urllib3's answer; botocore has no way to it
        with closing(answer["Body"]) as body, stopped_in_time(pace, stop):
            chunks = body.iter_chunks(_CHUNK_BYTES)
            data = receive(chunks, pace=pace, url=url, max_bytes=max_bytes, sink=sink)
        told = answer["ResponseMetadata"]
        return Answer(
            url=url,
            status=told["HTTPStatusCode"],
            headers=told["HTTPHeaders"],
            body=data,
            is_plain=self._is_plain,
        )

    def _folder(self, url: str, request: Mapping[str, str], prefix: str, max_bytes: int) -> Answer:
        """Answer with the page in the folder, else with the folder's files."""
        from botocore.exceptions import ClientError

        try:
            files = dict(self._files(request["Bucket"], prefix))
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("AccessDenied", "403"):
                raise
            files = None  # whoever may not list may still read
        for name, content_type in PAGES.items():
            if files is None or name in files:
                try:
                    found = self._object(url, {**request, "Key": prefix + name}, max_bytes, None)
                except ClientError as error:
                    if files is None and error.response["Error"]["Code"] in (*_MISSING, "AccessDenied", "403"):
                        continue
                    raise
                return found._replace(headers={**found.headers, "content-type": content_type})
        if files is None:
            raise AccessDenied(url=redact(url), reason="no permission to list the folder, which has no index page")
        if not files:
            return Answer(url=url, status=404)
        listing = dump_listing(files.items())
        return Answer(url=url, status=200, headers={"content-type": LISTING}, body=listing, is_plain=self._is_plain)

    def _files(self, bucket: str, prefix: str) -> Iterator[tuple[str, int]]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=prefix, Delimiter="/", PaginationConfig={"MaxItems": self._limits.members}
        )
        for page in pages:
            for entry in page.get("Contents", ()):
                if name := entry["Key"].removeprefix(prefix):
                    yield name, entry["Size"]

    def _answer_of_error(self, url: str, error: Any) -> Answer:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _MISSING:
            return Answer(url=url, status=404)
        if code in ("304", "NotModified"):
            return Answer(url=url, status=304, headers=error.response["ResponseMetadata"].get("HTTPHeaders", {}))
        shown = redact(url)
        if code == "NoSuchBucket":
            raise NotFound(url=shown, reason=f"there is no bucket {urlsplit(url).netloc!r}") from error
        if code in ("NoSuchVersion", "InvalidArgument"):
            raise NotFound(url=shown, reason="it has no such version") from error
        if code in _DENIED:
            found = "" if self._is_signed else "; no credentials were found"
            raise AccessDenied(url=shown, reason=f"{_DENIED[code]} ({code}){found}") from error
        if code in _REGION:
            reason = f"the bucket is in another region than {self._client.meta.region_name!r} ({code})"
            raise ServerError(url=shown, reason=f"{reason}; set AWS_REGION") from error
        raise ServerError(url=shown, reason=f"S3 answers {code or 'without a code'}") from error


def _translate(url: str, error: Exception) -> FetchError:
    from botocore import exceptions

    shown = redact(url)
    if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
        return AccessDenied(url=shown, reason="the credentials are not complete")
    if isinstance(error, (exceptions.CredentialRetrievalError, exceptions.TokenRetrievalError)):
        return AccessDenied(url=shown, reason=f"the credentials can't be got: {redact_text(str(error))}")
    if isinstance(error, (exceptions.ConnectTimeoutError, exceptions.ReadTimeoutError)):
        return FetchTimeout(url=shown, reason="the endpoint did not answer in time")
    return NetworkError(url=shown, reason=redact_text(str(error)))
