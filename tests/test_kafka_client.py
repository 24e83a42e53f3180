"""Options of Kafka clients, and that no secret gets out."""

from __future__ import annotations

import logging
import pickle
import sys
import types

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException

from transforms.io.kafka_client import KafkaCluster
from transforms.io.kafka_errors import Seldom, error_text

SERVERS = ("a.example:9092", "b.example:9092")
SECRET = "hunter2-" * 3


def options_of(cluster, monkeypatch):
    """What the client library is given."""
    given = []
    monkeypatch.setattr("transforms.io.kafka_client.Consumer", given.append)
    cluster.consumer("g")
    return given[0]


@pytest.mark.parametrize(
    "option",
    [
        "sasl.password",
        "ssl.key.password",
        "ssl.key.pem",
        "ssl.keystore.password",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.assertion.private.key.passphrase",
        "sasl.jaas.config",
    ],
)
def test_a_secret_among_the_properties_is_refused_without_showing_it(option):
    with pytest.raises(ValueError, match="put it under secrets") as refused:
        KafkaCluster(SERVERS, ((option, SECRET),))
    assert option in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("option", ["group.id", "auto.offset.reset", "enable.idempotence"])
def test_what_the_pipeline_sets_cannot_be_given(option):
    with pytest.raises(ValueError, match=f"{option} is set by the pipeline"):
        KafkaCluster(SERVERS, ((option, "x"),))


def test_a_cluster_needs_a_server():
    with pytest.raises(ValueError, match="at least one host:port"):
        KafkaCluster(())


def test_secrets_are_read_when_a_client_is_made(monkeypatch, tmp_path):
    (tmp_path / "key").write_text(SECRET + "\n")
    cluster = KafkaCluster(
        SERVERS,
        (("security.protocol", "SASL_SSL"), ("fetch.queue.backoff.ms", "7")),
        (("sasl.password", "TIDE_PASSWORD"), ("ssl.key.password", f"file:{tmp_path}/key")),
    )
    monkeypatch.setenv("TIDE_PASSWORD", "first")
    assert options_of(cluster, monkeypatch)["sasl.password"] == "first"
    monkeypatch.setenv("TIDE_PASSWORD", "second")
    options = options_of(cluster, monkeypatch)
    assert options["sasl.password"] == "second"
    assert options["ssl.key.password"] == SECRET
    assert options["security.protocol"] == "SASL_SSL"
    assert options["fetch.queue.backoff.ms"] == "7", "an option of the job goes before ours"
    assert options["bootstrap.servers"] == ",".join(SERVERS)


def test_a_secret_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("TIDE_PASSWORD", raising=False)
    by_name = KafkaCluster(SERVERS, (), (("sasl.password", "TIDE_PASSWORD"),))
    with pytest.raises(ValueError, match="environment variable TIDE_PASSWORD is not set"):
        by_name.consumer("g")
    by_file = KafkaCluster(SERVERS, (), (("sasl.password", f"file:{tmp_path}/none"),))
    with pytest.raises(ValueError, match="cannot be read from .*none: No such file"):
        by_file.consumer("g")


def test_no_secret_is_in_a_pickle_or_an_error(monkeypatch, caplog):
    monkeypatch.setenv("TIDE_PASSWORD", SECRET)
    # librdkafka quotes what it cannot take
    cluster = KafkaCluster(SERVERS, (), (("security.protocol", "TIDE_PASSWORD"),))
    assert SECRET.encode() not in pickle.dumps(cluster)
    assert SECRET not in repr(cluster)
    with pytest.raises(KafkaException, match=SECRET):
        Consumer({"group.id": "g", "security.protocol": SECRET})
    with pytest.raises(ValueError, match=r"does not take these options.*\*\*\*") as refused:
        cluster.consumer("g")
    error = refused.value
    while error is not None:
        assert SECRET not in str(error)
        error = error.__context__
    assert SECRET not in caplog.text


def test_an_option_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match='No such configuration property: "linger.msec"'):
        KafkaCluster(SERVERS, (("linger.msec", "5"),)).producer()


def test_msk_gets_a_token_of_its_region(monkeypatch):
    signer = types.ModuleType("aws_msk_iam_sasl_signer")
    signer.MSKAuthTokenProvider = types.SimpleNamespace(
        generate_auth_token=lambda region: (f"token of {region}", 1_700_000_900_000)
    )
    monkeypatch.setitem(sys.modules, signer.__name__, signer)
    cluster = KafkaCluster(SERVERS, msk_iam_region="eu-west-1")
    options = options_of(cluster, monkeypatch)
    assert options["oauth_cb"]("") == ("token of eu-west-1", 1_700_000_900.0)
    assert (options["security.protocol"], options["sasl.mechanisms"]) == ("SASL_SSL", "OAUTHBEARER")


def test_the_signer_signs_with_the_default_chain(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    cluster = KafkaCluster(SERVERS, msk_iam_region="eu-west-1")
    token, expires = options_of(cluster, monkeypatch)["oauth_cb"]("")
    assert token
    assert SECRET not in token
    assert 1_700_000_000 < expires < 5_000_000_000, "seconds, not milliseconds"


def test_the_same_trouble_is_told_once_in_a_while(caplog):
    now = [0.0]
    seldom = Seldom("topic t", lambda: now[0])
    with caplog.at_level(logging.WARNING):
        for second in range(61):
            now[0] = float(second)
            seldom(KafkaError(KafkaError._TRANSPORT))
    assert [record.message for record in caplog.records] == [
        "topic t: _TRANSPORT: Local: Broker transport failure; still trying"
    ] * 3


def test_an_error_has_kafkas_name_for_it():
    error = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    expected = "TOPIC_AUTHORIZATION_FAILED: Broker: Topic authorization failed"
    assert error_text(error) == error_text(KafkaException(error)) == expected
    assert error_text("plain") == "plain"
