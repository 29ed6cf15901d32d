# Building the native library and the JARs.
# shellcheck shell=bash

# The processors that a released JAR has a library for.
PLATFORMS=(x86_64 aarch64)
# The oldest C library supported: Amazon Linux 2 (EMR 6).
NATIVE_GLIBC=2.26

# build_native_release PLATFORM FILE - the library for the JAR, able to run on every glibc since NATIVE_GLIBC.
build_native_release() {
  local target="$1-unknown-linux-gnu"
  ensure_native_tools
  ensure_target "$target"
  say "building the native library for $1 (release, glibc $NATIVE_GLIBC)"
  (cd "$ROOT" && PATH="$VENVS/build/bin:$PATH" \
    env -u RUSTC_WORKSPACE_WRAPPER cargo zigbuild --locked --release --target "$target.$NATIVE_GLIBC" -p spark-kinesis-jni >&2)
  mkdir -p "$(dirname "$2")"
  cp "$(cargo_target)/$target/release/libsparkkinesis.so" "$2"
  check_glibc "$2"
}

# One selection of packages and features for everything that is built for tests, so that each crate is compiled once:
# cargo compiles a crate anew for another set of features, even of the crates that it depends on.
TEST_FEATURES=(
  kinesis-sandbox/kinesis-local kinesis-sandbox/ministack kinesis-connector/store-services
)
TEST_BUILD=(--locked --workspace --features "$(IFS=,; echo "${TEST_FEATURES[*]}"),spark-kinesis-jni/boundary-tests")

# The debug libraries are copied away, since both have the same place under cargo's target folder.
DEV_LIBRARY="$BUILD/native/dev/libsparkkinesis.so"
BOUNDARY_LIBRARY="$BUILD/native/boundary/libsparkkinesis.so"

# build_native_dev - DEV_LIBRARY: as cargo builds it for this machine, quick to build.
build_native_dev() {
  say "building the native library (debug, this machine only)"
  # With one small test, since without any the crates beneath are compiled anew, without what tests need of them.
  (cd "$ROOT" && cargo build --locked --workspace --features "$(IFS=,; echo "${TEST_FEATURES[*]}")" \
    --lib --bins --test options_page >&2)
  copy_changed "$(cargo_target)/debug/libsparkkinesis.so" "$DEV_LIBRARY"
}

# build_tests - everything that tests run: the Rust tests, and what build_tested builds.
build_tests() {
  say "building the Rust tests"
  (cd "$ROOT" && cargo test "${TEST_BUILD[@]}" --no-run) >&2
  build_tested
}

# build_tested - what the tests on a JVM run: the sandbox, and BOUNDARY_LIBRARY, the native library with the exports that
# the tests of the bridge call.
build_tested() {
  say "building the sandbox and the native library for the tests of the bridge"
  # With one small test, as in build_native_dev.
  (cd "$ROOT" && cargo build "${TEST_BUILD[@]}" --lib --bins --examples --test options_page) >&2
  local debug
  debug="$(cargo_target)/debug"
  copy_changed "$debug/libsparkkinesis.so" "$BOUNDARY_LIBRARY"
  copy_changed "$debug/examples/libother_abi.so" "$(dirname "$BOUNDARY_LIBRARY")/examples/libother_abi.so"
}

# copy_changed FROM TO - leaves an equal file as it is, so that nothing is rebuilt for its date.
copy_changed() {
  mkdir -p "$(dirname "$2")"
  cmp -s "$1" "$2" || cp "$1" "$2"
}

# check_glibc FILE - fails when the library needs a newer glibc than NATIVE_GLIBC.
check_glibc() {
  local newest
  newest="$(readelf --version-info --wide "$1" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -uV | tail -n 1)"
  [ -n "$newest" ] || die "$1 names no glibc version: is it a Linux library?"
  [ "$(printf '%s\n%s\n' "$newest" "$NATIVE_GLIBC" | sort -V | tail -n 1)" = "$NATIVE_GLIBC" ] \
    || die "$1 needs glibc $newest; it must run on $NATIVE_GLIBC"
  say "the native library needs glibc $newest"
}

# build_jars - both JARs with the release library for this machine's processor.
build_jars() {
  say "building the JARs"
  run_gradle jars
}

# build_demo LINE - the JAR for a Spark line with the debug library, and the sandbox; sets KINESIS_SANDBOX to the
# program. One cargo run of one profile, so that what both need is compiled once.
build_demo() {
  say "building the native library and kinesis-sandbox (debug, this machine only)"
  (cd "$ROOT" && CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0 \
    cargo build --locked -p spark-kinesis-jni -p kinesis-sandbox >&2)
  copy_changed "$(cargo_target)/debug/libsparkkinesis.so" "$DEV_LIBRARY"
  say "building the JAR for Spark $1"
  run_gradle "jar_${SCALA_BINARY[$1]/./_}" "-PnativeLib=$DEV_LIBRARY"
  KINESIS_SANDBOX="$(cargo_target)/debug/kinesis-sandbox"
  export KINESIS_SANDBOX
}

# build_jars_for PLATFORM... - both JARs with a release library for each of these.
build_jars_for() {
  say "building the JARs for $*"
  run_gradle jars "-Pplatforms=$(IFS=,; echo "$*")"
}

# build_jars_dev - both JARs with the debug library.
build_jars_dev() {
  build_native_dev
  say "building the JARs"
  run_gradle jars "-PnativeLib=$DEV_LIBRARY"
}

# jar_of LINE - the path of the JAR for a Spark line (such as 3.5).
jar_of() { printf '%s\n' "$BUILD/libs/spark-kinesis-native_${SCALA_BINARY[$1]}-$(version).jar"; }
