# Sourced by every entry script: makes .venv beside this file and installs the pinned requirements, once.
# Uses uv where it is present, else pip. Set ISCKIT_PYTHON to choose the interpreter.

isckit_setup() {
    local here=$1 requirements=$2
    local stamp="$here/.venv/.isckit-$requirements"
    if [ -f "$stamp" ] && cmp -s "$here/$requirements" "$stamp"; then return; fi
    local python=${ISCKIT_PYTHON:-python3}
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "seen: $("$python" --version 2>&1); allowed: Python 3.11 or newer; what to do: set ISCKIT_PYTHON" >&2
        return 2
    }
    echo "setting up $here/.venv from $requirements (once)" >&2
    if command -v uv >/dev/null 2>&1; then
        [ -x "$here/.venv/bin/python" ] || uv venv --quiet --python "$(command -v "$python")" "$here/.venv"
        uv pip install --quiet --python "$here/.venv/bin/python" -r "$here/$requirements"
        uv pip install --quiet --python "$here/.venv/bin/python" --no-deps -e "$here"
    else
        [ -x "$here/.venv/bin/python" ] || "$python" -m venv "$here/.venv"
        "$here/.venv/bin/python" -m pip install --quiet -r "$here/$requirements"
        "$here/.venv/bin/python" -m pip install --quiet --no-deps -e "$here"
    fi
    cp "$here/$requirements" "$stamp"
}
