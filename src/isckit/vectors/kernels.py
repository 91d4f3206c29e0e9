"""faiss, with the kernels that its own BLAS has for this processor.

The wheel brings OpenBLAS 0.3.15, which takes processors younger than itself for the oldest it knows: measured on one
with AVX-512, an assignment to cells took 3.8 times as long. What a processor can is named here before faiss is loaded,
and the name is taken back, as other libraries and other processes have their own BLAS.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy  # noqa: F401  (loads its BLAS before a name is given)

_CORES = (("SKYLAKEX", {"avx512f", "avx512bw", "avx512dq", "avx512vl"}), ("HASWELL", {"avx2", "fma"}))
"""Names of OpenBLAS for sets of instructions, the best first."""
_VARIABLE = "OPENBLAS_CORETYPE"


def core_type(cpuinfo: str) -> str | None:
    """Return OpenBLAS's name for the best kernels that a processor runs, by /proc/cpuinfo; None for none of those."""
    flags = next((set(line.split()) for line in cpuinfo.splitlines() if line.startswith("flags")), set())
    return next((name for name, needed in _CORES if needed <= flags), None)


def _name_cores() -> str | None:
    """Name the kernels for what is loaded next, unless the user has; return the name."""
    cpuinfo = Path("/proc/cpuinfo")
    if sys.platform != "linux" or _VARIABLE in os.environ or not (name := core_type(cpuinfo.read_text())):
        return None
    os.environ[_VARIABLE] = name
    return name


_named = _name_cores()
import faiss  # noqa: E402

if _named:
    del os.environ[_VARIABLE]

__all__ = ["core_type", "faiss"]
