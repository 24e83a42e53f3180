"""Two operations on floats that LLVM turns into one vector instruction each, in any loop.

Numba's own `max` heeds NaN, which costs three instructions, and ``a * b + c`` is rounded twice, as
which of several products may be fused is left to the compiler. Here it is said, so the bits are
the same on every processor.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c``, rounded once."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), codegen


@intrinsic
def larger(typingctx: Any, a: Any, b: Any) -> Any:
    """``a`` if it is greater, else ``b``; so ``b`` if either is NaN."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *arguments), *arguments)

    return types.float64(types.float64, types.float64), codegen
