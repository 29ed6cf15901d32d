# Sourced by every script: where things are, how to speak, and waiting for conditions.
# shellcheck shell=bash

# Nothing above this line that an older bash doesn't read.
if [ -z "${BASH_VERSINFO:-}" ] || [ "${BASH_VERSINFO[0]}" -lt 4 ] || { [ "${BASH_VERSINFO[0]}" = 4 ] && [ "${BASH_VERSINFO[1]}" -lt 4 ]; }; then
  echo "error: bash ${BASH_VERSION:-} is too old for these scripts: install bash 4.4 or newer, and put it before the other on PATH" >&2
  exit 1
fi
if [ "$(uname -s)" != Linux ]; then
  echo "error: the connector is built and runs on Linux: run this there, or in a container or virtual machine" >&2
  exit 1
fi

set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
VENVS="$ROOT/.venv"
TOOLS="$ROOT/.tools"
BUILD="$ROOT/build"

# The Spark lines: the Scala binary version names the JAR, the PySpark version is what tests and the demo run it on.
SPARK_LINES=(3.5 4.3)
# Those in between, on which a cross-section of the tests runs: EMR Spark 8 is 4.0.2, Glue 6 is 4.1.1.
MIDDLE_LINES=(4.0 4.1)
declare -A PYSPARK_VERSION=([3.5]=3.5.9 [4.0]=4.0.2 [4.1]=4.1.1 [4.3]=4.3.0)
declare -A SCALA_BINARY=([3.5]=2.12 [4.0]=2.13 [4.1]=2.13 [4.3]=2.13)

# Scripts run without a terminal too: nothing may wait for an answer.
export DEBIAN_FRONTEND=noninteractive PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# say TEXT... - one line for the person watching.
say() { printf '==> %s\n' "$*" >&2; }

# die TEXT... - says what failed and ends the script.
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# version - the version of the project, as in the root Cargo.toml.
version() { sed -n '/^\[workspace.package\]/,/^\[/ s/^version *= *"\(.*\)"/\1/p' "$ROOT/Cargo.toml"; }

# cargo_target - the folder that cargo builds in: target, or what CARGO_TARGET_DIR or a configuration of cargo's says.
cargo_target() {
  (cd "$ROOT" && cargo metadata --locked --offline --no-deps --format-version 1) \
    | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])'
}

# free_port - a TCP port of the loopback interface that nothing listens on now.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# port_open PORT - whether something listens there.
port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# wait_until SECONDS COMMAND... - true as soon as COMMAND succeeds, false when the time is over.
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
}

# java_command - the Java that Gradle takes.
java_command() { printf '%s\n' "${JAVA_HOME:+$JAVA_HOME/bin/}java"; }

# gradle_command - the wrapper of the clone, where somebody made one, else the Gradle of the PATH.
gradle_command() { if [ -x "$ROOT/gradlew" ]; then printf '%s\n' "$ROOT/gradlew"; else printf 'gradle\n'; fi; }

# run_gradle ARGUMENT... - Gradle, quiet about itself. Where it fails on another Java than the one it is tested on, that is said.
run_gradle() {
  (cd "$ROOT" && "$(gradle_command)" --no-daemon --console=plain --quiet "$@" </dev/null >&2) && return
  local java
  java="$("$(java_command)" -version 2>&1 | head -n 1)"
  case "$java" in
    *'"17.'*) ;;
    *)
      say "Gradle failed on $java. If it is too old for this Java (Debian's 4.4 is made for Java 17, Java 21 needs Gradle 8.5):" \
        "name a JDK 17 in JAVA_HOME, or make a wrapper of a newer Gradle (docs/packages.md), and run this again"
      ;;
  esac
  return 1
}
