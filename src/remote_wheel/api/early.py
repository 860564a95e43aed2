"""The first pages of a request, asked for while the rest of the pipeline is still being imported."""

import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

from packaging.utils import canonicalize_name

from remote_wheel.api.indexes import Indexes, find_indexes
from remote_wheel.errors import RemoteWheelError
from remote_wheel.fetch.client import Client
from remote_wheel.fetch.port import ACCEPT_PAGE
from remote_wheel.mounts import boot
from remote_wheel.settings import Settings, merge_settings, read_config
from remote_wheel.store.cache import Store
from remote_wheel.store.files import LockIsHeld

_PLAIN: Final = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(\[[^\]]*\])?\s*([<>=!~][^;@]*)?")
_MOST: Final = 4


class Early(NamedTuple):
    """Who asks, with what settings, and where: what the pipeline goes on with, if it finds the same settings.

    Until it is closed, it holds the lock on the request's boot record, if there is to be one.
    """

    settings: Settings
    client: Client
    indexes: Indexes
    held: ExitStack

    def close(self) -> None:
        """Let others have what was made."""
        self.held.close()


def make_client(settings: Settings) -> Client:
    """Return the door out of one request."""
    return Client(
        settings.limits,
        is_offline=settings.offline,
        insecure_hosts=settings.allow_insecure,
        client_cert=settings.client_cert or os.environ.get("SSL_CLIENT_CERT", ""),
        allowed_hosts=settings.allowed_hosts,
        allowed_by=settings.origins.get("allowed_hosts", ""),
    )


def fetch_file(url: str, settings: Settings) -> bytes:
    """Return the requirements file at *url*; its credentials go to its host alone. Raises FetchError or NotCached."""
    client = make_client(settings)
    return client.fetch(client.learn(url), max_bytes=settings.limits.metadata_bytes).body


def begin(request: Mapping[str, Any]) -> Early | None:
    """Ask for the pages that the request will ask for first, whatever comes of it; None where that is not certain.

    An error of what the user said is the pipeline's to raise.
    """
    found = [_PLAIN.fullmatch(text) for text in request["subjects"]]
    names = [canonicalize_name(each[1]) for each in found if each]
    if request["action"] != "require" or len(names) != len(found) or len(names) > _MOST:
        return None
    held = ExitStack()
    try:
        settings = merge_settings(request["options"], os.environ, read_config(boot.config_files()))
        if not _is_certain(settings) or _may_be_installed(settings, names, request["search_path"]):
            return None
        client = make_client(settings)
        indexes = find_indexes(settings, client, os.environ)
        store = Store(Path(request["cache"]), boot.STORE_VERSION)
        if request["key"]:  # of many that want the same, one asks, and the others wait for what it makes
            held.enter_context(store.lock(f"record {request['key']}", may_wait=False))
        urls = [f"{index.url}{name}/" for index in indexes.ordered for name in names]
        for url in urls:
            if store.read_head("pages", url) is None:
                client.expect(url, headers={"Accept": ACCEPT_PAGE}, max_bytes=settings.limits.page_bytes)
    except (RemoteWheelError, LockIsHeld):
        held.close()
        return None
    except BaseException:
        held.close()
        raise
    return Early(settings=settings, client=client, indexes=indexes, held=held)


def _is_certain(settings: Settings) -> bool:
    """Whether the pages of what is required are asked for, in one place, by whatever way the planning goes."""
    elsewhere = (settings.extra_index_urls, settings.index, settings.project_index, settings.find_links)
    is_shut = settings.offline or settings.goes_offline or settings.no_index or settings.no_cache or settings.refresh
    return settings.index_url.startswith("http") and not is_shut and not any(elsewhere)


def _may_be_installed(settings: Settings, names: list[Any], search_path: list[str]) -> bool:
    if not settings.prefer_installed:
        return False
    from importlib.metadata import Distribution  # the planning needs it, too

    return any(next(iter(Distribution.discover(name=name, path=search_path)), None) for name in names)
