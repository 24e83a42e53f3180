"""Messages from files."""

from __future__ import annotations

import datetime as dt

import pytest

from ingest import publish
from ingest.messages import NoMessages, lines_of, messages

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=dt.UTC)


def written(tmp_path, text):
    path = tmp_path / "file"
    path.write_bytes(text)
    return path


def test_rows_of_csv_become_objects_with_numbers_as_they_are_written(tmp_path):
    path = written(tmp_path, b'\xef\xbb\xbfa,b\r\n1.50,x\n-0,007\n1e-7,\n,"p,q"\n\n0.1.2,NaN\n')
    assert list(lines_of(path, "csv")) == [
        b'{"a":1.50,"b":"x"}',
        b'{"a":-0,"b":"007"}',
        b'{"a":1e-7,"b":null}',
        b'{"a":null,"b":"p,q"}',
        b'{"a":"0.1.2","b":"NaN"}',
    ]


def test_lines_of_json_are_sent_byte_for_byte(tmp_path):
    path = written(tmp_path, b'{"a": 1}\r\n\n{oops\n\xff\xfe\n{"a":2}')
    assert list(lines_of(path, "jsonl")) == [b'{"a": 1}', b"{oops", b"\xff\xfe", b'{"a":2}']


@pytest.mark.parametrize(
    ("text", "told"),
    [(b"a,b\n1\n", "line 2: has 1 fields, the header 2"), (b"a\n\xff\n", "is not UTF-8 text")],
)
def test_broken_csv_is_told(tmp_path, text, told):
    with pytest.raises(NoMessages, match=told):
        list(lines_of(written(tmp_path, text), "csv"))


def test_keys_and_stamps():
    lines = [b'{"k":7,"v":1}', b'{"v":2}', b"[1]", b"{oops"]
    assert list(messages(lines, "k")) == [
        (b'{"k":7,"v":1}', "7"),
        (b'{"v":2}', None),
        (b"[1]", None),
        (b"{oops", None),
    ]
    stamped = list(messages(lines, stamp="t", now=lambda: NOW))
    assert stamped[1].payload == b'{"v":2,"t":"2026-01-02T03:04:05.000678Z"}'
    assert stamped[2:] == [(b"[1]", None), (b"{oops", None)]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--to", "kafka://h:1/t"], "name a file or --synthetic, not both"),
        (["x.csv", "--synthetic", "anybooks", "--to", "kafka://h:1/t"], "not both"),
        (["x.csv"], "name a target with --to or --config, not both"),
    ],
)
def test_one_source_and_one_target(capsys, arguments, told):
    with pytest.raises(SystemExit):
        publish.main(arguments)
    assert told in capsys.readouterr().err


def test_a_target_is_checked_like_a_file(capsys):
    assert publish.main(["x.csv", "--to", "kafka://h/t"]) == 2
    assert (
        "kafka.bootstrap_servers: 'h' is not a broker; write host:port" in capsys.readouterr().err
    )
