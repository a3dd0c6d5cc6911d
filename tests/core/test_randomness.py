"""The stock of random bytes: nothing of it is ever handed out twice."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from storage_server.core.randomness import PIECE_BYTES, Randomness, random_bytes


@pytest.mark.parametrize("count", [8, 12, 16, 32])
def test_pieces_have_the_length_that_was_asked_for(count: int) -> None:
    """An id, a nonce and a key are as long as their formats say."""
    assert len(random_bytes(count)) == count


def test_no_piece_is_handed_out_twice_to_any_thread() -> None:
    """A key that two blobs share would give both away."""
    stock = Randomness()
    with ThreadPoolExecutor(4) as threads:
        taken = [
            piece
            for pieces in threads.map(
                lambda _: [stock.take(PIECE_BYTES) for _ in range(1000)], range(4)
            )
            for piece in pieces
        ]
    assert len(set(taken)) == 4000


def test_a_forked_child_does_not_repeat_its_parent() -> None:
    """Stock that was fetched before a fork is handed out on one side of it only."""
    stock = Randomness()
    stock.take(8)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, stock.take(PIECE_BYTES))
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 1024)
    for descriptor in (reading, writing):
        os.close(descriptor)
    ours = {stock.take(PIECE_BYTES) for _ in range(200)}
    assert len(theirs) == PIECE_BYTES
    assert theirs not in ours
