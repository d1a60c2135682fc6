import contextlib
import gzip
import io
import os
import pickle
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pydantic
import pytest
import torch

from scaling_search.core.dataset import Dataset
from scaling_search.datasets import fashion_mnist
from scaling_search.datasets.fashion_mnist import DEBIAN_FOLDER, FILES, FashionMnist


def dataset(**options: Any) -> FashionMnist:
    return FashionMnist(**options)


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test asks the real server."""
    monkeypatch.setattr(fashion_mnist, "URL", "http://127.0.0.1:9")


def downloaded(url: str) -> FashionMnist:
    """The dataset from a server, checked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fashion_mnist, "URL", url)
        dataset().check()
    return dataset()


@pytest.fixture
def official() -> Path:
    """The folder of the official files."""
    if not all((DEBIAN_FOLDER / f"{name}.gz").is_file() for name in FILES):
        pytest.skip(f"the official files are not in {DEBIAN_FOLDER}")
    return DEBIAN_FOLDER


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where downloads go, on a machine that has no data and asks no proxy."""
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "absent")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache" / "scaling_search" / "fashion_mnist"


@contextlib.contextmanager
def server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """The URL of a server on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Keeps quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_address[1]}"
        finally:
            http.shutdown()
            thread.join()


def send(handler: BaseHTTPRequestHandler, content: bytes, announced: int | None = None) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(announced or len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def send_file(handler: BaseHTTPRequestHandler, folder: Path) -> None:
    send(handler, (folder / handler.path.removeprefix("/data/")).read_bytes())


def one_line(error: pytest.ExceptionInfo[RuntimeError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


def left_behind(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir()) if cache.exists() else []


def test_the_whole_set_is_a_dataset_that_travels() -> None:
    assert isinstance(dataset(), Dataset)
    assert pickle.loads(pickle.dumps(dataset())) == dataset()
    assert len(pickle.dumps(dataset())) < 1000
    assert len({dataset(), dataset(), dataset(split_seed=1)}) == 2


@pytest.mark.parametrize(
    "options",
    [
        {"num_val": 0},
        {"num_val": 60_000},
        {"num_train": 55_001},
        {"num_test": 10_001},
        {"split_seed": -1},
        {"num_classes": 11},
        {"root": Path("data")},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(pydantic.ValidationError):
        dataset(**options)


def test_all_official_images_are_split_by_class(official: Path) -> None:
    splits = dataset(root=str(official)).load(28, "cpu")
    assert splits.train.labels.bincount().tolist() == [5500] * 10
    assert splits.val.labels.bincount().tolist() == [500] * 10
    assert splits.test.labels.bincount().tolist() == [1000] * 10
    assert splits.train.images.shape == (55_000, 1, 28, 28)
    pixels = torch.cat([splits.train.images, splits.val.images]).double() / 255
    # Known by everyone who normalises the 60,000, e.g. in PyTorch's examples.
    assert pixels.mean().item() == pytest.approx(0.2860, abs=5e-5)
    assert pixels.std().item() == pytest.approx(0.3530, abs=5e-5)


def test_smaller_splits_are_parts_of_larger_ones(official: Path) -> None:
    small = dataset(root=str(official), num_train=1000, num_test=50).load(28, "cpu")
    whole = dataset(root=str(official)).load(28, "cpu")
    assert small.train.labels.bincount().tolist() == [100] * 10
    assert small.test.labels.bincount().tolist() == [5] * 10
    assert torch.equal(small.val.images, whole.val.images)
    whole_train = {image.numpy().tobytes() for image in whole.train.images}
    assert all(image.numpy().tobytes() in whole_train for image in small.train.images)


def test_the_fingerprint_follows_the_splits_and_not_the_place(
    official: Path, tmp_path: Path
) -> None:
    for name in FILES:
        (tmp_path / name).write_bytes(gzip.decompress((official / f"{name}.gz").read_bytes()))
    compressed = dataset(root=str(official), num_train=1000)
    plain = dataset(root=str(tmp_path), num_train=1000)
    plain.check()
    assert plain.fingerprint() == compressed.fingerprint()
    assert plain.fingerprint() != dataset(root=str(official), num_train=999).fingerprint()


def test_a_missing_folder_is_told_in_one_line(tmp_path: Path) -> None:
    root = str(tmp_path / "absent")
    with pytest.raises(RuntimeError) as error:
        dataset(root=root).check()
    start = f"dataset.root must hold train-images-idx3-ubyte.gz, got {root!r}; "
    assert one_line(error).startswith(start)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for name in list(FILES)[:2]:
        (tmp_path / f"{name}.gz").touch()
    with pytest.raises(RuntimeError, match=r"root must hold t10k-images-idx3-ubyte\.gz"):
        dataset(root=str(tmp_path)).check()


def test_without_data_and_download_the_ways_out_are_named(cache: Path) -> None:
    with pytest.raises(
        RuntimeError, match=r"must be there for dataset.root=null, got .*refused"
    ) as e:
        dataset().check()
    assert "set dataset.root to a folder" in one_line(e)
    assert left_behind(cache) == []


@pytest.mark.parametrize(
    ("damage", "wrong"),
    [
        (lambda content: content[:1000], r"train-images-idx3-ubyte\.gz must be whole"),
        (
            lambda content: gzip.compress(gzip.decompress(content)[:-1] + b"\1", 1),
            r"train-images-idx3-ubyte\.gz must have the SHA-256",
        ),
    ],
    ids=["cut short", "another pixel"],
)
def test_damaged_files_are_found(
    official: Path, tmp_path: Path, damage: Callable[[bytes], bytes], wrong: str
) -> None:
    folder = shutil.copytree(official, tmp_path / "data")
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RuntimeError, match=wrong) as error:
        dataset(root=str(folder)).check()
    assert "official file" in one_line(error)


def test_a_download_gives_the_official_data(
    official: Path, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    umask = os.umask(0o027)
    try:
        with server(partial(send_file, folder=official)) as url:
            downloaded(f"{url}/data")
    finally:
        os.umask(umask)
    assert left_behind(cache) == sorted(f"{name}.gz" for name in FILES)
    assert {path.stat().st_mode & 0o777 for path in cache.iterdir()} == {0o640}
    # The server is gone; what is in the cache needs none.
    assert dataset().fingerprint() == dataset(root=str(official)).fingerprint()
    assert capfd.readouterr() == ("", "")  # a bar is for terminals


def test_a_download_fetches_only_what_is_missing(official: Path, cache: Path) -> None:
    shutil.copytree(official, cache)
    (cache / "t10k-labels-idx1-ubyte.gz").unlink()
    asked = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        send_file(handler, official)

    with server(answer) as url:
        downloaded(f"{url}/data")
    assert asked == ["/data/t10k-labels-idx1-ubyte.gz"]


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (lambda handler: handler.send_error(404), "got 'HTTP Error 404: Not Found'; run"),
        (partial(send, content=bytes(1000), announced=30_000_000), "got '1000 of 30000000 bytes'"),
        (partial(send, content=gzip.compress(bytes(1000))[:-5]), "must be whole"),
        (partial(send, content=b"<html>log in first</html>"), "must have the SHA-256"),
        (lambda handler: handler.wfile.write(b"?\r\n"), "must be there for dataset.root=null"),
    ],
    ids=["404", "cut on the way", "cut at its source", "another page", "no HTTP"],
)
def test_a_failed_download_is_told_in_one_line_and_leaves_nothing(
    cache: Path, answer: Callable[[BaseHTTPRequestHandler], None], wrong: str
) -> None:
    with server(answer) as url, pytest.raises(RuntimeError) as error:
        downloaded(url)
    message = one_line(error)
    assert wrong in message
    assert "train-images-idx3-ubyte.gz" in message
    assert message.endswith("set dataset.root to a folder with the four official files")
    assert left_behind(cache) == []


def test_a_terminal_sees_a_bar(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with server(partial(send, content=bytes(1000))) as url, pytest.raises(RuntimeError):
        downloaded(url)
    assert "train-images-idx3-ubyte.gz" in terminal.getvalue()
    assert "1.0/1.0 kB" in terminal.getvalue()
    assert capfd.readouterr().out == ""
    assert left_behind(cache) == []


def test_a_server_that_is_not_there_is_told_in_one_line(cache: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(RuntimeError, match="Connection refused") as error:
        downloaded(f"http://127.0.0.1:{port}")
    assert "again when the network is there" in one_line(error)
    assert left_behind(cache) == []


def test_a_server_that_says_nothing_is_given_up(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion_mnist, "TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(RuntimeError, match="timed out"):
            downloaded(f"http://127.0.0.1:{port}")
    assert left_behind(cache) == []


def test_a_cache_that_cannot_be_written_is_told_in_one_line(official: Path, cache: Path) -> None:
    cache.parent.parent.mkdir()
    cache.parent.touch()  # a file where a folder should be stops even the superuser
    with (
        server(partial(send_file, folder=official)) as url,
        pytest.raises(
            RuntimeError, match=r"must be writable, got 'Not a directory' .*: set XDG_CACHE"
        ),
    ):
        downloaded(f"{url}/data")


def test_a_relative_cache_folder_is_ignored(
    official: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", cache.parts[-1])
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(official, there := tmp_path / ".cache" / "scaling_search" / "fashion_mnist")
    assert dataset().folder() == there
