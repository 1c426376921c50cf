#!/usr/bin/env bash
# Builds the wheel and the source archive into dist/, checks both, installs each alone in an empty environment, and uses it.
# PYTHON says which Python (default: python3).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
root=$PWD
empty=$(mktemp -d)
trap 'rm -rf "$empty"' EXIT

environment() { # name, then what pip installs there
  "$python" -m venv "$empty/$1"
  bin="$empty/$1/bin"
  [ -d "$bin" ] || bin="$empty/$1/Scripts" # Windows
  "$bin/python" -m pip install --quiet --disable-pip-version-check "${@:2}"
}

rm -rf build dist
environment tools 'build>=1.2' 'twine>=6' 'check-wheel-contents>=0.6.1'
"$bin/python" -m build --outdir dist .
rm -rf build
"$bin/twine" check --strict dist/*
# W004: the browser page's parts and the emulated board's are no modules; W002: two empty files are the same.
"$bin/check-wheel-contents" --ignore W002,W004 dist/*.whl

use() { # the environment's programs on photos, outside of the source
  cp "$root"/examples/photos/*.jpg "$empty/"
  cd "$empty"
  for expected in 'chelsea:cat' 'coffee:espresso|cup' 'rocket:missile|projectile'; do
    photo=${expected%%:*}.jpg
    label=$("$bin/edge-effnet" predict "$photo" --top-k 1)
    echo "$label"
    grep -qE "${expected#*:}" <<<"$label" || { echo "package: $photo should be ${expected#*:}"; exit 1; }
  done
  "$bin/edge-effnet" doctor
  "$bin/python" -c 'import sys, edge_effnet; assert not {"torch", "onnx", "PIL", "flatbuffers"} & set(sys.modules)'
  cd "$root"
}

for file in dist/*.whl dist/*.tar.gz; do
  environment "alone-${file##*.}" "$file"
  use
done
