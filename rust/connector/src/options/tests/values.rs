//! The value parsers on their own.

use std::time::Duration;

use super::super::parse::{bytes, region_of_host, region_of_sts_host, time, whole};

#[test]
fn times() {
    let parse = |text| time(text, 0, 7_200_000);
    for (text, millis) in [
        ("500ms", 500),
        ("1s", 1_000),
        ("2m", 120_000),
        ("2MIN", 120_000),
        ("1h", 3_600_000),
        ("0s", 0),
    ] {
        assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    for text in [
        "",
        "s",
        "1",
        "1 s",
        "-1s",
        "1.5s",
        "1us",
        "1d",
        "3h",
        "99999999999999999999s",
        "9999999999999999999h",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn sizes() {
    let parse = |text| bytes(text, 1, u64::MAX);
    for (text, size) in [
        ("1", 1),
        ("2b", 2),
        ("3k", 3 << 10),
        ("3KB", 3 << 10),
        ("3KiB", 3 << 10),
        ("4m", 4 << 20),
        ("4mb", 4 << 20),
        ("4mib", 4 << 20),
        ("5g", 5 << 30),
        ("5GB", 5 << 30),
        ("5gib", 5 << 30),
    ] {
        assert_eq!(parse(text), Ok(size), "{text}");
    }
    for text in [
        "",
        "m",
        "0",
        "-1",
        "1.5m",
        "1 m",
        "1t",
        "18446744073709551615g",
        "99999999999999999999",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn whole_numbers() {
    assert_eq!(whole("007", 0, 10), Ok(7));
    assert_eq!(whole("10", 10, 10), Ok(10));
    for text in ["", "+1", "-1", "1e3", "1_000", "٣", "9", "11"] {
        assert!(whole(text, 10, 10).is_err(), "{text}");
    }
}

#[test]
fn regions_of_hosts() {
    for (host, region) in [
        ("kinesis.us-west-2.amazonaws.com", "us-west-2"),
        ("kinesis.us-west-2.amazonaws.com.", "us-west-2"),
        ("kinesis.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("kinesis-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("vpce-0a1b-c2d3.kinesis.us-east-1.vpce.amazonaws.com", "us-east-1"),
        (
            "vpce-0a1b-c2d3-us-east-1a.kinesis.us-east-1.vpce.amazonaws.com",
            "us-east-1",
        ),
        ("111122223333.data-kinesis.eu-west-1.amazonaws.com", "eu-west-1"),
        ("kinesis.us-east-1.api.aws", "us-east-1"),
    ] {
        assert_eq!(region_of_host(host).as_deref(), Some(region), "{host}");
    }
    for host in [
        "localhost",
        "kinesis.us-west-2.example.com",
        "kinesis.amazonaws.com",
        "amazonaws.com",
        "kinesis.local",
    ] {
        assert_eq!(region_of_host(host), None, "{host}");
    }
}

#[test]
fn regions_in_hosts_of_sts() {
    for (host, region) in [
        ("sts.eu-west-1.amazonaws.com", "eu-west-1"),
        ("sts.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("sts-fips.us-east-2.amazonaws.com", "us-east-2"),
        ("vpce-0a1b-2c3d.sts.eu-west-1.vpce.amazonaws.com", "eu-west-1"),
        (
            "vpce-0a1b-2c3d-eu-west-1a.sts.eu-west-1.vpce.amazonaws.com",
            "eu-west-1",
        ),
        ("sts.eu-west-1.api.aws", "eu-west-1"),
        ("sts.amazonaws.com.", "us-east-1"),
    ] {
        assert_eq!(region_of_sts_host(host).as_deref(), Some(region), "{host}");
    }
    for host in [
        "sts.example.com",
        "sts.eu-west-1.example.com",
        "kinesis.eu-west-1.amazonaws.com",
        "sts",
    ] {
        assert_eq!(region_of_sts_host(host), None, "{host}");
    }
}
