import dataclasses
import os
import traceback
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from headrace.encryption.envelope import Binding, CannotOpen, Envelope
from headrace.encryption.keyring import Keyring

KEY = bytes(range(32))
ORGANIZATION = UUID("00000000-0000-4000-8000-000000000001")
ROW = UUID("00000000-0000-4000-8000-000000000002")
PLACE = Binding(table="pipelines", column="config", organization_id=ORGANIZATION, row_id=ROW, revision=3)

# The format may never change: values stored by an old version must open in every later one.
GOLDEN_PLAINTEXT = b'{"password": "example"}'
GOLDEN = bytes.fromhex(
    "011d404e69a59108f3404142434445464748494a4bc2988c000219a124e5ed3d"
    "1db7493d7449f7606f830039144f7e74deab2ed3e49a7e93efcc08bc9993369e"
    "b93330d49b4c4d4e4f5051525354555657b6f53ba07cece8623bbf6ecbf0d0f6"
    "139879507f7c0bc598356dca519f3126ef366d868e96732f"
)

names = st.text(max_size=40).filter(lambda text: text.isprintable())
bindings = st.builds(
    Binding,
    table=names,
    column=names,
    organization_id=st.uuids(),
    row_id=st.uuids(),
    revision=st.integers(0, 2**64 - 1),
)


def envelope(*keys: bytes) -> Envelope:
    return Envelope(Keyring(keys or (KEY,)))


def test_the_golden_value_opens():
    assert envelope().open(GOLDEN, PLACE) == GOLDEN_PLAINTEXT


def test_the_golden_value_has_the_documented_layout():
    binding = b"\x00\x09pipelines\x00\x06config" + ORGANIZATION.bytes + ROW.bytes + (3).to_bytes(8)
    key_id = bytes.fromhex("1d404e69a59108f3")

    data_key = AESGCM(KEY).decrypt(GOLDEN[9:21], GOLDEN[21:69], b"headrace\x01\x01" + key_id + binding)
    value = AESGCM(data_key).decrypt(GOLDEN[69:81], GOLDEN[81:], b"headrace\x01\x02" + binding)

    assert GOLDEN[0] == 1
    assert GOLDEN[1:9] == key_id
    assert value == GOLDEN_PLAINTEXT


def test_sealing_writes_the_golden_layout(monkeypatch: pytest.MonkeyPatch):
    draws = [GOLDEN[69:81], GOLDEN[9:21]]
    random = {32: lambda: bytes(range(32, 64)), 12: draws.pop}
    monkeypatch.setattr(os, "urandom", lambda size: random[size]())
    # The value's nonce is drawn before the wrap's.
    draws.reverse()

    assert envelope().seal(GOLDEN_PLAINTEXT, PLACE) == GOLDEN


@given(plaintext=st.binary(max_size=3000), place=bindings)
def test_what_was_sealed_opens_in_its_place(plaintext: bytes, place: Binding):
    sealed = envelope().seal(plaintext, place)

    assert envelope().open(sealed, place) == plaintext
    assert len(sealed) == len(plaintext) + 97


@given(place=bindings, other=bindings)
def test_no_two_places_share_an_encoding(place: Binding, other: Binding):
    assert (place.encoded() == other.encoded()) == (place == other)


def test_names_that_run_together_are_told_apart():
    sealed = envelope().seal(b"value", dataclasses.replace(PLACE, table="ab", column="c"))

    with pytest.raises(CannotOpen):
        envelope().open(sealed, dataclasses.replace(PLACE, table="a", column="bc"))


