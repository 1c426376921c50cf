#!/usr/bin/env bash
# Tests what runs on a device with the lowest and the newest packages that pyproject.toml allows, with tflite-runtime, and with
# every Python from 3.10 to 3.14 that this machine has. Exporting is tested without torch, which reads .pth files alone.
# Arguments are the parts to test (lowest newest tflite-runtime 3.10 …); without any, all.
set -euo pipefail
cd "$(dirname "$0")/.."
parts=" $* "
wanted() { [ "$parts" = "  " ] || [[ "$parts" == *" $1 "* ]]; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r . "$work/source"
rm -rf "$work/source/.venv" "$work/source/build"

# Without what looks at the repository instead of what runs.
mapfile -t runtime < <(ls tests/test_*.py | grep -vE '/test_(packaging|readme_ja|house|workflows|docs)\.py')
tested=("${runtime[@]}" tests/formats tests/engines tests/cli/test_predict.py tests/cli/test_info_doctor_export.py)
without_engine_files=(tests/test_decoding.py tests/test_hostile_photos.py tests/test_preprocessing.py tests/test_metadata.py tests/test_files.py tests/test_labels.py)
# Bit for bit with LiteRT's newest kernels and schema, older ones round some ties otherwise.
newest_kernels='test_int8_mean_is_bit_equal_even_in_ties and not test_the_tables_of_numbers_match_the_published_schema'
newest_kernels+=' and not test_mean_where_float32_factors_disagree'
tools=('pytest>=8' 'pytest-xdist>=3.5' 'hypothesis>=6.100')
emitters=(onnx safetensors flatbuffers matplotlib threadpoolctl)

environment() { # name, python, then what pip gets
  local name=$1 python=$2
  shift 2
  "$python" -m venv "$work/$name"
  "$work/$name/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
  "$work/$name/bin/python" -m pip list --format=freeze 2>/dev/null | grep -iE '^(numpy|pillow|ai-edge-litert|tflite-runtime|onnxruntime|onnx)=' | paste -sd' ' | sed "s/^/$name ($("$python" -V)): /"
}

run() { # name, then what pytest gets
  local name=$1
  shift
  # Not python -m pytest, which before 3.11 would take the source folder for the installed package.
  PYTHONSAFEPATH=1 "$work/$name/bin/pytest" -q -m 'not torch and not slow' -n "$(nproc)" -p no:cacheprovider "$@"
}

photo() { # name: the bundled model as a user runs it
  (cd "$work" && "$work/$1/bin/edge-effnet" predict "$work/source/examples/photos/chelsea.jpg" --top-k 1 | grep -qE 'tabby|cat' && "$work/$1/bin/edge-effnet" doctor >/dev/null)
}

if wanted lowest; then
  environment lowest python3 -c constraints/lowest.txt "$work/source[onnx]" "${emitters[@]}" "${tools[@]}"
  photo lowest
  run lowest "${tested[@]}" -k "not $newest_kernels"
  "$work/lowest/bin/python" -m pip install --quiet --no-deps numpy==1.23.2 ai-edge-litert==2.0.2
  photo lowest
  # LiteRT 2.0 writes to standard error by itself.
  run lowest "${without_engine_files[@]}" -k 'not goes_on_past_what_is_unreadable and not read_up_to_the_limit'
fi

if wanted newest; then
  environment newest python3 --upgrade "$work/source[onnx]" "${emitters[@]}" "${tools[@]}"
  photo newest
  run newest "${tested[@]}"
fi

if wanted tflite-runtime && python3 -c 'import sys; raise SystemExit(sys.version_info >= (3, 12))'; then
  environment tflite-runtime python3 "$work/source[tflite]" "${tools[@]}"
  "$work/tflite-runtime/bin/python" -m pip uninstall --quiet --yes ai-edge-litert
  photo tflite-runtime
  run tflite-runtime "${without_engine_files[@]}" -k 'not onnx'
fi

# The commands python3.10 … and those that pyenv keeps.
find_python() {
  if "python$1" -c '' 2>/dev/null; then command -v "python$1"; else ls "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/"python$1" 2>/dev/null | head -1; fi
}

for version in 3.10 3.11 3.12 3.13 3.14; do
  wanted "$version" || continue
  if [ "python$version" = "$(python3 -c 'import sys; print("python%d.%d" % sys.version_info[:2])')" ]; then continue; fi
  found=$(find_python "$version") || true
  if [ -z "$found" ]; then echo "python$version: not on this machine, not tested"; continue; fi
  environment "python$version" "$found" "$work/source[onnx]" "${emitters[@]}" "${tools[@]}"
  photo "python$version"
  run "python$version" "${runtime[@]}" tests/formats tests/engines/test_engines.py tests/cli/test_predict.py
done
