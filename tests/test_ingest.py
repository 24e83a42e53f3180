"""From a real PostgreSQL to a real Kafka broker, with crashes of all that can crash."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from examples.anybooks.sales import read_ground_truth
from ingest import aws_lambda, postgres, publish, sales
from ingest.config import load_config
from ingest.poller import Poller
from ingest.shop import open_shop
from ingest.table_marks import TableMarks
from runners.cluster.local_cluster import Cluster, Settings

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parent.parent
FILE = """\
ingest: {name}
kafka: {{bootstrap_servers: "{kafka}", properties: {{delivery.timeout.ms: 10000}}}}
target: {{kafka: {{topic: {name}}}}}
postgres:
  connection: "host={host} port={port} user={user} dbname=postgres"
  table: {name}
  id: transaction_id
  time: event_time
  key: product_name
batch_rows: 7
{more}
"""
NUMBERS = itertools.count(1)
NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("ingest"), Settings(parts=("kafka", "postgres"))) as up:
        yield up


class Shop:
    """A table of sales, a topic of the same name, and the file that leads from one to the other."""

    def __init__(self, cluster, folder, name, more="", user="postgres"):
        self.cluster, self.name = cluster, name
        self.file = folder / f"{name}.yaml"
        host, _, port = cluster.postgres.address.partition(":")
        self.connection = f"host={host} port={port} user=postgres dbname=postgres"
        self.write_file(more, user)
        self.db = open_shop(self.connection, name)
        self.db.autocommit = True
        topic = NewTopic(name, 1, 1)
        admin = AdminClient({"bootstrap.servers": cluster.kafka.address})
        admin.create_topics([topic])[name].result()
        self.messages = []
        self.consumer = Consumer(
            {"bootstrap.servers": cluster.kafka.address, "group.id": name, "fetch.wait.max.ms": 10}
        )
        self.consumer.assign([TopicPartition(name, 0, OFFSET_BEGINNING)])

    def write_file(self, more="", user="postgres"):
        host, _, port = self.cluster.postgres.address.partition(":")
        kafka = self.cluster.kafka.address
        text = FILE.format(name=self.name, kafka=kafka, host=host, port=port, user=user, more=more)
        self.file.write_text(text)

    def close(self):
        self.consumer.close()
        self.db.close()

    def connect(self):
        return psycopg.connect(self.connection, connect_timeout=5)

    def sell(self, connection=None, time=NOW, quantity=1):
        """Insert a sale; its ID."""
        query = (
            f"INSERT INTO {self.name} (event_time, product_name, quantity)"
            " VALUES (%s, 'item-A', %s) RETURNING transaction_id"
        )
        return (connection or self.db).execute(query, [time, quantity]).fetchone()[0]

    def run(self, *options):
        """The command, in this process."""
        return postgres.main(["--config", str(self.file), *options])

    def once(self):
        assert self.run("--once") == 0
        return self.drain()

    def drain(self):
        """IDs of what has come into the topic since, in its order."""
        end = self.consumer.get_watermark_offsets(TopicPartition(self.name, 0), timeout=10)[1]
        new = []
        while len(self.messages) < end:
            message = self.consumer.poll(10)
            assert message is not None and message.error() is None
            assert message.offset() == len(self.messages), "no gaps: nothing is transactional here"
            self.messages.append(json.loads(message.value()))
            new.append(self.messages[-1]["transaction_id"])
        return new

    def mark(self):
        query = "SELECT snapshot::text FROM tidewatch_ingest WHERE name = %s"
        return self.db.execute(query, [self.name]).fetchone()[0]

    def counted_as_published(self):
        """IDs of rows that the mark as it is now counts as published."""
        query = (
            f"SELECT transaction_id FROM {self.name}, tidewatch_ingest WHERE name = %s"
            " AND pg_visible_in_snapshot(xid, snapshot)"
        )
        with self.connect() as connection:
            return {row[0] for row in connection.execute(query, [self.name])}

    def committed(self):
        return [row[0] for row in self.db.execute(f"SELECT transaction_id FROM {self.name}")]


@pytest.fixture
def shop(cluster, tmp_path):
    made = Shop(cluster, tmp_path, f"shop{next(NUMBERS)}")
    yield made
    made.close()


# What is published, and when


def test_rows_are_json_with_their_id_and_come_once(shop):
    ids = [shop.sell(quantity=i) for i in (1, 2, 3)]
    assert shop.once() == ids
    assert shop.messages[0] == {
        "transaction_id": ids[0],
        "event_time": "2026-03-01T12:00:00+00:00",
        "product_name": "item-A",
        "quantity": 1,
    }
    assert shop.once() == []
    assert shop.once() == []
    assert [shop.sell()] == shop.once()


def test_a_late_commit_with_an_earlier_time_is_published(shop):
    with shop.connect() as late:
        held = shop.sell(late, NOW - dt.timedelta(seconds=90))
        prompt = [shop.sell() for _ in range(3)]
        assert min(prompt) > held
        assert shop.once() == prompt, "nobody waits for the open transaction"
        more = shop.sell()
        assert shop.once() == [more]
        late.commit()
    assert shop.once() == [held]
    assert shop.once() == []


def test_a_shop_is_opened_while_a_sale_is_open(shop):
    with shop.connect() as late:
        shop.sell(late)
        open_shop(f"{shop.connection} options='-c lock_timeout=3000'", shop.name).close()
        late.rollback()


def test_savepoints_and_rollbacks(shop):
    with shop.connect() as connection:
        first = shop.sell(connection)
        with pytest.raises(ZeroDivisionError), connection.transaction():
            shop.sell(connection)
            raise ZeroDivisionError
        with connection.transaction():
            nested = shop.sell(connection)
        between = shop.sell()
        assert shop.once() == [between]
        connection.commit()
        shop.sell(connection)
        connection.rollback()
    assert shop.once() == [first, nested]


def test_more_rows_than_a_batch_move_the_mark_step_by_step(shop):
    with shop.connect() as late, shop.connect() as bulk:
        held = shop.sell(late)
        singles = [shop.sell() for _ in range(20)]
        together = [shop.sell(bulk) for _ in range(20)]
        bulk.commit()
        assert shop.once() == singles + together
        late.commit()
    assert shop.once() == [held]
    assert shop.db.execute(
        "SELECT published FROM tidewatch_ingest WHERE name = %s", [shop.name]
    ).fetchone() == (41,)


@pytest.mark.parametrize("start", ["latest", "2026-03-01T12:00:00Z"])
def test_where_the_first_run_begins(cluster, tmp_path, start):
    shop = Shop(cluster, tmp_path, f"start{len(start)}", f"start: {start}")
    old = [shop.sell(time=NOW - dt.timedelta(hours=1)) for _ in range(9)]
    new = [shop.sell() for _ in range(9)]
    assert shop.once() == (new if start != "latest" else [])
    late = shop.sell(time=NOW - dt.timedelta(hours=2))
    assert shop.once() == [late], "what is committed later counts whatever its time"
    assert shop.run("--restart_from", "earliest") == 0
    assert shop.drain() == [*old, *new, late]
    shop.close()


def test_a_range_is_published_once_more_and_the_mark_stays(shop):
    hours = [shop.sell(time=NOW + dt.timedelta(hours=hour)) for hour in (3, 2, 1, 0)]
    assert shop.once() == hours
    mark = shop.mark()
    assert shop.run("--from", "2026-03-01T13:00:00Z", "--to", "2026-03-01T15:00:00") == 0
    assert shop.drain() == [hours[2], hours[1]], "in the order of their times, without the end"
    assert shop.mark() == mark
    assert shop.run("--from", "2026-03-01T13:00:00Z", "--to", "2026-03-01T13:00:00Z") == 2


def test_a_query_of_ones_own(shop):
    columns = 'xid, transaction_id AS n, event_time AS at, quantity * 1.50 AS "100%"'
    shop.file.write_text(
        f"ingest: q\nkafka: {{bootstrap_servers: '{shop.cluster.kafka.address}'}}\n"
        f"target: {{kafka: {{topic: {shop.name}}}}}\npostgres:\n  connection: {shop.connection}\n"
        f"  query: 'SELECT {columns} FROM {shop.name}'\n  id: n\n  time: at\n"
    )
    shop.sell(quantity=3)
    assert shop.run("--once") == 0
    message = shop.consumer.poll(10)
    assert message.value() == b'{"n":1,"at":"2026-03-01T12:00:00+00:00","100%":4.50}'
    assert message.key() is None


# Marks that do not fit


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("database = '1/1'", "restored from a dump"),
        ("source = 'other'", "rows that were committed before would be left out"),
        ("snapshot = '4000000000:4000000000:'", "is ahead of the database"),
    ],
)
def test_a_mark_that_does_not_fit_is_refused_until_restarted(shop, capsys, change, told):
    ids = [shop.sell()]
    assert shop.once() == ids
    shop.db.execute(f"UPDATE tidewatch_ingest SET {change} WHERE name = %s", [shop.name])
    ids.append(shop.sell())
    assert shop.run("--once") == 2
    error = capsys.readouterr().err
    assert told in error and "--restart_from" in error
    assert shop.drain() == []
    assert shop.run("--restart_from", "2026-03-01") == 0
    assert shop.drain() == ids
    assert shop.once() == []


def test_ids_of_another_cluster_are_refused(shop, capsys):
    shop.db.execute(f"INSERT INTO {shop.name} VALUES (DEFAULT, now(), 'item-A', 1, '4000000000')")
    assert shop.run("--once") == 2
    assert "yet to come here" in capsys.readouterr().err
    shop.db.execute(f"UPDATE {shop.name} SET xid = pg_current_xact_id()")
    assert len(shop.once()) == 1


def test_one_run_at_a_time(shop, capsys):
    shop.once()
    with shop.connect() as other:
        other.execute("SELECT FROM tidewatch_ingest WHERE name = %s FOR UPDATE", [shop.name])
        assert shop.run("--once") == 1
        assert "another run holds the mark" in capsys.readouterr().err


def test_a_reader_keeps_the_mark_in_a_file(shop, tmp_path, capsys):
    shop.db.execute(f"CREATE ROLE reader LOGIN; GRANT SELECT ON {shop.name} TO reader")
    shop.write_file(user="reader")
    assert shop.run("--once") == 2
    assert "keep the mark in a file" in capsys.readouterr().err
    kept = tmp_path / "state" / "mark.json"
    shop.write_file(f"mark: {{file: {kept}}}", user="reader")
    ids = [shop.sell() for _ in range(20)]
    assert shop.once() == ids
    assert shop.once() == []
    known = json.loads(kept.read_text())
    assert known["published"] == 20
    kept.write_text(json.dumps(known | {"timeline": 7}))
    assert shop.run("--once") == 2
    assert "timeline 7, now is 1: a failover" in capsys.readouterr().err
    kept.write_text("{")
    assert shop.run("--once") == 2
    assert shop.run("--restart_from", "latest") == 0
    assert shop.drain() == []
    assert [shop.sell()] == shop.once()


# What is set up wrongly


def test_wrong_columns_and_topics_are_named_before_anything_is_published(shop, capsys):
    text = shop.file.read_text()
    wrong = text.replace("time: event_time", "time: event_tim\n  xid: quantity")
    shop.file.write_text(wrong.replace("key: product_name", "columns: [transaction_id, event_tim]"))
    shop.sell()
    assert shop.run("--once") == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in lines] == [
        "postgres.time",
        "postgres.columns[1]",
        "postgres.xid",
    ]
    assert "did you mean 'event_time'?" in lines[0]
    assert "is not of type xid8" in lines[2]
    shop.file.write_text(text.replace(f"topic: {shop.name}", "topic: nowhere"))
    assert shop.run("--dry_run") == 2
    assert "target.kafka.topic: 'nowhere' is not a topic there" in capsys.readouterr().err
    shop.file.write_text(text.replace(f"table: {shop.name}", "table: nowhere"))
    assert shop.run("--dry_run") == 2
    assert 'postgres.table: relation "nowhere" does not exist' in capsys.readouterr().err


def test_the_printed_statements_make_a_table_fit(shop, capsys):
    shop.db.execute("CREATE TABLE plain (transaction_id serial, event_time timestamptz)")
    shop.db.execute("INSERT INTO plain (event_time) VALUES (now()), (now())")
    text = shop.file.read_text().replace(f"table: {shop.name}", "table: plain")
    shop.file.write_text(text.replace("key: product_name", ""))
    assert shop.run("--once") == 2
    assert "--show_sql prints what adds it" in capsys.readouterr().err
    assert shop.run("--show_sql") == 0
    for statement in capsys.readouterr().out.split(";")[:-1]:
        shop.db.execute(statement)
    assert shop.once() == [1, 2]


def test_nobody_answers_and_nobody_lets_in(shop, capsys):
    text = shop.file.read_text()
    port = shop.cluster.postgres.ports[0]
    shop.file.write_text(text.replace(f"port={port}", "port=1"))
    assert shop.run("--once", "--patience", "2s") == 1
    assert "Connection refused" in capsys.readouterr().err
    shop.file.write_text(text.replace("user=postgres", "user=nobody"))
    assert shop.run("--once") == 1
    assert 'role "nobody" does not exist' in capsys.readouterr().err


def test_brokers_that_are_away_are_waited_for_and_the_mark_stands(shop, caplog):
    shop.once()
    mark = shop.mark()
    shop.file.write_text(shop.file.read_text().replace("10000", "1500"))
    poller = Poller(load_config(shop.file), str(shop.file), threading.Event(), 60.0)
    poller.check()
    sold = shop.sell()
    broker = shop.cluster.kafka.process
    broker.suspend()
    marks = []
    back = threading.Timer(4, lambda: (marks.append(shop.mark()), broker.resume()))
    back.start()
    try:
        found = poller.look()
    finally:
        back.join()
        poller.close()
    assert found.rows == 1 and found.is_all
    assert "1 of 1 messages could not be written" in caplog.text
    assert marks == [mark]
    assert set(shop.drain()) == {sold}
    assert shop.once() == []


# Crashes


def test_a_crash_after_delivery_and_before_the_mark_repeats_the_batch(shop, monkeypatch, caplog):
    shop.once()
    ids = [shop.sell() for _ in range(3)]
    write = TableMarks.write

    def fail(*_):
        monkeypatch.setattr(TableMarks, "write", write)
        raise psycopg.OperationalError("the server closed the connection unexpectedly")

    monkeypatch.setattr(TableMarks, "write", fail)
    assert shop.once() == [*ids, *ids]
    assert "closed the connection unexpectedly; trying again" in caplog.text
    assert shop.once() == []


def write_at_random(shop, seed, stop):
    """Transactions of one to five rows that stay open for a while, some of them rolled back."""
    rng = random.Random(seed)
    while not stop.is_set():
        try:
            with shop.connect() as connection:
                while not stop.is_set():
                    for _ in range(rng.randint(1, 5)):
                        shop.sell(connection, dt.datetime.now(dt.UTC))
                        stop.wait(rng.random() * 0.02)
                    stop.wait(4.0 if rng.random() < 0.05 else rng.random() * 0.3)
                    (connection.rollback if rng.random() < 0.2 else connection.commit)()
        except psycopg.OperationalError:
            time.sleep(0.2)


def ingesting(shop):
    command = [sys.executable, "-m", "ingest.postgres", "--config", str(shop.file)]
    with (shop.file.parent / "log").open("ab") as log:
        return subprocess.Popen([*command, "--interval", "100ms"], cwd=ROOT, stderr=log)


def test_every_committed_transaction_is_published_whatever_crashes(shop):
    rng = random.Random(7)
    stop = threading.Event()
    writers = [threading.Thread(target=write_at_random, args=(shop, i, stop)) for i in range(6)]
    for writer in writers:
        writer.start()
    process = ingesting(shop)
    try:
        for crash in range(6):
            seen = len(shop.messages)
            deadline = time.monotonic() + 30
            while len(shop.messages) == seen and time.monotonic() < deadline:
                time.sleep(0.1)
                shop.drain()
            assert len(shop.messages) > seen, (shop.file.parent / "log").read_text()
            time.sleep(rng.random())
            if crash == 2:
                shop.cluster.postgres.kill()
                time.sleep(1)
                shop.cluster.postgres.start()
                shop.db.close()
                shop.db = psycopg.connect(shop.connection, autocommit=True)
            elif crash < 5:
                process.send_signal(signal.SIGKILL)
                process.wait()
                counted = shop.counted_as_published()
                shop.drain()
                assert counted <= {each["transaction_id"] for each in shop.messages}
                process = ingesting(shop)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    shop.drain()
    shop.once()
    published = Counter(each["transaction_id"] for each in shop.messages)
    committed = shop.committed()
    assert set(published) == set(committed)
    order = [each["transaction_id"] for each in shop.messages]
    assert any(a > b for a, b in zip(order, order[1:], strict=False)), "some came late"
    print(f"{len(committed)} committed, {sum(published.values()) - len(committed)} repeated")


def test_a_mark_in_a_file_knows_nothing_that_the_server_may_forget(shop, tmp_path):
    shop.write_file(f"mark: {{file: {tmp_path / 'mark.json'}}}")
    shop.db.execute("ALTER SYSTEM SET wal_writer_delay = '3s'")
    shop.db.execute("SELECT pg_reload_conf()")
    first = shop.sell()
    with shop.connect() as connection:
        shop.sell(connection)
        forgotten = connection.execute("SELECT pg_current_xact_id()::text").fetchone()
        connection.rollback()
    assert shop.once() == [first]
    shop.cluster.postgres.kill()
    shop.cluster.postgres.start()
    shop.db.close()
    shop.db = psycopg.connect(shop.connection, autocommit=True)
    shop.db.execute("ALTER SYSTEM RESET wal_writer_delay")
    shop.db.execute("SELECT pg_reload_conf()")
    again = shop.sell()
    assert shop.once() == [again], f"was {forgotten} given again?"


def test_a_standby_is_refused(shop, capsys):
    shop.sell()
    shop.db.close()
    server = shop.cluster.postgres
    server.stop()
    signal_file = server.folder / "data" / "standby.signal"
    signal_file.touch()
    try:
        server.start()
        assert shop.run("--once") == 2
        assert "connect to the primary" in capsys.readouterr().err
    finally:
        server.stop()
        signal_file.unlink()
        server.start()
    shop.db = psycopg.connect(shop.connection, autocommit=True)
    assert len(shop.once()) == 1


# AWS Lambda


class Call:
    def __init__(self, seconds):
        self.seconds = seconds

    def get_remaining_time_in_millis(self):
        return int(self.seconds * 1000)


def test_lambda_publishes_until_its_time_is_up(shop, monkeypatch):
    monkeypatch.setenv("INGEST_CONFIG", str(shop.file))
    ids = [shop.sell() for _ in range(30)]
    found = aws_lambda.handler({}, Call(9.0))  # less than is kept free: one batch at most
    assert found["is_all"] is False and 0 < found["rows"] < 30
    again = aws_lambda.handler({}, Call(60))
    assert again == {"rows": 30 - found["rows"], "is_all": True, "mark": shop.mark()}
    assert shop.drain() == ids
    with shop.connect() as other:
        other.execute("SELECT FROM tidewatch_ingest WHERE name = %s FOR UPDATE", [shop.name])
        assert aws_lambda.handler({}, Call(60)) == {"busy": True}


# The shop, and files


def test_past_sales_live_sales_and_a_spike_reach_the_topic(shop, tmp_path, capsys):
    where = ["--connection", shop.connection, "--table", shop.name]
    where += ["--truth", str(tmp_path / "truth.jsonl")]
    assert sales.main(["past", "--days", "3", "--until", "2026-03-01T00:10", *where]) == 0
    assert sales.main(["past", "--days", "1", "--until", "2026-03-01T00:00", *where]) == 2
    assert "sales in these days already" in capsys.readouterr().err
    fast = ["--start", "2026-03-01T00:10", "--speed", "60", "--for", "4m", "--late_share", "0.2"]
    assert sales.main(["live", *fast, *where]) == 0
    told = capsys.readouterr().out
    assert "of them committed late" in told
    assert sales.main(["spike", "--product", "item-B", "--minutes", "1", *where]) == 0
    assert sales.main(["spike", "--product", "item-C", *where]) == 2
    shop.file.write_text(shop.file.read_text().replace("batch_rows: 7", "batch_rows: 20000"))
    assert sorted(shop.once()) == sorted(shop.committed())
    minutes = Counter()
    for each in shop.messages:
        minutes[each["product_name"], each["event_time"][:16]] += each["quantity"]
    truth = read_ground_truth(tmp_path / "truth.jsonl")
    *injected, spike = truth
    assert injected
    for each in injected:
        assert minutes[each.product_name, each.start.isoformat()[:16]] == each.units[0]
    assert minutes["item-B", spike.start.isoformat()[:16]] == spike.units[0]
    live = [minute for product, minute in minutes if "2026-03-01T00:10" <= minute < "2026-03-01T01"]
    assert len(set(live)) == 4


def test_a_file_and_a_synthetic_stream_are_published(shop, tmp_path, capsys):
    to = ["--to", f"kafka://{shop.cluster.kafka.address}/{shop.name}"]
    file = tmp_path / "rooms.csv"
    file.write_text("transaction_id,room,celsius,code\n1,kitchen,21.010,007\n2,cellar,,x\n")
    assert publish.main([str(file), *to, "--key", "room", "--rate", "100"]) == 0
    assert "2 messages arrived, 0 were sent again" in capsys.readouterr().out
    message = shop.consumer.poll(10)
    assert message.key() == b"kitchen"
    expected = b'{"transaction_id":1,"room":"kitchen","celsius":21.010,"code":"007"}'
    assert message.value() == expected
    truth = tmp_path / "truth.jsonl"
    few = ["--synthetic", "left_discords", "--points", "3000", "--truth", str(truth)]
    assert publish.main([*few, *to]) == 0
    assert "3,000 messages arrived" in capsys.readouterr().out
    assert len(truth.read_text().splitlines()) == 5
    assert publish.main([str(file), "--to", f"{to[1]}-not-there"]) == 2
    assert "is not a topic there" in capsys.readouterr().err
    assert publish.main([str(file), "--to", "amqp://x"]) == 2
    assert os.path.exists(file)
