"""Flattening: JSON records into columns, one a dimension."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms import schema
from transforms.flatten import table_of

ZEROS = {pa.string(): "", pa.float64(): 0.5, pa.int64(): 7, pa.bool_(): False}


def record_of(record=schema.RESULT, dimensions=(), **values):
    """A record with a value in each field that may not be null."""
    plain = {field.name: ZEROS.get(field.type) for field in record}
    plain["dimensionList"] = [{"name": name, "value": value} for name, value in dimensions]
    plain |= {field.name: None for field in record if field.nullable}
    return plain | values


def lines_of(*records):
    return b"\n".join(json.dumps(record).encode() for record in records)


def test_the_columns_are_the_fields_with_one_a_dimension_in_their_place():
    table = table_of(
        lines_of(record_of(dimensions=[("product", "A"), ("shop", "B")])),
        schema.RESULT,
        ("product", "shop"),
    )
    place = schema.RESULT.names.index("dimensionList")
    expected = schema.RESULT.names
    expected[place : place + 1] = ["product", "shop"]
    assert table.column_names == expected
    assert table.schema == schema.flat(schema.RESULT, ("product", "shop"))
    assert (table["product"].to_pylist(), table["shop"].to_pylist()) == (["A"], ["B"])


def test_detectors_with_other_dimensions_leave_nulls():
    table = table_of(
        lines_of(
            record_of(detectorName="one", dimensions=[("product", "A")]),
            record_of(detectorName="two", dimensions=[("shop", "B"), ("product", "C")]),
            record_of(detectorName="three"),
        ),
        schema.RESULT,
        ("product", "shop"),
    )
    assert table["detectorName"].to_pylist() == ["one", "two", "three"]
    assert table["product"].to_pylist() == ["A", "C", None]
    assert table["shop"].to_pylist() == [None, "B", None]


def test_a_job_without_dimensions_has_no_column_for_them():
    table = table_of(lines_of(record_of(), record_of()), schema.RESULT, ())
    assert "dimensionList" not in table.column_names
    assert table.num_rows == 2


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (["product"], ["product"]),
        (["date"], ["dimension_date"]),
        (["measure", "Imputed"], ["dimension_measure", "dimension_Imputed"]),
        (["date", "dimension_date"], ["dimension_date", "dimension_dimension_date"]),
        (["region", "Region"], ["region", "dimension_Region"]),
        (["dimension_date", "date"], ["dimension_date", "dimension_dimension_date"]),
    ],
)
def test_a_name_that_is_taken_gets_another_column(names, columns):
    assert list(schema.dimension_columns(schema.RESULT, names).values()) == columns
    pairs = [(name, f"value of {name}") for name in names]
    table = table_of(lines_of(record_of(dimensions=pairs)), schema.RESULT, names)
    assert [table[column].to_pylist() for column in columns] == [[value] for _, value in pairs]


NAMES = st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12
) | st.sampled_from([*schema.RESULT.names, "date", "dimension_date", "DATE"])


@given(st.lists(NAMES, unique=True, max_size=6))
def test_columns_never_clash_whatever_the_case(names):
    columns = schema.flat(schema.RESULT, names).names
    assert len({column.lower() for column in columns} | {"date"}) == len(columns) + 1


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=4))
def test_a_dimensions_value_is_kept_whatever_it_is(values):
    records = [record_of(dimensions=[("p", value)]) for value in values]
    assert table_of(lines_of(*records), schema.RESULT, ["p"])["p"].to_pylist() == values


def test_nulls_and_numbers_are_kept():
    table = table_of(
        lines_of(
            record_of(rawScore=None, attribution=None, anomalyDecisionThreshold=70),
            record_of(rawScore=0.1, attribution=[0.25, 0.75], processedDataPoints=2**53 + 1),
        ),
        schema.RESULT,
        (),
    )
    assert table["rawScore"].to_pylist() == [None, 0.1]
    assert table["attribution"].to_pylist() == [None, [0.25, 0.75]]
    assert table["anomalyDecisionThreshold"].to_pylist() == [70.0, None]
    assert table["processedDataPoints"].to_pylist() == [7, 2**53 + 1]


def test_a_field_that_the_schema_lacks_is_refused():
    with pytest.raises(pa.ArrowInvalid, match="unexpected field"):
        table_of(lines_of(record_of(surplus=1)), schema.RESULT, ())


def test_dead_letters_have_no_dimensions():
    letter = {field.name: ZEROS[field.type] for field in schema.DEAD_LETTER} | {"position": 3}
    table = table_of(lines_of(letter), schema.DEAD_LETTER, ("product",))
    assert table.column_names == schema.DEAD_LETTER.names
    assert table["position"].to_pylist() == [3]
