"""faiss is loaded with the BLAS kernels that this processor runs, and nothing else is told of them."""

import os
import subprocess
import sys

import pytest

from isckit.vectors.kernels import core_type

AVX2 = "flags\t\t: fpu sse avx avx2 fma bmi2"


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (AVX2, "HASWELL"),
        (f"{AVX2} avx512f avx512bw avx512dq avx512vl", "SKYLAKEX"),
        (f"{AVX2} avx512f", "HASWELL"),  # the first processors with AVX-512 lack the parts that the kernels need
        ("flags : fpu sse avx", None),
        ("Features : asimd", None),
    ],
)
def test_the_best_kernels_that_the_instructions_allow_are_named(flags, name):
    assert core_type(f"processor : 0\nmodel name : A\n{flags}\n\nprocessor : 1\n") == name


def test_a_name_that_the_user_gives_stands_and_ours_is_taken_back():
    code = "import os, isckit.vectors.kernels; print(os.environ.get('OPENBLAS_CORETYPE'))"
    for given in (None, "NEHALEM"):
        environment = {**os.environ, "OPENBLAS_CORETYPE": given} if given else dict(os.environ)
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == str(given)


def test_the_blas_of_faiss_runs_the_kernels_that_are_named():
    code = (
        "from isckit.vectors.kernels import core_type, faiss\n"
        "from pathlib import Path; from threadpoolctl import threadpool_info\n"
        "name = core_type(Path('/proc/cpuinfo').read_text())\n"
        "blas = [i for i in threadpool_info() if i['user_api'] == 'blas']\n"
        "used = [i['architecture'] for i in blas if 'faiss' in i['filepath']]\n"
        "assert name is None or [x.upper() for x in used] == [name], (name, used)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "OPENBLAS_CORETYPE"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