@pytest.mark.parametrize(
    "move",
    [
        {"table": "tokens"},
        {"column": "state"},
        {"organization_id": uuid4()},
        {"row_id": uuid4()},
        {"revision": 2},
        {"organization_id": ROW, "row_id": ORGANIZATION},
    ],
    ids=["table", "column", "organization", "row", "revision", "ids swapped"],
)
def test_a_moved_value_neither_opens_nor_rewraps(move: dict[str, object]):
    sealed = envelope().seal(b"value", PLACE)
    moved = dataclasses.replace(PLACE, **move)

    with pytest.raises(CannotOpen):
        envelope().open(sealed, moved)
    with pytest.raises(CannotOpen):
        envelope().rewrap(sealed, moved)


def test_a_value_cut_short_anywhere_does_not_open():
    for length in range(len(GOLDEN)):
        with pytest.raises(CannotOpen):
            envelope().open(GOLDEN[:length], PLACE)


def test_a_value_with_any_bit_flipped_does_not_open():
    for bit in range(len(GOLDEN) * 8):
        damaged = bytearray(GOLDEN)
        damaged[bit // 8] ^= 1 << bit % 8

        with pytest.raises(CannotOpen):
            envelope().open(bytes(damaged), PLACE)


def test_a_value_with_a_byte_more_does_not_open():
    with pytest.raises(CannotOpen):
        envelope().open(GOLDEN + b"\x00", PLACE)


def test_the_wrap_of_one_value_does_not_open_another_of_the_same_place():
    first, second = envelope().seal(b"first", PLACE), envelope().seal(b"other", PLACE)

    with pytest.raises(CannotOpen):
        envelope().open(first[:69] + second[69:], PLACE)


def test_equal_values_are_sealed_differently():
    sealed = {envelope().seal(b"value", PLACE) for _ in range(100)}
    data_key_nonces = {value[9:21] for value in sealed}
    value_nonces = {value[69:81] for value in sealed}

    assert len(sealed) == len(data_key_nonces) == len(value_nonces) == 100


def test_another_key_is_an_unknown_key_id():
    with pytest.raises(CannotOpen, match="1d404e69a59108f3") as caught:
        envelope(bytes(32)).open(GOLDEN, PLACE)

    assert caught.value.context == {"key_id": "1d404e69a59108f3"}


def test_another_key_under_the_same_id_does_not_open():
    keyring = Keyring([KEY])
    keyring._keys[keyring.current_id] = bytes(32)

    with pytest.raises(CannotOpen):
        Envelope(keyring).open(GOLDEN, PLACE)


def test_an_older_key_still_opens_and_the_newest_seals():
    both = Keyring([b"n" * 32, KEY])

    sealed = Envelope(both).seal(b"value", PLACE)

    assert Envelope(both).open(GOLDEN, PLACE) == GOLDEN_PLAINTEXT
    assert Envelope.key_id(sealed) == both.current_id == both.ids[0]


def test_a_rewrapped_value_needs_only_the_new_key():
    new = b"n" * 32

    rewrapped = envelope(new, KEY).rewrap(GOLDEN, PLACE)

    assert envelope(new).open(rewrapped, PLACE) == GOLDEN_PLAINTEXT
    with pytest.raises(CannotOpen):
        envelope(KEY).open(rewrapped, PLACE)


def test_rewrapping_leaves_the_encrypted_value_as_it_is():
    rewrapped = envelope(b"n" * 32, KEY).rewrap(GOLDEN, PLACE)

    assert rewrapped[69:] == GOLDEN[69:]
    assert rewrapped[:69] != GOLDEN[:69]


def test_a_format_of_a_later_version_is_refused():
    with pytest.raises(CannotOpen):
        Envelope.key_id(b"\x02" + GOLDEN[1:])


def test_a_failure_shows_neither_key_nor_value():
    sealed = envelope().seal(b"plaintext", PLACE)

    with pytest.raises(CannotOpen) as caught:
        envelope().open(sealed[:-1] + bytes([sealed[-1] ^ 1]), PLACE)

    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.context)
    for secret in (KEY.hex(), repr(KEY), "plaintext", sealed.hex()):
        assert secret not in shown
    assert caught.value.__suppress_context__
