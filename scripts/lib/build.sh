# Builds of the native library and the JARs.
# shellcheck shell=bash

# The processors for which a released JAR has a library.
PLATFORMS=(x86_64 aarch64)
# The oldest C library supported: Amazon Linux 2 (EMR 6).
NATIVE_GLIBC=2.26

# zig_cargo SUBCOMMAND ARGUMENT... - runs cargo with builds for every glibc since NATIVE_GLIBC. All builds but the
# demo's use it, so that they share compiled crates.
zig_cargo() { (cd "$ROOT" && PATH="$VENVS/build/bin:$PATH" cargo-zigbuild "$@"); }

# target_of PLATFORM - prints rustc's name of the platform.
target_of() { printf '%s\n' "$1-unknown-linux-gnu"; }

# build_native_release PLATFORM FILE - builds the library for the JAR.
build_native_release() {
  local target folder
  target="$(target_of "$1")"
  folder="$(cargo_target)/$target/release"
  ensure_native_tools
  ensure_target "$target"
  say "building the native library for $1 (release, glibc $NATIVE_GLIBC)"
  (unset RUSTC_WORKSPACE_WRAPPER && zig_cargo zigbuild --locked --release --target "$target.$NATIVE_GLIBC" -p spark-kinesis-jni >&2)
  mkdir -p "$(dirname "$2")"
  cp "$folder/libsparkkinesis.so" "$2"
  # The unoptimised library of tests has the same path, and its table of symbols.
  ! readelf --section-headers --wide "$2" | grep -F .symtab >/dev/null \
    || die "$2 is the unoptimised library: another build ran beside this one; run this again"
  check_glibc "$2"
}

# Arguments for all builds of tests. Dependencies are compiled as in the release build (rust/jni/Cargo.toml requests the
# features that tests add). The project's own crates build quickly and check themselves (rust/test-profile.toml).
TEST_TARGET="$(target_of "$(uname -m)")"
TEST_FEATURES=kinesis-sandbox/kinesis-local,kinesis-sandbox/ministack,kinesis-connector/store-services
TEST_PROFILE=(--config rust/test-profile.toml --release --target "$TEST_TARGET.$NATIVE_GLIBC")
TEST_BUILD=(--locked "${TEST_PROFILE[@]}" --workspace --features "$TEST_FEATURES")

# built_folder - prints the folder of the programs and libraries built for this machine.
built_folder() { printf '%s\n' "$(cargo_target)/$TEST_TARGET/release"; }

# The copies of the libraries. In cargo's target folder, DEV_LIBRARY and the released library have the same path, and a
# later build replaces what tests may be loading.
DEV_LIBRARY="$BUILD/native/dev/libsparkkinesis.so"
BOUNDARY_LIBRARY="$BUILD/native/boundary/libsparkkinesis_testing.so"

# build_native_dev - builds DEV_LIBRARY: the library with the project's own crates unoptimised, for quick rebuilds.
build_native_dev() {
  ensure_native_tools
  say "building the native library (unoptimised)"
  # With the features of the Rust tests, so that the engine is built once for both.
  zig_cargo zigbuild --locked "${TEST_PROFILE[@]}" -p spark-kinesis-jni -p kinesis-connector \
    --features kinesis-connector/store-services --lib >&2
  copy_changed "$(built_folder)/libsparkkinesis.so" "$DEV_LIBRARY"
}

# build_tests - builds everything that tests run: the Rust tests, and the targets of build_tested.
build_tests() {
  ensure_native_tools
  say "building the Rust tests"
  zig_cargo test "${TEST_BUILD[@]}" --no-run >&2
  build_tested
}

# build_tested - builds what the tests on a JVM run: the sandbox, whose program is KINESIS_SANDBOX, and
# BOUNDARY_LIBRARY, the native library with the exports for the bridge's tests (rust/jni-testing).
build_tested() {
  ensure_native_tools
  say "building the sandbox and the native library for the tests of the bridge"
  # With one small test, so that the Rust tests can use the same builds of the project's own crates.
  zig_cargo zigbuild "${TEST_BUILD[@]}" --lib --bins --examples --test options_page >&2
  local built
  built="$(built_folder)"
  copy_changed "$built/libsparkkinesis_testing.so" "$BOUNDARY_LIBRARY"
  copy_changed "$built/examples/libother_abi.so" "$(dirname "$BOUNDARY_LIBRARY")/examples/libother_abi.so"
}

