#!/usr/bin/env bash
# The whole loop on simulated images, with the commands that a user would type. `make demo` runs it.
# Everything that it makes is in demo/. What an earlier run made is moved aside, labels included.
set -euo pipefail

demo=demo
project="Pelagia demo"
unset LABEL_STUDIO_URL LABEL_STUDIO_API_KEY LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT  # never a server of your institute
export PELAGIA_STUDIO_HOME="$PWD/$demo/studio"

step() { printf '\n\033[1m[%3ds] %s\033[0m\n' "$SECONDS" "$1"; }
stop() { pelagia studio stop >/dev/null 2>&1 || true; }

if [ -d "$demo" ]; then
    stop
    mv "$demo" "$demo-until-$(date +%Y%m%d-%H%M%S)"
fi
trap stop EXIT
mkdir "$demo"

step "Draw simulated images of plankton from 64 stations"
pelagia simulate "$demo/survey" --images 2400 --stations 64 --seed 1

step "Start Label Studio"
pelagia studio start

step "Push the images"
pelagia label push "$demo/survey/manifest.csv" --project "$project" --taxonomy "$demo/survey/taxonomy.yaml" |
    tee "$demo/push.txt"
address=$(sed -n 's/^label them at //p' "$demo/push.txt")
port=$(sed -E 's|.*:([0-9]+)/.*|\1|' <<<"$address")

step "Label them through the API, as a biologist would on the page"
pelagia label submit "$demo/survey/truth.csv" --project "$project"

step "Pull the labels as a dataset"
pelagia label pull --project "$project" --group-column station --out "$demo/dataset"

step "Train"
pelagia train configs/training/tiny_cpu.yaml --set "dataset=$demo/dataset" --no-export --out "$demo/run"

step "Export, with the parity check; the stations of the validation split say how counts are corrected"
pelagia export "$demo/run" --out "$demo/model.onnx"

step "Draw images from other stations, and classify them"
pelagia simulate "$demo/new_survey" --images 1200 --seed 2
pelagia classify "$demo/model.onnx" "$demo/new_survey/manifest.csv" --out "$demo/predictions"

step "Measure the model on these stations, which it has not seen"
pelagia dataset import "$demo/new_survey" --manifest "$demo/new_survey/truth.csv" --group-column station \
    --taxonomy "$demo/new_survey/taxonomy.yaml" --out "$demo/new_dataset" >/dev/null
pelagia evaluate "$demo/model.onnx" "$demo/new_dataset" --split all --out "$demo/evaluation"

step "Count the organisms of these stations, beside what was drawn"
pelagia counts "$demo/predictions" --by station --out "$demo/counts.csv"
"$(dirname "$(command -v pelagia)")/python" scripts/counts_beside_truth.py "$demo/counts.csv" "$demo/new_survey/truth.csv"

step "Write them for OBIS and GBIF"
pelagia survey export "$demo/predictions" --to dwc --by station --metadata scripts/demo_dataset.yaml

step "Write the survey as one page"
pelagia report "$demo/predictions"

step "Done"
cat <<END
model          $demo/model.onnx           (pelagia model show $demo/model.onnx)
predictions    $demo/predictions/predictions.csv
counts         $demo/counts.csv           (corrected, per liter, by station, class and taxon)
archive        $demo/predictions/exports/dwc   (Darwin Core, for OBIS and GBIF)
survey page    $demo/predictions/report.html
metrics        $demo/evaluation/report.html (open it in a browser), per_class.csv, metrics.json
training       $demo/run                  (tensorboard --logdir $demo/run)
labels         $address, after you have started Label Studio again:
               PELAGIA_STUDIO_HOME="$PELAGIA_STUDIO_HOME" $(dirname "$(command -v pelagia)")/pelagia studio start --port $port
END
