#!/usr/bin/env bash
# Tests the source on whatever system and Python this is: Linux, macOS, or Windows' bash. Arguments go to pytest; without any,
# what runs on a device, the command line and the exporters' formats are tested. PYTHON says which Python.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-$(command -v python || command -v python3)}
"$python" -m venv "$work/venv"
bin="$work/venv/bin"
[ -d "$bin" ] || bin="$work/venv/Scripts" # Windows
# Torch reads .pth files alone, and is left out for its size.
"$bin/python" -m pip install --quiet --disable-pip-version-check '.[onnx]' onnx safetensors flatbuffers matplotlib threadpoolctl \
  'pytest>=8' 'pytest-xdist>=3.5' 'hypothesis>=6.100'
rm -rf build
[ $# -gt 0 ] || set -- -n auto tests/test_*.py tests/formats tests/engines tests/cli --ignore=tests/test_packaging.py --ignore=tests/test_readme_ja.py --ignore=tests/test_house.py --ignore=tests/test_workflows.py
PYTHONSAFEPATH=1 "$bin/pytest" -q -p no:cacheprovider -m 'not torch and not slow' "$@"
"$bin/edge-effnet" doctor
