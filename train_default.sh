#!/usr/bin/env bash
# Make the default model again: trained and fitted on the train images of DIR, and on no others.
#   ./train_default.sh --data DIR [--root DIR]
# It comes to stand in ROOT/checkpoints/default (ROOT: build), with the files that checkpoints/default has.
# The same command goes on where an interrupted one stopped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/setup.sh"

data="" root=build
while [ $# -gt 0 ]; do
    case "$1" in -h | --help) isckit_usage; exit ;; esac
    [ $# -ge 2 ] || { echo "seen: $1 without a value; what to do: see $0 --help" >&2; exit 2; }
    case "$1" in
        --data) data=$(realpath -m "$2") ;;
        --root) root=$(realpath -m "$2") ;;
        *) echo "seen: $1; allowed: --data --root --help" >&2; exit 2 ;;
    esac
    shift 2
done
[ -n "$data" ] || { echo "seen: no --data; what to do: name a folder with train images, see $0 --help" >&2; exit 2; }

isckit_setup requirements.txt
cd "$here"

everywhere train --root "$root" --name ours --data "$data" --recipe ours
everywhere train --root "$root" --name default --recipe ours_default --checkpoint "$root/checkpoints/ours/weights.safetensors"
everywhere extract --root "$root" --name default --data "$data" --sets train
isckit fit --root "$root" --name default
