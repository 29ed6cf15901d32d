# Runs test steps and adds up their results.
# shellcheck shell=bash

PASSED=0
FAILED=0
FAILED_STEPS=()
STEP_LOGS="$BUILD/logs"

# step NAME COUNTER COMMAND... - runs a step, shows and stores its output, and adds COUNTER's counts. COUNTER reads the
# output and prints "passed failed". A step that fails without a failed test, or runs no test, counts as one failure.
step() {
  local name="$1" counter="$2"
  shift 2
  run_logged "$name" "$@"
  tally "$name" "$counter"
}

# tally NAME COUNTER - adds the results of the last step.
tally() {
  local name="$1" counter="$2" passed failed
  read -r passed failed < <("$counter" "$STATUS" <"$LOG")
  if { [ "$STATUS" != 0 ] && [ "$failed" = 0 ]; } || [ $((passed + failed)) = 0 ]; then
    failed=$((failed + 1))
  fi
  [ "$failed" = 0 ] || FAILED_STEPS+=("$name")
  PASSED=$((PASSED + passed))
  FAILED=$((FAILED + failed))
  say "$name: $passed passed, $failed failed, $TOOK s"
}

declare -A BEGUN_PID BEGUN_AT

# end_begun - ends the background steps of a script that exits early.
end_begun() {
  local pid
  for pid in "${BEGUN_PID[@]}"; do
    kill -- "-$pid" 2>/dev/null || true
  done
}

# begin_step NAME COMMAND... - starts a step in the background. end_step waits for its end, shows its output, and adds
# its counts.
begin_step() {
  local name="$1"
  shift
  mkdir -p "$STEP_LOGS"
  say "$name, beside others; its output is in ${STEP_LOGS#"$ROOT"/}/$name.log"
  BEGUN_AT[$name]=$SECONDS
  trap end_begun EXIT
  # A separate process group, so that the step can be ended with all its child processes.
  set -m
  (
    set -e
    "$@"
  ) >"$STEP_LOGS/$name.log" 2>&1 </dev/null &
  BEGUN_PID[$name]=$!
  set +m
}

# end_step NAME COUNTER
end_step() {
  LOG="$STEP_LOGS/$1.log"
  STATUS=0
  wait "${BEGUN_PID[$1]}" || STATUS=$?
  unset "BEGUN_PID[$1]"
  TOOK=$((SECONDS - BEGUN_AT[$1]))
  cat "$LOG"
  tally "$1" "$2"
}

# end_prepare NAME - waits for a command of begin_step on which steps depend. Not a test; only a failure counts.
end_prepare() {
  local status=0
  wait "${BEGUN_PID[$1]}" || status=$?
  unset "BEGUN_PID[$1]"
  cat "$STEP_LOGS/$1.log"
  if [ "$status" != 0 ]; then
    FAILED_STEPS+=("$1")
    FAILED=$((FAILED + 1))
  fi
  say "$1: $((SECONDS - BEGUN_AT[$1])) s"
}

# prepare NAME COMMAND... - runs a command on which steps depend. Not a test; only a failure counts.
prepare() {
  local name="$1"
  run_logged "$@"
  if [ "$STATUS" != 0 ]; then
    FAILED_STEPS+=("$name")
    FAILED=$((FAILED + 1))
  fi
  say "$name: $TOOK s"
}

# run_logged NAME COMMAND... - runs COMMAND with its output in a log; sets STATUS, LOG and TOOK.
run_logged() {
  local name="$1" began=$SECONDS
  shift
  LOG="$STEP_LOGS/${name//[^A-Za-z0-9._-]/-}.log"
  mkdir -p "$STEP_LOGS"
  say "$name"
  # Not in a condition, where the shell would ignore failures of commands within a function.
  set +e
  (
    set -e
    "$@"
  ) 2>&1 </dev/null | tee "$LOG"
  STATUS="${PIPESTATUS[0]}"
  set -e
  TOOK=$((SECONDS - began))
}

# finish - prints the last line of a test run, and returns its exit code.
finish() {
  [ "${#FAILED_STEPS[@]}" = 0 ] || say "failed: ${FAILED_STEPS[*]}"
  printf '%d passed, %d failed\n' "$PASSED" "$FAILED"
  [ "$FAILED" = 0 ] && [ "$PASSED" != 0 ]
}

# Counters. Each takes the step's exit code as its argument, and the step's output on standard input.

# A check counts as one test.
count_check() {
  cat >/dev/null
  if [ "$1" = 0 ]; then echo 1 0; else echo 0 1; fi
}

count_cargo() {
  awk '/^test result: / { for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) p += $(i - 1); if ($i ~ /^failed/) f += $(i - 1) } }
    END { print p + 0, f + 0 }'
}

count_scalatest() {
  sed 's/\x1b\[[0-9;]*m//g' | awk '
    /^Tests: succeeded / { gsub(",", ""); p += $3; f += $5 }
    /^\*\*\* [0-9]+ SUITES? ABORTED \*\*\*/ { f += $2 }
    END { print p + 0, f + 0 }'
}

count_pytest() {
  sed 's/\x1b\[[0-9;]*m//g' | awk '
    /^(=+ )?([0-9]+ [a-z]+(, )?)+ in [0-9.]+s/ {
      for (i = 2; i <= NF; i++) {
        if ($i ~ /^passed/) p += $(i - 1)
        if ($i ~ /^(failed|errors?)(,|$)/) f += $(i - 1)
      }
    }
    END { print p + 0, f + 0 }'
}
