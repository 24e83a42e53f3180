"""The file of the ingest command: what is refused, in which words."""

from __future__ import annotations

import pytest
import yaml

from ingest import postgres
from ingest.config import load_config
from ingest.statements import Statements
from pipeline.job_errors import JobFileError

RIGHT = {
    "ingest": "shop",
    "kafka": {"bootstrap_servers": "b:9092"},
    "target": {"kafka": {"topic": "sales"}},
    "postgres": {"table": "sales", "id": "transaction_id", "time": "event_time"},
}


def load(tmp_path, change):
    """The file with keys set by their path, or taken out."""
    data = yaml.safe_load(yaml.safe_dump(RIGHT))
    for path, value in change.items():
        *parents, last = path.split(".")
        node = data
        for parent in parents:
            node = node.setdefault(parent, {})
        if value is None:
            del node[last]
        else:
            node[last] = value
    file = tmp_path / "ingest.yaml"
    file.write_text(yaml.safe_dump(data))
    return load_config(file)


def test_defaults(tmp_path):
    config = load(tmp_path, {})
    assert (config.interval, config.start, config.batch_rows) == (60_000_000, "earliest", 20_000)
    assert (config.mark.table, config.mark.file) == ("tidewatch_ingest", None)
    assert (config.postgres.xid, config.postgres.source) == ("xid", "sales")


P = "postgres."
WRONG = [
    ({"ingest": "Shop!"}, "ingest: 'Shop!' is not allowed; name of the mark: lower-case"),
    ({"ingest": None}, "ingest: missing"),
    ({"kafka": None}, "target.kafka: needs brokers; name them in kafka.bootstrap_servers"),
    ({"kafka.bootstrap_servers": "b"}, "kafka.bootstrap_servers: 'b' is not a broker"),
    ({"kafka.properties": {"sasl.password": "x"}}, "is a secret, which the file may not hold"),
    ({"target.kafka": None}, "target: needs exactly one of: kafka, kinesis; got none"),
    ({"target.kinesis": {"stream": "s"}}, "exactly one of: kafka, kinesis; got kafka, kinesis"),
    ({"target.kafka.topic": "a b"}, "target.kafka.topic: 'a b' is not allowed; topic: letters"),
    ({P + "tabel": "x"}, "postgres: unknown key 'tabel'; did you mean 'table'?"),
    ({P + "id": None}, "postgres.id: missing; column that tells a row from all others"),
    ({P + "table": "a.b.c"}, "postgres.table: 'a.b.c' is not a table; write name or schema.name"),
    ({P + "table": None}, "postgres: needs exactly one of: table, query; got none"),
    (
        {P + "query": "SELECT 1"},
        "postgres: needs exactly one of: table, query; got table and query",
    ),
    ({P + "table": None, P + "query": "SELECT 1 ; "}, "postgres.query: ends in a semicolon"),
    ({P + "columns": ["a", "event_time"]}, "postgres.columns: lacks 'transaction_id', which id"),
    (
        {P + "columns": ["transaction_id", "event_time", "event_time"]},
        "postgres.columns[2]: 'event_time' is named twice",
    ),
    ({P + "connection": "host=h password=tide-5ecret"}, "postgres.connection: holds a password"),
    ({P + "connection": "postgresql://u:tide-5ecret@h/d"}, "postgres.connection: holds a password"),
    ({P + "connection": "hots=tide-5ecret"}, "postgres.connection: is not a connection string"),
    ({"mark": {"table": "m", "file": "f"}}, "mark: needs at most one of: table, file; got both"),
    (
        {"start": "yesterday"},
        "start: 'yesterday' is not allowed; write earliest, latest, or a time",
    ),
    ({"interval": "0s"}, "interval: must be longer than 0s"),
    ({"interval": 60}, "interval: 60 is not a duration; write a number and a unit"),
    ({"batch_rows": 0}, "batch_rows: must be 1 to 1e+07, got 0"),
]


@pytest.mark.parametrize(("change", "told"), WRONG, ids=[told[:50] for _, told in WRONG])
def test_a_mistake_is_one_line_that_names_the_place(tmp_path, change, told):
    with pytest.raises(JobFileError) as caught:
        load(tmp_path, change)
    (line,) = caught.value.mistakes
    assert line.startswith(f"{tmp_path / 'ingest.yaml'}: ")
    assert told in line
    assert "5ecret" not in line


def test_all_mistakes_come_at_once(tmp_path):
    with pytest.raises(JobFileError) as caught:
        load(tmp_path, {"ingest": 1, P + "id": 2, "interval": "x"})
    assert len(caught.value.mistakes) == 3


def test_an_empty_file_is_told_how_to_start(tmp_path, capsys):
    (tmp_path / "f").write_text("")
    assert postgres.main(["--config", str(tmp_path / "f")]) == 2
    assert "is empty; such a file starts with `ingest: <name>`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--from", "2026-01-01"], "--from and --to go together"),
        (["--from", "2026-01-01", "--to", "2026-01-02", "--once"], "without --once"),
        (["--from", "monday"], "'monday' is not a time; write it as 2026-01-31T00:00:00Z"),
        (["--restart_from", "monday"], "'monday' is not allowed; write earliest, latest"),
        (["--interval", "5"], "--interval"),
        (["--patience", "0s"], "must be longer than 0s"),
    ],
)
def test_wrong_options_are_told(capsys, options, told):
    with pytest.raises(SystemExit) as caught:
        postgres.main(["--config", "x", *options])
    assert caught.value.code == 2
    assert told in capsys.readouterr().err


def test_names_are_quoted_in_statements(tmp_path):
    odd = 'ta"ble'
    config = load(tmp_path, {P + "table": f"sch.{odd}", P + "xid": "x y"})
    text = Statements(config.postgres, ()).preparation()
    assert 'ALTER TABLE "sch"."ta""ble" ADD COLUMN "x y" xid8' in text
