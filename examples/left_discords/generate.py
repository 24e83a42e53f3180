"""A stream of bare numbers for the left discord detector: synthetic, or a column of a CSV file.

The synthetic stream is a sine of period `PERIOD` with a harmonic and noise. After a learning part
some of its periods have an odd shape: *flat* (no movement), *inverted* (upside down), *doubled*
(twice the frequency), *sawtooth* or *bump* (a hump in the trough). They stay close to the usual
range: the shape tells, not the value. A kind that comes again is a discord only once the first
has been forgotten.

>>> numbers = generate(points=5000, seed=1)
>>> numbers.values.shape, numbers.odd_shapes[0].kind
((5000,), 'flat')

On the command line::

    python -m examples.left_discords.generate --output out/left_discords
    python -m examples.left_discords.generate --csv sensor.csv --column value --output out/sensor
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PERIOD = 50
LEARNING_PERIODS = 40
NOISE_SD = 0.05
KINDS = ("flat", "inverted", "doubled", "sawtooth", "bump")


@dataclass(frozen=True)
class OddShape:
    """Ground truth of one odd shape.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    first, last : int
        Numbers it covers, counted from 1 as the results' ``index`` is; both inclusive.
    """

    kind: str
    first: int
    last: int


@dataclass(frozen=True)
class Numbers:
    """A stream of numbers and its odd shapes.

    Attributes
    ----------
    values : float64[n]
        In stream order.
    odd_shapes : tuple of OddShape
        Ascending; empty for values from a file.
    """

    values: Floats
    odd_shapes: tuple[OddShape, ...] = ()


def generate(points: int = 5000, seed: int = 1, *, odd_shapes: int = 5) -> Numbers:
    """Synthetic numbers with odd shapes, of the kinds in turn.

    Parameters
    ----------
    points : int
        Length of the stream.
    seed : int
        Same seed, same numbers.
    odd_shapes : int
        Periods with an odd shape, all of them after ``LEARNING_PERIODS`` periods and with at
        least one usual period in between.

    Raises
    ------
    ValueError
        If a parameter is out of its range or the stream is too short for the odd shapes.
    """
    periods = points // PERIOD
    room = (periods - LEARNING_PERIODS) // 2
    if points < 1:
        raise ValueError(f"points must be >= 1, got {points}")
    if seed < 0:
        raise ValueError(f"seed must be >= 0, got {seed}")
    if not 0 <= odd_shapes <= max(room, 0):
        raise ValueError(
            f"odd_shapes must be from 0 to {max(room, 0)} in {points} points, got {odd_shapes}"
        )
    rng = np.random.default_rng(seed)
    values = _usual_shape(np.arange(points) / PERIOD)
    slots = np.sort(rng.permutation(max(room, 0))[:odd_shapes]).tolist()
    placed = []
    for index, slot in enumerate(slots):
        first = (LEARNING_PERIODS + 2 * slot) * PERIOD
        shape = OddShape(KINDS[index % len(KINDS)], first + 1, first + PERIOD)
        values[first : first + PERIOD] = _odd_shape(shape.kind)
        placed.append(shape)
    return Numbers(values + rng.normal(0.0, NOISE_SD, points), tuple(placed))


def read_column(path: Path, column: str) -> Numbers:
    """Numbers of one column of a CSV file with a header.

    Raises
    ------
    ValueError
        If the file has no such column, or a value of it is not a finite number; the message names
        the line.
    """
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if column not in (reader.fieldnames or ()):
            raise ValueError(f"column must be one of {reader.fieldnames} in {path}, got {column!r}")
        values = [_number(row[column], path, reader.line_num) for row in reader]
    return Numbers(np.array(values, np.float64))


def write(output: Path, numbers: Numbers) -> None:
    """Write ``numbers.txt``, one number a line, and ``ground_truth.jsonl``."""
    output.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{value!r}\n" for value in numbers.values.tolist())
    (output / "numbers.txt").write_text(lines, encoding="utf-8")
    truth = "".join(json.dumps(asdict(shape)) + "\n" for shape in numbers.odd_shapes)
    (output / "ground_truth.jsonl").write_text(truth, encoding="utf-8")


def _usual_shape(periods: Floats) -> Floats:
    return np.sin(2 * np.pi * periods) + 0.4 * np.sin(4 * np.pi * periods + 1.0)


def _odd_shape(kind: str) -> Floats:
    periods = np.arange(PERIOD) / PERIOD
    match kind:
        case "flat":
            return np.full(PERIOD, _usual_shape(np.zeros(1))[0])
        case "inverted":
            return -_usual_shape(periods)
        case "doubled":
            return _usual_shape(2 * periods)
        case "sawtooth":
            return np.linspace(-1.4, 1.0, PERIOD)
        case _:  # bump: in the trough, a tenth of a period wide
            return _usual_shape(periods) + 1.2 * np.exp(-(((periods - 0.7) / 0.1) ** 2))


def _number(text: str | None, path: Path, line: int) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{path}, line {line}: must be a finite number, got {text!r}")
    return value


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a stream of numbers and its ground truth into a folder."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.left_discords.generate",
        description="Write a stream of bare numbers: synthetic, or a column of a CSV file.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--points", type=int, default=5000, help="length of a synthetic stream")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same stream")
    parser.add_argument("--odd-shapes", type=int, default=5, help="odd shapes to put in")
    parser.add_argument("--csv", type=Path, help="take the numbers from this CSV file instead")
    parser.add_argument("--column", help="the CSV file's column", default="value")
    parser.add_argument("--output", type=Path, default=Path("out/left_discords"), help="folder")
    options = parser.parse_args(arguments)
    try:
        if options.csv is None:
            numbers = generate(options.points, options.seed, odd_shapes=options.odd_shapes)
        else:
            numbers = read_column(options.csv, options.column)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    write(options.output, numbers)
    print(
        f"{options.output}: {numbers.values.size:,} numbers, {len(numbers.odd_shapes)} odd shapes"
    )


if __name__ == "__main__":
    main()