# copy_changed FROM TO - copies a file unless TO is equal, so that a new date causes no rebuild.
copy_changed() {
  mkdir -p "$(dirname "$2")"
  cmp -s "$1" "$2" || cp "$1" "$2"
}

# check_glibc FILE - fails if the library needs a newer glibc than NATIVE_GLIBC.
check_glibc() {
  local newest
  newest="$(readelf --version-info --wide "$1" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -uV | tail -n 1)"
  [ -n "$newest" ] || die "$1 names no glibc version: is it a Linux library?"
  [ "$(printf '%s\n%s\n' "$newest" "$NATIVE_GLIBC" | sort -V | tail -n 1)" = "$NATIVE_GLIBC" ] \
    || die "$1 needs glibc $newest; it must run on $NATIVE_GLIBC"
  say "the native library needs glibc $newest"
}

# build_jars - builds both JARs with the release library for this machine's processor.
build_jars() {
  say "building the JARs"
  run_gradle jars
}

# build_bench - builds what benchmarks run besides the JARs: the sandbox and bare_drain, optimised. Selects the
# library's crate too, so that the dependencies are the same.
build_bench() {
  ensure_native_tools
  say "building kinesis-sandbox and bare_drain (release)"
  zig_cargo zigbuild --locked --release --target "$TEST_TARGET.$NATIVE_GLIBC" \
    -p spark-kinesis-jni -p kinesis-sandbox -p kinesis-connector --lib --bins --example bare_drain >&2
}

# bench_decode ARGUMENT... - builds the micro-benchmarks, optimised, and runs them with criterion's arguments. Selects
# the library's crate too, as build_bench does.
bench_decode() {
  ensure_native_tools
  say "building the micro-benchmarks (release)"
  zig_cargo test --locked --release --target "$TEST_TARGET.$NATIVE_GLIBC" -p spark-kinesis-jni -p kinesis-benches \
    --bench decode -- --bench "$@"
}

# build_demo LINE - builds the JAR for a Spark line with the debug library, in a folder of its own, and the sandbox; sets
# JAR_FOLDER to the folder and KINESIS_SANDBOX to the program. One cargo run with one profile compiles shared crates once.
build_demo() {
  say "building the native library and kinesis-sandbox (debug, this machine only)"
  (cd "$ROOT" && CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0 \
    cargo build --locked -p spark-kinesis-jni -p kinesis-sandbox >&2)
  copy_changed "$(cargo_target)/debug/libsparkkinesis.so" "$DEV_LIBRARY"
  say "building the JAR for Spark $1"
  JAR_FOLDER="$BUILD/demo"
  run_gradle "jar_${SCALA_BINARY[$1]/./_}" "-PnativeLib=$DEV_LIBRARY" "-PjarFolder=$JAR_FOLDER"
  KINESIS_SANDBOX="$(cargo_target)/debug/kinesis-sandbox"
  export KINESIS_SANDBOX
}

# build_jars_for PLATFORM... - builds both JARs with a release library for each of these platforms.
build_jars_for() {
  say "building the JARs for $*"
  run_gradle jars "-Pplatforms=$(IFS=,; echo "$*")"
}

# build_jars_dev - builds both JARs with DEV_LIBRARY.
build_jars_dev() {
  build_native_dev
  say "building the JARs"
  run_gradle jars "-PnativeLib=$DEV_LIBRARY"
}

# Where the JARs are.
JAR_FOLDER="$BUILD/libs"

# jar_of LINE - prints the path of the JAR for a Spark line (such as 3.5).
jar_of() { printf '%s\n' "$JAR_FOLDER/spark-kinesis-native_${SCALA_BINARY[$1]}-$(version).jar"; }
