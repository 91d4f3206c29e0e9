# Sourced by every entry script, with $here set to this folder. isckit_setup makes .venv beside this file and installs the
# pinned requirements, once for all their files as they are; isckit_usage prints the head of the script; isckit and
# everywhere run a verb.
# Uses uv where it is present, else pip. Set ISCKIT_PYTHON to choose the interpreter.

isckit_pins() { cat "$here/requirements.txt" "$here/constraints.txt" "$here/$1" "$here/pyproject.toml"; }

isckit_setup() { # requirements file
    local requirements=$1 constraints="$here/constraints.txt"
    local stamp="$here/.venv/.isckit-$requirements" python=${ISCKIT_PYTHON:-python3} venv="$here/.venv/bin/python"
    if isckit_pins "$requirements" | cmp -s - "$stamp"; then return; fi
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "seen: $("$python" --version 2>&1); allowed: Python 3.11 or newer; what to do: set ISCKIT_PYTHON" >&2
        return 2
    }
    echo "setting up $here/.venv from $requirements (once)" >&2
    if command -v uv >/dev/null 2>&1; then
        [ -x "$venv" ] || uv venv --quiet --python "$(command -v "$python")" "$here/.venv"
        uv pip install --quiet --python "$venv" -r "$here/$requirements" -c "$constraints"
        uv pip install --quiet --python "$venv" --no-deps -e "$here"
    else
        [ -x "$venv" ] || "$python" -m venv "$here/.venv"
        "$venv" -m pip --version >/dev/null 2>&1 || "$venv" -m ensurepip >/dev/null # an environment made by uv has no pip
        "$venv" -m pip install --quiet -r "$here/$requirements" -c "$constraints"
        "$venv" -m pip install --quiet --no-deps -e "$here"
    fi
    isckit_pins "$requirements" >"$stamp"
}

isckit_usage() { sed -n -e '1d' -e '/^#/!q' -e 's/^# \{0,1\}//p' "$0"; }

isckit() { "$here/.venv/bin/isckit" "$@"; }

everywhere() { # on every GPU of the machine where there are several
    local gpus
    gpus=$(nvidia-smi -L 2>/dev/null | wc -l || true)
    if [ "$gpus" -gt 1 ]; then
        "$here/.venv/bin/torchrun" --standalone --nproc-per-node "$gpus" -m isckit "$@"
    else
        isckit "$@"
    fi
}
