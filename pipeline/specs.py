"""``{type, config}`` of a job file, after Beam's ``Spec``, held against frozen dataclasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from detectors.model import DETECTORS
from detectors.thresholds import THRESHOLDS
from pipeline.job_errors import Mistake, rule_broken, sentence_of, unknown_key


def model_parameters(type_name: str, config: Mapping[str, Any]) -> Any:
    """The frozen parameters of a detector in `DETECTORS`; raises like `build`.

    Parameters with a ``translate`` take other names too, those of what the detector goes back to.
    """
    parameters = DETECTORS[type_name].Parameters
    translate = getattr(parameters, "translate", dict)
    return build(parameters, translate(config))


def threshold_parameters(type_name: str, config: Mapping[str, Any]) -> Any:
    """The frozen parameters of a threshold in `THRESHOLDS`; raises like `build`."""
    return build(THRESHOLDS[type_name], config)


def build(parameters: type[Any], config: Mapping[str, Any]) -> Any:
    """An instance of the dataclass ``parameters`` from what a job file says.

    Raises
    ------
    pydantic.ValidationError
        Every unknown or missing key and every value of a wrong type.
    ValueError
        What the dataclass itself says against the values.
    """
    hints = get_type_hints(parameters)
    fields = {field.name: field for field in dataclasses.fields(parameters) if field.init}
    mistakes: list[Mistake] = []
    values: dict[str, Any] = {}
    for key, value in config.items():
        if key not in fields:
            mistakes.append(((), unknown_key(key, fields)))
            continue
        try:
            values[key] = _typed(value, hints[key])
        except ValidationError as error:
            mistakes.append(((key,), sentence_of(error.errors()[0], {})))
    mistakes += [
        ((name,), "missing")
        for name, field in fields.items()
        if field.default is field.default_factory is dataclasses.MISSING and name not in config
    ]
    if mistakes:
        raise rule_broken(*mistakes)
    return parameters(**values)


def _typed(value: Any, hint: Any) -> Any:
    adapter: TypeAdapter[Any] = TypeAdapter(hint, config=ConfigDict(allow_inf_nan=False))
    # YAML has lists only; a frozen dataclass has tuples
    return adapter.validate_python(
        tuple(value) if isinstance(value, list) else value,
        strict=True,
    )
