#!/bin/sh
# Trains a config in CI, and checks the result against limits and against the last accepted run.
#
#   sh docs/ci/ci.sh CONFIG [OPTION...]        the options go to `tfloop train`
#
#   BASELINE=baseline.json   what `tfloop evaluate --json` printed for the last accepted run; not compared if it is missing
#   FAIL_UNDER=accuracy=0.95 TOLERANCE=accuracy=0.005 MAX_TIME=30m OUTPUT=ci-results
#
# OUTPUT gets the run folder, junit-*.xml, summary.md and evaluation.json, the next baseline. They are complete if a
# threshold fails too. Exit codes: 0 passed, 3 a metric is too bad, 75 try again, others see `tfloop explain 4`.
set -eu

config=$1
shift
output=${OUTPUT:-ci-results}
baseline=${BASELINE:-baseline.json}
mkdir -p "$output"

tfloop config check "$config"

code=0
tfloop train "$config" --output "$output/run" --max-time "${MAX_TIME:-30m}" --fail-under "${FAIL_UNDER:-accuracy=0.95}" \
  --junit "$output/junit-train.xml" --summary "$output/summary.md" "$@" || code=$?
case $code in
  0 | 3) ;; # trained: compare it all the same
  *) exit $code ;;
esac

set --
if [ -f "$baseline" ]; then
  set -- --baseline "$baseline" --tolerance "${TOLERANCE:-accuracy=0.005}"
fi
compared=0
tfloop evaluate "$output/run" "$@" --json --junit "$output/junit-evaluate.xml" --summary "$output/summary.md" \
  > "$output/evaluation.json" || compared=$?

if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then
  cat "$output/summary.md" >> "$GITHUB_STEP_SUMMARY"
fi
[ "$code" -eq 0 ] || exit "$code"
exit "$compared"
