# The Python package: a wheel with both JARs.
# shellcheck shell=bash

# ensure_wheel_tools - the tools that build a wheel, in .venv/wheel.
ensure_wheel_tools() { ensure_hashed_venv wheel; }

# build_wheel DIR JAR... - builds spark_kinesis_native-<version>-py3-none-any.whl with these JARs in DIR, and sets
# WHEEL to its path. The same JARs result in the same bytes.
build_wheel() {
  local dir="$1" stage="$BUILD/wheel" jars
  shift
  ensure_wheel_tools
  say "building the wheel"
  rm -rf "$stage"
  mkdir -p "$stage" "$dir"
  cp -R "$ROOT/python/." "$ROOT/LICENSE" "$stage/"
  jars="$stage/src/spark_kinesis/jars"
  mkdir "$jars"
  cp "$@" "$jars/"
  extract_notices "$1" "$stage"
  version >"$stage/VERSION"
  # The wheel contains file modes, which must not depend on the umask.
  chmod -R u=rwX,go=rX "$stage"
  rm -f "$dir"/spark_kinesis_native-*.whl
  "$VENVS/wheel/bin/pip" wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir "$dir" "$stage" </dev/null >&2 \
    || die "the wheel could not be built in $stage"
  WHEEL="$dir/spark_kinesis_native-$(version)-py3-none-any.whl"
  [ -f "$WHEEL" ] || die "the wheel is not called $WHEEL: does the version in Cargo.toml suit Python?"
}

# find_wheel DIR... - sets WHEEL to the wheel of this version in the first of these folders that has one.
find_wheel() {
  local dir
  for dir in "$@"; do
    WHEEL="$dir/spark_kinesis_native-$(version)-py3-none-any.whl"
    [ ! -f "$WHEEL" ] || return 0
  done
  die "there is no wheel of version $(version) in $*: run scripts/package, or put a release's wheel there, and run this again"
}

# install_wheel DIR VENV - installs only WHEEL in a new virtual environment in DIR, which also sees VENV's packages
# (PySpark).
install_wheel() {
  local own others
  say "installing $(basename "$WHEEL") into a virtual environment of its own"
  make_venv "$1"
  "$1/bin/pip" install --quiet --no-deps --no-index "$WHEEL" </dev/null >&2 || die "pip could not install $WHEEL"
  own="$(site_of "$1")"
  others="$(site_of "$2")"
  printf '%s\n' "$others" >"$own/others.pth"
}

# site_of VENV - prints the folder of the virtual environment's packages.
site_of() { "$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }
