"""Vectors of eight floats, for kernels that say themselves what is done eight at a time.

LLVM makes each operation one instruction where the processor has vectors of 512 bits, and two or
four where they are shorter. The bits are the same everywhere: every element is rounded as
`detectors._lanes` rounds it.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

WIDTH = 8
_FLOATS = ir.VectorType(ir.DoubleType(), WIDTH)


class Vector(types.Type):
    """Numba's type of a vector."""

    def __init__(self) -> None:
        super().__init__(name=f"Vector({WIDTH})")


VECTOR = Vector()


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, _FLOATS)


def _address(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
    return builder.bitcast(builder.gep(data, [arguments[1]]), _FLOATS.as_pointer())


@intrinsic
def load(typingctx: Any, array: Any, start: Any) -> Any:
    """``array[start : start + WIDTH]`` of a contiguous float64 array; not checked."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        loaded = builder.load(_address(context, builder, signature, arguments))
        loaded.align = 8
        return loaded

    return VECTOR(array, types.intp), codegen


@intrinsic
def store(typingctx: Any, array: Any, start: Any, vector: Any) -> Any:
    """``array[start : start + WIDTH] = vector``; not checked."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        stored = builder.store(arguments[2], _address(context, builder, signature, arguments))
        stored.align = 8
        return context.get_dummy_value()

    return types.void(array, types.intp, VECTOR), codegen


@intrinsic
def spread(typingctx: Any, value: Any) -> Any:
    """A vector of ``value`` alone."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = ir.IntType(32)
        empty = ir.Constant(_FLOATS, ir.Undefined)
        one = builder.insert_element(empty, arguments[0], ir.Constant(number, 0))
        first = ir.Constant(ir.VectorType(number, WIDTH), [0] * WIDTH)
        return builder.shuffle_vector(one, empty, first)

    return VECTOR(types.float64), codegen


@intrinsic
def product(typingctx: Any, a: Any, b: Any) -> Any:
    """``a * b``."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fmul(*arguments)

    return VECTOR(VECTOR, VECTOR), codegen


def _fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    kind = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{WIDTH}f64")
    return builder.call(function, (a, b, c))


@intrinsic
def product_plus(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c``, rounded once."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _fused(builder, *arguments)

    return VECTOR(VECTOR, VECTOR, VECTOR), codegen


@intrinsic
def product_minus(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b - c``, rounded once."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, b, c = arguments
        return _fused(builder, a, b, builder.fneg(c))

    return VECTOR(VECTOR, VECTOR, VECTOR), codegen


@intrinsic
def larger_of(typingctx: Any, a: Any, b: Any) -> Any:
    """Of each two elements that of ``a`` if it is greater, else that of ``b``."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *arguments), *arguments)

    return VECTOR(VECTOR, VECTOR), codegen


@intrinsic
def transpose(
    typingctx: Any, source: Any, start: Any, step: Any, target: Any, at: Any, stride: Any
) -> Any:
    """``target[at + k * stride + l] = source[start + l * step + k]`` for all k, l < WIDTH."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, start, step, target, at, stride = arguments
        rows = []
        for k in range(WIDTH):
            place = builder.add(start, builder.mul(step, step.type(k)))
            kinds = types.void(signature.args[0], types.intp)
            rows.append(builder.load(_address(context, builder, kinds, (source, place))))
            rows[-1].align = 8
        distance = WIDTH // 2
        while distance:
            rows = _swapped(builder, rows, distance)
            distance //= 2
        for k, row in enumerate(rows):
            place = builder.add(at, builder.mul(stride, stride.type(k)))
            kinds = types.void(signature.args[3], types.intp)
            stored = builder.store(row, _address(context, builder, kinds, (target, place)))
            stored.align = 8
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, target, types.intp, types.intp), codegen


def _swapped(builder: Any, rows: list[Any], distance: int) -> list[Any]:
    """One step of a transposition: of rows so far apart, the off-diagonal squares of that size."""
    found = list(rows)
    number = ir.IntType(32)
    for k in range(WIDTH):
        if k & distance:
            continue
        near = [c if not c & distance else WIDTH + c - distance for c in range(WIDTH)]
        far = [c + distance if not c & distance else WIDTH + c for c in range(WIDTH)]
        for row, mask in ((k, near), (k + distance, far)):
            chosen = ir.Constant(ir.VectorType(number, WIDTH), mask)
            found[row] = builder.shuffle_vector(rows[k], rows[k + distance], chosen)
    return found
