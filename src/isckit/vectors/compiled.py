"""Loops in machine code, where a library has none."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function in machine code that lets other threads run, kept on disk where there is a place for it.

    It may not be given NaN: without them a maximum takes eight values at a time.
    """
    make = partial(numba.njit, nogil=True, fastmath={"nnan", "nsz"})
    try:
        return make(cache=True)(function)
    except RuntimeError:  # neither the kit's folder nor the user's can be written: each process compiles
        return make()(function)
