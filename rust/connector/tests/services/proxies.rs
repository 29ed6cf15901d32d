//! Reads and writes through a real proxy, tinyproxy, with and without a password. scripts/test installs it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::support::stub::{in_own_process, variable};
use crate::support::{FAN_OUT, NAMED, STREAM, World, assert_exact, until};
use kinesis_connector::sink::SinkRecord;
use kinesis_connector::{Engine, SinkConfig};
use kinesis_sandbox::{Sandbox, SandboxConfig};
use serde_json::json;
use tempfile::TempDir;

const LOGIN: [(&str, &str); 2] = [
    ("kinesis.proxyUsername", "me"),
    ("kinesis.proxyPassword", "hush-hush"),
];

/// A proxy, which ends when dropped.
struct Proxy {
    address: String,
    folder: TempDir,
    process: Child,
}

impl Proxy {
    /// Starts a proxy that requires [`LOGIN`], or allows everybody.
    async fn start(asks: bool) -> Self {
        let folder = TempDir::new().expect("a folder");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = free.local_addr().expect("bound").port();
        drop(free);
        let login = match asks {
            true => "BasicAuth me hush-hush\n",
            false => "",
        };
        let log = folder.path().join("log");
        let settings = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 600\nLogLevel Connect\nLogFile \"{}\"\n{login}",
            log.display()
        );
        let path = folder.path().join("settings");
        std::fs::write(&path, settings).expect("written");
        let process = Command::new("tinyproxy")
            .arg("-d")
            .arg("-c")
            .arg(&path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("tinyproxy can't be run ({error}), so nothing was tested. scripts/test installs it.")
            });
        until(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()).await;
        Self {
            address: format!("http://127.0.0.1:{port}"),
            folder,
            process,
        }
    }

    fn options<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        [&[("kinesis.proxyAddress", self.address.as_str())], more].concat()
    }

    /// Number of requests whose first line contains `what`.
    fn asked(&self, what: &str) -> usize {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        log.lines()
            .filter(|line| line.contains("Request") && line.contains(what))
            .count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn write(world: &World, options: &[(&str, &str)]) {
    let mut all = BTreeMap::from([
        ("kinesis.streamName", STREAM),
        ("kinesis.region", "us-east-1"),
        ("kinesis.endpointUrl", world.endpoint.as_str()),
        ("kinesis.awsAccessKeyId", "AKIDTEST"),
        ("kinesis.awsSecretKey", "secret"),
    ]);
    all.extend(options.iter().copied());
    let config = SinkConfig::parse(&json!({"version": 1, "options": all}).to_string()).expect("options");
    let writer = Engine::new().open_writer(config).expect("a writer");
    let records = (0..10).map(|row| SinkRecord {
        partition_key: Some("k".into()),
        data: format!("r{row}").into(),
        explicit_hash_key: None,
    });
    writer.write(records.collect()).await.expect("taken");
    writer.flush().await.expect("written");
}

#[tokio::test]
async fn plain_http_goes_by_a_proxy() {
    for (asks, login) in [(false, &[][..]), (true, &LOGIN)] {
        let proxy = Proxy::start(asks).await;
        let world = World::with_shards(1).await;
        write(&world, &proxy.options(login)).await;
        let written = proxy.asked(&format!("POST {}", world.endpoint));
        assert!(written > 0);
        let mut query = world.query(&proxy.options(login)).await;
        assert_exact(&query.rows(10).await, "r", 0..10);
        assert!(proxy.asked(&format!("POST {}", world.endpoint)) > written);
    }
}

/// Number of successful SubscribeToShard calls. Over HTTP/1.1 the sandbox refuses them, as the service does.
fn subscribed(world: &World) -> u64 {
    let stats = world.sandbox.stats();
    let asked = stats.operations.get("SubscribeToShard");
    asked.map_or(0, |asked| asked.calls - asked.errors.values().sum::<u64>())
}

/// Each subscription needs HTTP/2 and its own tunnel.
#[test]
fn https_goes_through_a_tunnel_and_stays_http2() {
    let folder = TempDir::new().expect("a folder");
    let bundle = folder.path().join("authority.pem").to_string_lossy().into_owned();
    let name = "https_goes_through_a_tunnel_and_stays_http2";
    in_own_process(name, &[("AWS_CA_BUNDLE", &bundle)], async {
        let config = SandboxConfig {
            tls_port: Some(0),
            ..SandboxConfig::default()
        };
        let sandbox = Sandbox::start(config).await.expect("the sandbox starts");
        let certificate = sandbox.tls_certificate().expect("HTTPS");
        std::fs::write(variable("AWS_CA_BUNDLE"), certificate).expect("written");
        let endpoint = sandbox.tls_endpoint().expect("HTTPS");
        let tunnel = endpoint.replace("https://", "CONNECT ");
        let mut world = World::with(sandbox, 2).await;
        world.endpoint = endpoint;
        world.hasten_subscriptions();
        for (asks, login) in [(false, &[][..]), (true, &LOGIN)] {
            let proxy = Proxy::start(asks).await;
            write(&world, &proxy.options(login)).await;
            let mut polled = world.query(&proxy.options(login)).await;
            polled.rows(10).await;
            let (tunnels, before) = (proxy.asked(&tunnel), subscribed(&world));
            let consumer = [login, &[FAN_OUT, NAMED]].concat();
            let mut pushed = world.query(&proxy.options(&consumer)).await;
            // The first batch is polled.
            while subscribed(&world) == before {
                pushed.rows(10).await;
                world.put("s", 0..10).await;
            }
            pushed.rows(10).await;
            assert!(tunnels > 0 && proxy.asked(&tunnel) >= tunnels + 2);
        }

        let proxy = Proxy::start(true).await;
        let wrong = [
            ("kinesis.proxyUsername", "me"),
            ("kinesis.proxyPassword", "wrong"),
        ];
        for (login, passes) in [(&[][..], false), (&wrong, true)] {
            let refused = world
                .try_query(&proxy.options(&[login, &[("kinesis.clientNumRetries", "0")]].concat()))
                .await;
            let error = refused.err().expect("refused");
            assert_eq!(error.is_retryable(), passes, "{error}");
            for part in [&proxy.address, "refused", "kinesis.proxyUsername"] {
                assert!(error.message().contains(part), "{part} in: {error}");
            }
        }
    });
}
