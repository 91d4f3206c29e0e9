#!/usr/bin/env bash
# Phase 1, both tracks, from images to scored, checked and frozen submissions.
#   ./run_phase1.sh [--data DIR] [--recipe NAME|FILE] [--name NAME] [--checkpoint FILE] [--set KEY=VALUE]... [--setup-only]
# A recipe's FILE is .yaml or .json (`extends: NAME` and the values that differ), or .py, which is run. Without --name the
# run is called as the recipe, or as its file.
# Without --data it makes and uses the built-in mini set. Without --recipe and --checkpoint nothing is trained: the default
# model describes and matches. The same command goes on where an interrupted one stopped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/setup.sh"

data="" recipe="" name="" checkpoint="" settings=()
while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help) isckit_usage; exit ;;
        --setup-only) isckit_setup requirements.txt; exit ;;
        --data | --recipe | --name | --checkpoint | --set)
            [ $# -ge 2 ] || { echo "seen: $1 without a value; what to do: see $0 --help" >&2; exit 2; }
            case "$1" in
                --data) data=$(realpath -m "$2") ;;
                --recipe) recipe=$(if [ -f "$2" ]; then realpath "$2"; else echo "$2"; fi) ;;
                --name) name=$2 ;;
                --checkpoint) checkpoint=$(realpath -m "$2") ;;
                --set) settings+=(--set "$2") ;;
            esac
            shift 2 ;;
        *) echo "seen: $1; allowed: --data --recipe --name --checkpoint --set --setup-only --help" >&2; exit 2 ;;
    esac
done

isckit_setup requirements.txt
cd "$here"

if [ -z "$data" ]; then
    data=data/mini name=${name:-mini}
    isckit data synthetic --out "$data"
fi
if [ -z "$recipe$checkpoint" ]; then checkpoint=checkpoints/default/weights.safetensors; fi
recipe=${recipe:-ours_default} own=${recipe##*/}
if [ -f "$recipe" ]; then own=${own%.*}; fi
name=${name:-$own}
submission=submissions/phase1/$name

isckit doctor --data "$data" --decode none
everywhere train --name "$name" --data "$data" --recipe "$recipe" ${checkpoint:+--checkpoint "$checkpoint"} ${settings[@]+"${settings[@]}"}
everywhere extract --name "$name" --data "$data" --sets train --sets references --sets queries
isckit fit --name "$name"
isckit descriptor --name "$name" --phase 1
isckit matching --name "$name" --phase 1 --data "$data"
isckit freeze --name "$name"
isckit check "$submission" --data "$data"
isckit score "$submission" --data "$data"
isckit manifest --name "$name" --phase 1 --data "$data"
