"""Objects: the same contract on a folder, in memory and on S3 over HTTP."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from moto.server import ThreadedMotoServer

from milpa.errors import FatalError, TransientError
from milpa.settings import Secret, Settings
from storage.objects import ObjectStore, object_key

ROOT = Path(__file__).parents[2]
S3 = {"access_key_id": "test", "secret_access_key": "test", "region": "us-east-1"}


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """An S3 server on a free port."""
    import boto3

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    boto3.client(
        "s3", endpoint_url=address, aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
    ).create_bucket(Bucket="milpa")
    yield address
    server.stop()


def secrets(options: dict[str, str]) -> dict[str, Secret]:
    return {name: Secret(option) for name, option in options.items()}


@pytest.fixture(params=["file", "memory", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "file":
        return ObjectStore(Settings(object_store_url=(tmp_path / "objects").as_uri()))
    if request.param == "memory":
        return ObjectStore(Settings(object_store_url="memory:///"))
    options = {**S3, "endpoint": request.getfixturevalue("s3")}
    return ObjectStore(Settings(object_store_url=f"s3://milpa/{uuid4()}", object_store_options=secrets(options)))


@pytest.fixture
def key() -> str:
    return object_key(uuid4(), uuid4(), 1, "Überblick Q3.xlsx")


async def test_an_object_comes_back_as_it_was_put(objects: ObjectStore, key: str) -> None:
    data = os.urandom(300_000)
    await objects.put(key, data)
    assert await objects.get(key) == data
    assert b"".join([piece async for piece in await objects.stream(key)]) == data


async def test_an_object_is_written_once(objects: ObjectStore, key: str) -> None:
    await objects.put(key, b"first")
    with pytest.raises(FatalError) as refused:
        await objects.put(key, b"second")
    assert refused.value.code == "object_exists"
    assert await objects.get(key) == b"first"


async def test_a_missing_object_says_so(objects: ObjectStore, key: str) -> None:
    with pytest.raises(FileNotFoundError):
        await objects.get(key)
    with pytest.raises(FileNotFoundError):
        await objects.stream(key)


async def test_objects_are_deleted_and_deleting_again_does_no_harm(objects: ObjectStore, key: str) -> None:
    other = f"{key}.other"
    await objects.put(key, b"data")
    await objects.put(other, b"data")
    await objects.delete([key, "no/such/object"])
    await objects.delete([key])
    with pytest.raises(FileNotFoundError):
        await objects.get(key)
    assert await objects.get(other) == b"data"
    await objects.delete([])


async def test_objects_are_listed_by_prefix(objects: ObjectStore) -> None:
    for name in ("a/1", "a/2", "b/1"):
        await objects.put(name, b"12345")
    found = [found async for found in objects.list("a")]
    assert sorted(one.key for one in found) == ["a/1", "a/2"]
    assert {one.size for one in found} == {5}
    assert all(-5 < one.age.total_seconds() < 60 for one in found)
    assert len([one async for one in objects.list()]) == 3


async def test_only_a_served_store_gives_addresses_of_its_own(
    objects: ObjectStore, key: str, request: pytest.FixtureRequest
) -> None:
    import httpx

    await objects.put(key, b"data")
    address = await objects.presigned(key, 60)
    if "s3" not in request.node.callspec.id:
        assert address is None
        return
    async with httpx.AsyncClient() as client:
        assert (await client.get(address)).content == b"data"
    assert httpx.URL(address).params["X-Amz-Expires"] == "60"


async def test_the_default_store_is_a_folder_of_the_data_directory(tmp_path: Path) -> None:
    await ObjectStore(Settings(data_dir=str(tmp_path))).put("a/b", b"data")
    assert (tmp_path / "objects" / "a" / "b").read_bytes() == b"data"


async def test_a_store_that_the_system_refuses_is_told_in_its_words_and_without_keys(tmp_path: Path) -> None:
    store = ObjectStore(Settings(data_dir=str(tmp_path)))
    (tmp_path / "objects").rmdir()
    (tmp_path / "objects").write_text("no folder any more")
    with pytest.raises(TransientError) as refused:
        await store.put("a/b", b"data")
    assert refused.value.message == "The object store does not answer: Not a directory."


@pytest.mark.parametrize("key", ["../escape", "a/../../escape", "/a//b/../../../escape"])
async def test_no_key_leads_out_of_the_folder(tmp_path: Path, key: str) -> None:
    objects = ObjectStore(Settings(object_store_url=(tmp_path / "objects").as_uri()))
    with pytest.raises(ValueError, match="path"):
        await objects.put(key, b"data")
    assert [path.name for path in tmp_path.iterdir()] == ["objects"]  # noqa: ASYNC240  a handful of files


async def test_a_store_that_does_not_answer_can_be_tried_again() -> None:
    options = {**S3, "endpoint": "http://127.0.0.1:9"}
    objects = ObjectStore(Settings(object_store_url="s3://milpa", object_store_options=secrets(options)))
    for call in (objects.get("key"), objects.stream("key"), objects.put("key", b"data"), objects.delete(["key"])):
        with pytest.raises(TransientError):
            await call


@pytest.mark.parametrize("url", ["nothing://x", "s3:", "ftp://host/x"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(FatalError) as refused:
        ObjectStore(Settings(object_store_url=url))
    assert refused.value.code == "bad_object_store"


def test_an_option_that_the_store_does_not_know_is_refused_without_showing_secrets() -> None:
    options = {**S3, "secret_access_key": "hush", "colour": "blue"}
    with pytest.raises(FatalError, match="colour") as refused:
        ObjectStore(Settings(object_store_url="s3://milpa", object_store_options=secrets(options)))
    assert "hush" not in refused.value.message


async def test_an_empty_folder_goes_with_its_last_file(tmp_path: Path) -> None:
    folder = tmp_path / "objects"
    objects = ObjectStore(Settings(object_store_url=folder.as_uri()))
    tenant, job = uuid4(), uuid4()
    keys = [object_key(tenant, job, 1, name) for name in ("a.csv", "b.csv")]
    for key in keys:
        await objects.put(key, b"x")
    await objects.delete(keys[:1])
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["b.csv"]
    await objects.delete(keys[1:])
    assert list(folder.rglob("*")) == []


def test_a_key_is_not_guessed_from_what_others_may_know() -> None:
    tenant, job = uuid4(), uuid4()
    keys = {object_key(tenant, job, 1, "deals.csv") for _ in range(100)}
    assert len(keys) == 100
    assert {key.startswith(f"{tenant}/{job}/1/") and key.endswith("/deals.csv") for key in keys} == {True}
    assert {len(key.split("/")[3]) for key in keys} == {32}


ENDS_EARLY = """
import asyncio, sys
from milpa.settings import Settings
from storage.objects import ObjectStore

async def main():
    objects = ObjectStore(Settings(object_store_url=sys.argv[1]))
    puts = [asyncio.create_task(objects.put(str(n), bytes(300_000))) for n in range(200)]
    await asyncio.wait(puts, return_when=asyncio.FIRST_COMPLETED)

asyncio.run(main())
"""


def test_a_program_that_ends_while_files_are_written_is_not_aborted(tmp_path: Path) -> None:
    def ending(number: int) -> int:
        words = [sys.executable, "-c", ENDS_EARLY, (tmp_path / str(number)).as_uri()]
        return subprocess.run(words, check=False, timeout=120, cwd=ROOT).returncode

    with ThreadPoolExecutor(3) as several:
        assert set(several.map(ending, range(30))) == {0}
