# Sourced by every script: paths and versions, messages, and waiting for conditions.
# shellcheck shell=bash

# The code up to this check of the version must also parse in an older bash.
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

# The Spark lines, each with the Scala binary version in the JAR's name, and the PySpark version for tests and demo.
SPARK_LINES=(3.5 4.3)
# The lines in between, on which a cross-section of the tests runs: EMR Spark 8 is 4.0.2, Glue 6 is 4.1.1.
MIDDLE_LINES=(4.0 4.1)
declare -A PYSPARK_VERSION=([3.5]=3.5.9 [4.0]=4.0.2 [4.1]=4.1.1 [4.3]=4.3.0)
declare -A SCALA_BINARY=([3.5]=2.12 [4.0]=2.13 [4.1]=2.13 [4.3]=2.13)

# Scripts also run without a terminal, so nothing may wait for input.
export DEBIAN_FRONTEND=noninteractive PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# say TEXT... - prints a line about progress.
say() { printf '==> %s\n' "$*" >&2; }

# die TEXT... - prints what failed and ends the script.
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# version - prints the project's version from the root Cargo.toml.
version() { sed -n '/^\[workspace.package\]/,/^\[/ s/^version *= *"\(.*\)"/\1/p' "$ROOT/Cargo.toml"; }

# cargo_target - prints cargo's build folder: target, or the one set by CARGO_TARGET_DIR or cargo's configuration.
cargo_target() {
  (cd "$ROOT" && cargo metadata --locked --offline --no-deps --format-version 1) \
    | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])'
}

# free_port - prints a TCP port of the loopback interface on which nothing listens at the moment.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# port_open PORT - whether something listens on the port.
port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# wait_until SECONDS COMMAND... - true as soon as COMMAND succeeds, false after SECONDS.
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
}

# java_command - prints the path of the Java that Gradle uses.
java_command() { printf '%s\n' "${JAVA_HOME:+$JAVA_HOME/bin/}java"; }

# gradle_command - prints the clone's Gradle wrapper if there is one, else the Gradle of the PATH.
gradle_command() { if [ -x "$ROOT/gradlew" ]; then printf '%s\n' "$ROOT/gradlew"; else printf 'gradle\n'; fi; }

# run_gradle ARGUMENT... - runs Gradle with little output. If it fails on a Java that isn't the tested one, says so.
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
