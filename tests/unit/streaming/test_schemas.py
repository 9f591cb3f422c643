"""The Spark schemas say what the contracts say, and every column of a table explains itself."""

from __future__ import annotations

import types
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from pyspark.sql import types as spark

from sightline.contracts import Alert, CameraEvent, DeadLetter, Frame, Inspection, OperatorAction, ShadowInspection
from streaming import schemas
from streaming.tables import GOLD, TABLES, documented_columns

PLAIN = {
    str: spark.StringType(),
    int: spark.LongType(),
    float: spark.DoubleType(),
    bytes: spark.BinaryType(),
    datetime: spark.TimestampType(),
}


def spark_type(kind: Any) -> spark.DataType:
    """The Spark type of a contract's field type."""
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = (option for option in get_args(kind) if option is not type(None))
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        if get_origin(item) is tuple:  # headers: pairs of a name and bytes
            key, value = get_args(item)
            pair = [spark.StructField("key", spark_type(key)), spark.StructField("value", spark_type(value))]
            return spark.ArrayType(spark.StructType(pair))
        return spark.ArrayType(spark_type(item))
    if is_dataclass(kind):
        return struct_of(kind)
    if issubclass(kind, StrEnum):
        return spark.StringType()
    return PLAIN[kind]


def struct_of(contract: type) -> spark.StructType:
    hints = get_type_hints(contract)
    return spark.StructType(
        [
            spark.StructField(field.name, spark_type(hints[field.name]), type(None) in get_args(hints[field.name]))
            for field in fields(contract)
        ]
    )


def shape(kind: spark.DataType) -> Any:
    """A type without its comments, as nested tuples; the items of arrays are as strict as their writers."""
    if isinstance(kind, spark.StructType):
        return tuple((field.name, field.nullable, shape(field.dataType)) for field in kind.fields)
    if isinstance(kind, spark.ArrayType):
        return [tuple((n, t) for n, _, t in shape(kind.elementType))]
    return kind.simpleString()


@pytest.mark.parametrize(
    ("schema", "contract"),
    [
        (schemas.INSPECTION, Inspection),
        (schemas.SHADOW_INSPECTION, ShadowInspection),
        (schemas.ALERT, Alert),
        (schemas.OPERATOR_ACTION, OperatorAction),
        (schemas.CAMERA_EVENT, CameraEvent),
        (schemas.DEAD_LETTER, DeadLetter),
    ],
)
def test_schema_mirrors_contract(schema: spark.StructType, contract: type) -> None:
    assert shape(schema) == shape(struct_of(contract))


def test_an_archived_frame_has_the_fields_of_the_frame_and_its_verdict() -> None:
    archived = {field.name: field.dataType for field in schemas.ARCHIVED_FRAME.fields}
    frame = {field.name: field.dataType for field in struct_of(Frame).fields}
    assert archived == frame | {"inspection_id": spark.StringType(), "verdict": spark.StringType()}


@pytest.mark.parametrize("table", [*TABLES.values(), *GOLD.values()], ids=lambda table: table.name)
def test_a_table_is_its_contract_and_the_day_and_a_key(table: Any) -> None:
    names = table.schema.names
    assert names[-1] == "day"
    assert set(table.key) <= set(names)
    assert table.event_time in names
    assert all(field.nullable for field in table.schema.fields)


def test_every_column_of_every_table_is_documented() -> None:
    rows = list(documented_columns())
    assert {row.table for row in rows} == TABLES.keys() | GOLD.keys()
    undocumented = [f"{row.table}.{row.column}" for row in rows if not row.comment]
    assert undocumented == []
    found = {(row.table, row.column): row.type for row in rows}
    assert found["inspections", "detector.version"] == "string"
    assert found["inspections", "regions[].peak"] == "double"
    assert found["dead_letters", "headers[].value"] == "binary"
