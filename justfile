# The usual entry points. Each runs one of the scripts, which also work without just.

# Lists all recipes
default:
    @just --list

# Runs the typical job against a local Kinesis
demo *arguments:
    scripts/demo {{arguments}}

# Runs all tests of CI, or some of its steps
test *steps:
    scripts/test {{steps}}

# Checks the format, and runs lints and Rust tests
check:
    scripts/test lint fmt clippy rust

# Formats all sources
fmt:
    scripts/fmt

# Builds both JARs for this machine, in build/libs
build *arguments:
    scripts/build {{arguments}}

# Builds JARs for all processors, wheel and Maven repository, in dist
package *arguments:
    scripts/package {{arguments}}

# Runs a benchmark
bench *arguments:
    scripts/bench {{arguments}}

# Builds the documentation's site, in build/site; --serve shows it
docs *arguments:
    scripts/docs {{arguments}}
