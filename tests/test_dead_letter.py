"""Dead letters: the payload byte for byte, and all that is needed to find it again."""

from __future__ import annotations

import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from transforms import schema
from transforms.dead_letter import DeadLetter, dead_letter_line
from transforms.records import Batch

TIME = 1_724_938_500_000_000


def line_of(payload, letter=None, first_position=0, source="in.jsonl"):
    batch = Batch(source, first_position, 0, False, TIME, b"", [b"before", payload])
    return json.loads(dead_letter_line(batch, letter or DeadLetter(1, "why"), "parse"))


def test_a_dead_letter_has_the_fields_of_its_schema_in_order():
    line = line_of(b"{", DeadLetter(1, "not JSON", "sales"), first_position=41)
    assert list(line) == schema.DEAD_LETTER.names
    assert line == {
        "reason": "not JSON",
        "step": "parse",
        "detectorName": "sales",
        "source": "in.jsonl",
        "position": 42,
        "time": "2024-08-29 13:35:00",
        "payload": base64.b64encode(b"{").decode(),
    }


def test_no_detector_means_all_of_them():
    assert line_of(b"")["detectorName"] is None


@given(st.binary())
def test_any_payload_comes_back_byte_for_byte(payload):
    assert base64.b64decode(line_of(payload)["payload"], validate=True) == payload


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_dead_letter_is_one_line_whatever_it_says(text):
    batch = Batch(text, 0, 0, False, TIME, b"", [b"\n"])
    line = dead_letter_line(batch, DeadLetter(0, text, text), text)
    assert b"\n" not in line
    assert json.loads(line)["reason"] == text


def test_a_payload_of_a_megabyte_is_kept_whole():
    payload = bytes(range(256)) * 4096
    assert base64.b64decode(line_of(payload)["payload"]) == payload
