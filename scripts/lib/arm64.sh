# The tests through Spark on an emulated arm64 (Graviton), for the half of a released JAR that this machine can't run.
# Only the JVM with the connector's library is emulated: Python, the sandbox and Python's workers stay this machine's.
# shellcheck shell=bash

ARM64="$TOOLS/arm64"
# The emulator, an arm64 Java with the C libraries that it loads, and what makes it find them. They are unpacked, not
# installed, so that the machine needs no packages of another processor, and nobody needs to be root.
ARM64_PACKAGES=({qemu-user-static,patchelf}:amd64 {libc6,libgcc-s1,libstdc++6,zlib1g,openjdk-17-jre-headless}:arm64)
# A JAVA_HOME whose Java is emulated.
ARM64_JAVA="$ARM64/java"
# The collector and the compiler that cost least when they are emulated. Processes are started without the JVM's helper
# program, which only an emulator could run.
ARM64_JVM=(-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djdk.lang.Process.launchMechanism=VFORK)

# What is worth an emulated run of some minutes: batch reads, where a query starts, restarts, exact rows, both types of
# consumers, the sink with aggregates and without.
ARM64_TESTS="test_source_start or test_restart or test_exactness or test_batch_read or test_fan_out or test_sink \
or test_source_aggregates or test_source_rows"

# ensure_arm64 - the emulator and the arm64 Java, in .tools/arm64.
ensure_arm64() {
  stamped "$ARM64/.installed" "${ARM64_PACKAGES[*]} ${ARM64_JVM[*]}" && return
  [ "$(uname -m)" = x86_64 ] || die "arm64 is emulated on x86_64 only; an arm64 machine runs 'scripts/test e2e'"
  if ! have apt-get || ! have dpkg-deb; then
    die "the emulated arm64 consists of Debian's packages: run this on Debian 12, or the tests on an arm64 machine"
  fi
  say "installing ${ARM64_PACKAGES[*]} into .tools/arm64"
  rm -rf "$ARM64"
  mkdir -p "$ARM64"/{debs,root,java/bin}
  arm64_download >"$ARM64/apt.log" 2>&1 \
    || { cat "$ARM64/apt.log" >&2; die "apt has no such packages: this needs a Debian with Java 17, such as 12"; }
  local root="$ARM64/root" deb link file jdk="$ARM64/root/usr/lib/jvm/java-17-openjdk-arm64"
  for deb in "$ARM64"/debs/*.deb; do
    dpkg-deb -x "$deb" "$root"
  done
  # The packages' absolute links would lead into this machine's own Java, or nowhere.
  (cd "$root" && find . -type l -lname '/*' -printf '%p\t%l\n') | while IFS=$'\t' read -r link file; do
    ln -sfnr "$root$file" "$root/$link"
  done
  # A process that the JVM starts is a fork of all of qemu. If another of its threads has a lock at that moment, the
  # child waits for it for ever. qemu 7 has two such locks: GLib's for small pieces of memory, which G_SLICE avoids, and
  # one for looking paths up under -L, so the C libraries' paths are given here and below instead.
  "$root/usr/bin/patchelf" --set-interpreter "$root/lib/ld-linux-aarch64.so.1" "$jdk/bin/java"
  cat >"$ARM64_JAVA/bin/java" <<SCRIPT
#!/bin/sh
G_SLICE=always-malloc exec "$root/usr/bin/qemu-aarch64-static" -L / \\
  -E "LD_LIBRARY_PATH=$root/lib/aarch64-linux-gnu:$root/usr/lib/aarch64-linux-gnu" \\
  "$jdk/bin/java" ${ARM64_JVM[*]} "\$@"
SCRIPT
  chmod +x "$ARM64_JAVA/bin/java"
  find "$root/usr/bin" -name 'qemu-*' ! -name qemu-aarch64-static -delete
  rm -rf "$ARM64"/{debs,apt}
  # Else the tests might pass on this machine's own processor.
  "$ARM64_JAVA/bin/java" -XshowSettings:properties -version 2>&1 | grep 'os\.arch = aarch64' >/dev/null \
    || die "the emulated Java doesn't run: '$ARM64_JAVA/bin/java -version' shows why"
  printf '%s' "${ARM64_PACKAGES[*]} ${ARM64_JVM[*]}" >"$ARM64/.installed"
}

# arm64_download - downloads the packages from the machine's own sources, with lists of both processors kept apart.
arm64_download() {
  local apt="$ARM64/apt" options
  mkdir -p "$apt"/{lists/partial,cache/archives/partial}
  : >"$apt/status"
  options=(
    -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o APT::Architectures::=amd64 -o APT::Sandbox::User=root
    -o "Dir::State::lists=$apt/lists" -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt/cache"
  )
  # Other sources than Debian's may fail, since few have arm64.
  apt-get "${options[@]}" update || true
  (cd "$ARM64/debs" && apt-get "${options[@]}" download "${ARM64_PACKAGES[@]}")
}

# arm64_tests LINE - runs ARM64_TESTS, or the tests that PATTERN selects, with the emulated Java.
arm64_tests() {
  export JAVA_HOME="$ARM64_JAVA" KINESIS_PATIENCE=5
  in_root with_tested_spark "$1" python -m pytest tests -p no:cacheprovider --color=no -ra --durations=10 \
    -n 2 --dist worksteal -m "not slow and not long" -k "${PATTERN:-$ARM64_TESTS}"
}
