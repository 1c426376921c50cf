#!/usr/bin/env bash
# Installs the project's wheel into an emulated ARMv7 Python and compares `predict` there with `predict` here.
# Usage: run.sh PHOTO…        (default: examples/photos)
# Environment: ARM32_HOME (setup.sh's folder), PYTHON (a Python with this project installed and able to build it),
#              MODEL (default: the bundled one), ENGINE (of the guest, default auto).
# Exit status 1 when a label differs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
project=$(cd "$here/../.." && pwd)
home=${ARM32_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/edge-effnet-arm32/trixie}
export ARM32_HOME=$home
python=${PYTHON:-python3}
photos=("${@:-$project/examples/photos}")
model=(); [ -n "${MODEL:-}" ] && model=(--model "$MODEL")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git -C "$project" archive HEAD | tar -x -C "$work" --one-top-level=source   # a clean tree: nothing is left in the project
"$python" -m pip wheel --quiet --no-deps --wheel-dir "$work" "$work/source"
# pip in the guest, without an index: what the wheel asks for on this platform must be what Debian's packages bring.
"$here/arm32-python" -m pip install --quiet --no-index --break-system-packages --prefix "$work/guest" --no-warn-script-location "$work"/edge_effnet-*.whl
site=$(find "$work/guest" -type d -name '*-packages' | head -1)

PYTHONPATH=$site "$here/arm32-python" -m edge_effnet predict "${photos[@]}" "${model[@]}" --engine "${ENGINE:-auto}" --format json > "$work/arm.json"
"$python" -m edge_effnet predict "${photos[@]}" "${model[@]}" --format json > "$work/here.json"
"$python" "$here/compare.py" "$work/here.json" "$work/arm.json"
