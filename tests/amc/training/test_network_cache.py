import os
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from amc.training.network_cache import NetworkCache, digest_of


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def fill(cache: NetworkCache, key: str, value: float) -> tuple[nn.Module, bool]:
    """Ask for a network whose training sets every weight to a value; tell whether it was trained."""
    model, trained = network(), []

    def train() -> None:
        trained.append(True)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(value)

    cache.fill(model, key, "train it", train)
    return model, bool(trained)


def test_a_network_is_trained_once_for_every_key(tmp_path: Path) -> None:
    cache = NetworkCache(tmp_path / "new", "net-data")
    first, trained = fill(cache, "a" * 64, 1.0)
    again, trained_again = fill(cache, "a" * 64, 2.0)
    _, other = fill(cache, "b" * 64, 3.0)
    assert (trained, trained_again, other) == (True, False, True)
    assert digest_of(first) == digest_of(again)
    assert {path.suffix for path in (tmp_path / "new").iterdir()} == {".safetensors"}


def test_keys_that_begin_alike_are_not_taken_for_each_other(tmp_path: Path) -> None:
    cache = NetworkCache(tmp_path, "net")
    fill(cache, "a" * 64, 1.0)
    model, trained = fill(cache, "a" * 63 + "b", 2.0)
    assert trained
    assert model[0].weight.eq(2).all()


@pytest.mark.parametrize("damage", ["short", "empty", "text"])
def test_a_damaged_file_is_replaced(damage: str, tmp_path: Path) -> None:
    cache = NetworkCache(tmp_path, "net")
    fill(cache, "a" * 64, 1.0)
    (path,) = tmp_path.iterdir()
    path.write_bytes({"short": path.read_bytes()[:-1], "empty": b"", "text": b"no tensors"}[damage])
    model, trained = fill(cache, "a" * 64, 2.0)
    assert trained
    assert model[0].weight.eq(2).all()
    assert fill(cache, "a" * 64, 3.0)[0][0].weight.eq(2).all()


def test_a_network_that_diverged_is_not_kept(tmp_path: Path) -> None:
    cache = NetworkCache(tmp_path, "net")
    fill(cache, "a" * 64, float("nan"))
    assert not list(tmp_path.iterdir())


def test_a_network_that_cannot_be_kept_is_not_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # Nothing can be put in the place of a folder that is not empty.
    (tmp_path / f"net-{'a' * 16}.safetensors" / "other").mkdir(parents=True)
    model, trained = fill(NetworkCache(tmp_path, "net"), "a" * 64, 1.0)
    assert trained
    assert model[0].weight.eq(1).all()
    assert "the network is used, and not kept" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_folders_whose_names_are_no_utf_8_keep_networks(tmp_path: Path) -> None:
    cache = NetworkCache(tmp_path / os.fsdecode(b"net\xe9"), "net")
    assert fill(cache, "a" * 64, 1.0)[1]
    assert not fill(cache, "a" * 64, 2.0)[1]


def test_those_who_ask_at_once_wait_for_the_first(tmp_path: Path) -> None:
    cache, trained = NetworkCache(tmp_path, "net"), []
    threads = [threading.Thread(target=lambda: trained.append(fill(cache, "a" * 64, 1.0)[1])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(trained) == [False, False, False, True]


def test_the_digest_follows_every_tensor() -> None:
    changed = network()
    changed[1].running_mean[0] = 1
    assert len({digest_of(network()), digest_of(network(1)), digest_of(changed)}) == 3
    assert digest_of(network()) == digest_of(network())


@pytest.mark.parametrize("there", ["net-data", ""])
def test_a_cache_that_may_only_be_read_saves_what_it_holds(
    there: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = NetworkCache(tmp_path / there, "net")
    fill(cache, "a" * 64, 1.0)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)
    for key, trained in (("a" * 64, False), ("b" * 64, True)):
        assert fill(cache, key, 2.0)[1] is trained
    assert sorted(tmp_path.rglob("*")) == before
    assert "may not be written" in caplog.text
