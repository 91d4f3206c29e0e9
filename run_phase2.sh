#!/usr/bin/env bash
# Phase 2, both tracks, for the final queries, with everything as phase 1 froze it: nothing is trained or fitted here.
#   ./run_phase2.sh [--data DIR] [--name NAME] [--recipe NAME|FILE] [--checkpoint FILE] [--set KEY=VALUE]...
# --recipe and --checkpoint are only compared with what phase 1 recorded; another one is refused.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/setup.sh"

data="" name="" asked=()
while [ $# -gt 0 ]; do
    case "$1" in -h | --help) isckit_usage; exit ;; esac
    [ $# -ge 2 ] || { echo "seen: $1 without a value; what to do: see $0 --help" >&2; exit 2; }
    case "$1" in
        --data) data=$(realpath -m "$2") ;;
        --name) name=$2 ;;
        --set) asked+=("$1" "$2") ;;
        --recipe) asked+=("$1" "$(if [ -f "$2" ]; then realpath "$2"; else echo "$2"; fi)") ;;
        --checkpoint) asked+=("$1" "$(realpath -m "$2")") ;;
        *) echo "seen: $1; allowed: --data --name --recipe --checkpoint --set --help" >&2; exit 2 ;;
    esac
    shift 2
done

isckit_setup requirements.txt
cd "$here"

if [ -z "$data" ]; then data=data/mini name=${name:-mini}; fi
name=${name:-ours_default}
submission=submissions/phase2/$name

isckit frozen --name "$name" ${asked[@]+"${asked[@]}"}
everywhere extract --name "$name" --data "$data" --sets references --sets final_queries
isckit descriptor --name "$name" --phase 2
isckit matching --name "$name" --phase 2 --data "$data"
isckit check "$submission" --data "$data"
isckit score "$submission" --data "$data"
isckit manifest --name "$name" --phase 2 --data "$data"
