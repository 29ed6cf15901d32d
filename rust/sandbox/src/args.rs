//! The command line.

use kinesis_sandbox::{SandboxConfig, ShardLimits};

/// What `--help` prints.
pub(crate) const HELP: &str = "\
A Kinesis on one's own machine, for demo, tests and benchmarks.

Usage: kinesis-sandbox [options]

  --port N                  port on 127.0.0.1; 0 takes a free one (default 4567)
  --shard-limit N           open shards of all streams together (default 10000)
  --max-record-kib N        maximum record size of new streams, 1024 to 10240 (default 1024)
  --transition-ms N         how long a stream is CREATING or UPDATING after a change (default 0)
  --iterator-max-age-ms N   how old a shard iterator may grow (default 300000)
  --shard-throughput        enforce a shard's limits: 1 MiB and 1000 records a second written,
                            2 MiB and 5 GetRecords calls a second read (default: no limits)
  --reject-key ID           answer this access key id with UnrecognizedClientException; may be repeated
  --seed N                  seed of random faults (default 1)
  --help                    print this

The first line on stdout is \"listening on http://127.0.0.1:PORT\". SIGTERM and SIGINT end it.
Everything is in memory. Knobs and counters: POST /sandbox/knobs, GET /sandbox/stats, POST /sandbox/reset.
KINESIS_SANDBOX_LOG sets the log's level on stderr (e.g. debug; default warn).
";

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Print [`HELP`].
    Help,
    /// Serve.
    Serve(SandboxConfig),
}

/// Reads the arguments; both `--name value` and `--name=value` are understood.
pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Command, String> {
    let mut config = SandboxConfig {
        port: 4567,
        ..SandboxConfig::default()
    };
    let mut args = args;
    while let Some(arg) = args.next() {
        let (name, inline) = match arg.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (arg, None),
        };
        if matches!(name.as_str(), "--help" | "-h") {
            return Ok(Command::Help);
        }
        if name == "--shard-throughput" {
            if inline.is_some() {
                return Err(format!("{name} takes no value"));
            }
            config.shard_limits = Some(ShardLimits::default());
            continue;
        }
        let known = [
            "--port",
            "--shard-limit",
            "--max-record-kib",
            "--transition-ms",
            "--iterator-max-age-ms",
            "--reject-key",
            "--seed",
        ];
        if !known.contains(&name.as_str()) {
            return Err(format!("unknown argument {name:?}"));
        }
        let value = inline
            .or_else(|| args.next())
            .ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--port" => config.port = number(&name, &value)?,
            "--shard-limit" => config.shard_limit = number(&name, &value)?,
            "--max-record-kib" => {
                let kib = number(&name, &value)?;
                if !(1024..=10_240).contains(&kib) {
                    return Err(format!("{name} must be between 1024 and 10240, not {kib}"));
                }
                config.max_record_kib = Some(kib);
            }
            "--transition-ms" => config.transition_ms = number(&name, &value)?,
            "--iterator-max-age-ms" => config.iterator_max_age_ms = number(&name, &value)?,
            "--reject-key" => config.rejected_keys.push(value),
            _ => config.seed = number(&name, &value)?,
        }
    }
    Ok(Command::Serve(config))
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("{name} needs a whole number in range, not {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str]) -> Result<Command, String> {
        parse(args.iter().map(|a| (*a).to_owned()))
    }

    #[test]
    fn reads_both_forms() {
        let Ok(Command::Serve(config)) = run(&[
            "--port",
            "0",
            "--seed=9",
            "--shard-throughput",
            "--reject-key",
            "A",
            "--reject-key=B",
        ]) else {
            panic!("refused");
        };
        assert_eq!((config.port, config.seed, config.rejected_keys.len()), (0, 9, 2));
        assert_eq!(config.shard_limits, Some(ShardLimits::default()));
    }

    #[test]
    fn refuses_with_a_reason() {
        for (args, reason) in [
            (&["--prot", "1"][..], "unknown argument \"--prot\""),
            (&["--port"], "--port needs a value"),
            (
                &["--port", "x"],
                "--port needs a whole number in range, not \"x\"",
            ),
            (
                &["--port=70000"],
                "--port needs a whole number in range, not \"70000\"",
            ),
            (&["--shard-throughput=1"], "--shard-throughput takes no value"),
            (
                &["--max-record-kib", "1"],
                "--max-record-kib must be between 1024 and 10240, not 1",
            ),
        ] {
            assert_eq!(run(args).unwrap_err(), reason);
        }
    }

    #[test]
    fn help_names_every_option() {
        assert!(matches!(run(&["--help"]), Ok(Command::Help)));
        for option in [
            "--port",
            "--shard-limit",
            "--transition-ms",
            "--seed",
            "--reject-key",
        ] {
            assert!(HELP.contains(option));
        }
    }
}
