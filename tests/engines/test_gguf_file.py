"""The header of a GGUF file, and one clear sentence for every way in which a file is no model."""

import pytest
from gguf import GGUFReader

from smallworks.engines import gguf_file
from smallworks.errors import ModelError


def test_reads_what_the_library_reads(tiny_gguf):
    header, reader = gguf_file.read(tiny_gguf), GGUFReader(tiny_gguf)
    assert header.architecture == "llama"
    assert {name: tuple(map(int, t.shape)) for t in reader.tensors for name in [t.name]} == header.tensors
    for key in ("llama.block_count", "tokenizer.chat_template", "tokenizer.ggml.tokens"):
        value = reader.fields[key].contents()
        assert header.metadata[key] == (tuple(value) if isinstance(value, list) else value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"No model file at '.*absent\.gguf'"):
        gguf_file.read(tmp_path / "absent.gguf")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ModelError, match="is a folder"):
        gguf_file.read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"GG", b"PK\x03\x04 and so on", b"{}{}{}{}", b"\0" * 100])
def test_another_kind_of_file_is_told_apart(tmp_path, content):
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="is not a GGUF file: it begins with"):
        gguf_file.read(path)


@pytest.mark.parametrize("part", [1e-6, 0.001, 0.02, 0.5, 0.99])
def test_a_file_cut_off_anywhere_says_so(tmp_path, tiny_gguf, part):
    whole = tiny_gguf.read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole[: 4 + int(len(whole) * part)])
    with pytest.raises(ModelError, match="is cut off"):
        gguf_file.read(path)


def test_garbage_after_the_magic_is_an_error_of_ours(tmp_path):
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"GGUF\x03\0\0\0" + b"\xff" * 200)
    with pytest.raises(ModelError):
        gguf_file.read(path)


def test_sizes_of_types_are_the_gguf_packages_own() -> None:
    from gguf.constants import GGML_QUANT_SIZES

    assert {kind.value: size for kind, size in GGML_QUANT_SIZES.items()} == gguf_file.BLOCKS
