"""A .gguf file is read once while a model is brought in, and nothing of that is left behind."""

from __future__ import annotations

from pathlib import Path
from threading import Thread
from typing import Any

import gguf
import pytest

from maskviz.load.models.loading import Loading, bring_in
from maskviz.load.models.source import read_once, resolve
from maskviz.load.texts.request import Request


def test_config_and_tokenizer_of_a_gguf_file_come_from_one_reading(
    smollm2_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, read = gguf.GGUFReader, []

    def counted(path: Any) -> Any:
        read.append(path)
        return reader(path)

    monkeypatch.setattr(gguf, "GGUFReader", counted)
    loaded = bring_in(Loading(resolve(str(smollm2_gguf)), weights=False), Request(texts=("a text",)))
    assert loaded.tokenizer is not None
    assert len(read) == 1
    assert gguf.GGUFReader is counted


def test_readings_of_several_threads_leave_the_library_as_it_was() -> None:
    before = gguf.GGUFReader, gguf.get_tensor_name_map

    def reading() -> None:
        for _ in range(50):
            with read_once("a.gguf"):
                assert gguf.get_tensor_name_map is not before[1]

    threads = [Thread(target=reading) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (gguf.GGUFReader, gguf.get_tensor_name_map) == before
