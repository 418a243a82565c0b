#!/usr/bin/env bash
# Makes an environment with only the extra `inference`: prints its packages and its size, and runs `classify` in it.
#   bash benchmarks/runner/lean_install.sh MODEL.onnx
set -euo pipefail
model=$(realpath "${1:?name a model: bash benchmarks/runner/lean_install.sh MODEL.onnx}")
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv=$(command -v uv || echo .tools/bin/uv)

"$uv" build --quiet --wheel --out-dir "$folder" .
"$uv" venv --quiet --python .venv/bin/python "$folder/venv"
"$uv" pip install --quiet --python "$folder/venv" --constraint constraints.txt "$(ls "$folder"/*.whl)[inference]"
"$uv" pip list --quiet --python "$folder/venv" | tail -n +3
echo "size: $(du -sm "$folder/venv" | cut -f1) MB; the wheel: $(du -sk "$folder"/*.whl | cut -f1) kB"
"$folder/venv/bin/python" -c 'import torch' 2>/dev/null && { echo "torch is installed"; exit 1; } || echo "torch: not installed"
"$folder/venv/bin/pelagia" simulate "$folder/survey" --images 200 >/dev/null
"$folder/venv/bin/pelagia" classify "$model" "$folder/survey/manifest.csv" --out "$folder/out"
