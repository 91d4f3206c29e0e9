#!/usr/bin/env bash
# The test command: lint, types, tests. Extra arguments go to pytest, e.g. tests/run.sh -k scorer
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$here/setup.sh"
isckit_setup requirements-dev.txt
cd "$here"
.venv/bin/python -m ruff format --check --quiet src tests benchmarks examples
.venv/bin/python -m ruff check src tests benchmarks examples
.venv/bin/python -m mypy
exec .venv/bin/python -m pytest -n 2 "$@"
