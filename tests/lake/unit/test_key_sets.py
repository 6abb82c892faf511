"""Sets of ids take what their bytes take; `status` holds one of each kind of outcome."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from promptmill.lake.ids import keys_of
from promptmill.lake.keys import (
    KEY_BYTES,
    contains,
    keys_of_texts,
    texts_of_keys,
    union,
    without,
)

COUNT = 50_000


def batches(seed: int) -> list[pa.RecordBatch]:
    """Ids as they are read from a table."""
    chance = np.random.default_rng(seed)
    ids = [chance.bytes(KEY_BYTES).hex() for _ in range(COUNT)]
    found: list[pa.RecordBatch] = pa.table({"prompt_id": ids}).to_batches(max_chunksize=10_000)
    return found


def test_an_id_takes_16_bytes() -> None:
    one, two = keys_of(batches(1)), keys_of(batches(2))
    both = union(one, two, one)
    assert (one.nbytes, both.nbytes) == (COUNT * KEY_BYTES, 2 * COUNT * KEY_BYTES)
    assert without(both, two).tolist() == one.tolist()
    assert contains(both, batches(2)[0].column(0)[7].as_py())
    assert not contains(one, batches(2)[0].column(0)[7].as_py())


@pytest.mark.parametrize("wrong", ["0" * 31, "0" * 31 + "g", "0" * 31 + " "])
def test_an_id_in_a_table_that_is_not_hexadecimal_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the library's own text for a wrong digit
        keys_of(pa.table({"prompt_id": [wrong]}).to_batches())


def test_ids_that_end_in_zero_bytes_keep_them() -> None:
    """Arrays of bytes drop them in single values."""
    ids = ["ab" + "00" * 15, "00" * 16, "ab" * 16]
    assert texts_of_keys(keys_of_texts(ids)) == ids
    assert contains(union(keys_of_texts(ids)), ids[0])
    assert not contains(union(keys_of_texts(ids)), "ab00" + "ab" * 14)


def test_what_is_no_id_is_refused_even_if_the_digits_add_up() -> None:
    with pytest.raises(ValueError, match="32 hexadecimal digits"):
        keys_of_texts(["ab" * 15, "ab" * 17])
