"""Hostile SIP is the same for the same seed, fits a datagram, and differs from what is valid."""

from __future__ import annotations

from clinicpbx.drill.hostile import LARGEST, METHODS, Peer, corpus, handmade, mutations

PEER = Peer("10.77.20.249:5099", "10.77.20.10", "2001", "2002")


def test_the_same_seed_gives_the_same_mutations() -> None:
    assert list(mutations(PEER, 7, 200)) == list(mutations(PEER, 7, 200))


def test_another_seed_gives_others() -> None:
    assert [m.data for m in mutations(PEER, 7, 50)] != [m.data for m in mutations(PEER, 8, 50)]


def test_so_many_as_asked_and_nearly_all_are_changed() -> None:
    found = list(mutations(PEER, 7, 300))
    valid = {d for n in range(300) for d in corpus(PEER, f"m7x{n}")}
    assert len(found) == 300
    assert sum(m.data in valid for m in found) < 10


def test_every_message_fits_a_datagram() -> None:
    assert all(len(m.data) <= LARGEST for m in [*handmade(PEER, "t"), *mutations(PEER, 1, 500)])


def test_handmade_messages_have_names_of_their_own() -> None:
    names = [m.name for m in handmade(PEER, "t")]
    assert len(names) == len(set(names)) > 150


def test_the_largest_is_nearly_a_whole_datagram() -> None:
    assert max(len(m.data) for m in handmade(PEER, "t")) > 64_000


def test_the_corpus_is_valid_and_has_every_method() -> None:
    found = corpus(PEER, "t")
    assert [d.split(b" ")[0].decode() for d in found] == list(METHODS)
    for data in found:
        head, _, body = data.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
