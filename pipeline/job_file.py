"""A YAML file as a section: read, checked as a whole, every mistake named at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from pipeline.job_errors import JobFileError, mistakes_of
from pipeline.job_section import Section
from pipeline.job_yaml import read_yaml

Whole = TypeVar("Whole", bound=Section)


class FileSchema(GenerateJsonSchema):
    """A key that may be absent may not be null: the file has no null. No titles: keys say it."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Whether a key gets a title; none does."""
        return False

    def nullable_schema(self, schema: Any) -> JsonSchemaValue:
        """The schema of what may be absent: that of the value."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        """The schema of what has a default, which is left out where it is null."""
        if "default" in schema and schema["default"] is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)


def load_file(
    path: str | Path, section: type[Whole], schema: Callable[[], Mapping[str, Any]], beginning: str
) -> Whole:
    """The section that the file at ``path`` describes.

    Parameters
    ----------
    path : str or Path
        A YAML file.
    section : subclass of Section
        What the whole file is.
    schema : callable
        Its JSON Schema, for the messages; asked for only if there are mistakes.
    beginning : str
        What such a file starts with, in words, for the message on an empty one.

    Raises
    ------
    JobFileError
        With every mistake in the file, one line each.
    """
    data, mistakes = read_yaml(Path(path), beginning)
    whole = None
    try:
        whole = section.model_validate(data)
    except ValidationError as error:
        said = {place for place, _ in mistakes}
        mistakes += [each for each in mistakes_of(error, schema()) if each[0] not in said]
    if mistakes or whole is None:
        raise JobFileError(str(path), mistakes)
    return whole
