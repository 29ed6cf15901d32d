# The Python package: a wheel with both JARs inside.
# shellcheck shell=bash

# ensure_wheel_tools - what builds a wheel, in .venv/wheel.
ensure_wheel_tools() { ensure_hashed_venv wheel; }

# build_wheel DIR JAR... - spark_kinesis_native-<version>-py3-none-any.whl with these JARs, in DIR; sets WHEEL to its path.
# The same JARs make the same bytes.
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
  # Modes go into the wheel, and must not depend on the umask.
  chmod -R u=rwX,go=rX "$stage"
  rm -f "$dir"/spark_kinesis_native-*.whl
  "$VENVS/wheel/bin/pip" wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir "$dir" "$stage" </dev/null >&2 \
    || die "the wheel could not be built in $stage"
  WHEEL="$dir/spark_kinesis_native-$(version)-py3-none-any.whl"
  [ -f "$WHEEL" ] || die "the wheel is not called $WHEEL: does the version in Cargo.toml suit Python?"
}
