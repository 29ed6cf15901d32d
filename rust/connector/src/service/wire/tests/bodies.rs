//! Generated bodies: those that the service writes, and others.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// A member's name and value in serialized form.
type Member = (Vec<u8>, Vec<u8>);

fn named(name: &'static str, value: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Member> {
    value.prop_map(move |value| (format!("\"{name}\"").into_bytes(), value))
}

fn quoted(text: &str) -> Vec<u8> {
    serde_json::to_vec(text).expect("text")
}

fn any_of(values: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    select(values).prop_map(|value| value.as_bytes().to_vec())
}

/// Values for any place, some of them invalid.
const STRAY: &[&str] = &[
    "null",
    "nullx",
    "null1",
    "true",
    "truex",
    "false",
    "fals",
    "0",
    "-0",
    "00",
    "01",
    "-1",
    "1.5",
    "1.",
    ".5",
    "1e5",
    "1E+5",
    "1e",
    "+1",
    "-",
    "--1",
    "5x",
    "1 2",
    "\"\"",
    "\"text\"",
    "\"\\n\"",
    "\"\\x\"",
    "\"\\u00\"",
    "\"open",
    "[]",
    "[1,[2]]",
    "[1,]",
    "{}",
    "{\"a\":{\"b\":[]}}",
    "{\"a\"}",
    "",
    ",",
    "\"\\ud800\"",
    "NaN",
    "[",
    "{",
];

fn stray() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => any_of(STRAY),
        1 => Just(b"\"\xff\"".to_vec()),
        1 => Just(b"\"\xe2\x82".to_vec()),
        1 => Just(b"\"\x01\"".to_vec()),
        1 => (1..200_usize).prop_map(|depth| [vec![b'['; depth], vec![b']'; depth]].concat()),
    ]
}

fn usual_key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => "[a-z0-9-]{1,12}", 1 => "\\PC{1,40}"].prop_map(|key| quoted(&key))
}

fn usual_number() -> impl Strategy<Value = Vec<u8>> {
    "4[0-9]{55}".prop_map(|number| quoted(&number))
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![8 => vec(any::<u8>(), 0..100), 1 => vec(any::<u8>(), 0..5_000)]
}

fn usual_data() -> impl Strategy<Value = Vec<u8>> {
    payload().prop_map(|data| format!("\"{}\"", STANDARD.encode(data)).into_bytes())
}

fn usual_time() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (0..10_000_000_000_000_i64).prop_map(|millis| format!("{}.{:03}", millis / 1000, millis % 1000)),
        (1_500_000_000_000..2_000_000_000_000_i64).prop_map(|millis| (millis as f64 / 1000.0).to_string()),
        (1_500_000_000_000..2_000_000_000_000_i64).prop_map(|millis| format!("{:E}", millis as f64 / 1000.0)),
        (0..20_000_000_000_i64).prop_map(|seconds| seconds.to_string()),
    ]
    .prop_map(String::into_bytes)
}

fn odd_time() -> impl Strategy<Value = Vec<u8>> {
    const TIMES: &[&str] = &[
        "null",
        "-1.5",
        "-5",
        "1700000000.1234567",
        "1700000000.9995",
        "1700000000.99949",
        "9999999999.999",
        "1e400",
        "-1e400",
        "1e18",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "99999999999999999999",
        "1.",
        ".5",
        "1..5",
        "1.5.5",
        "01.5",
        "1e",
        "1e-3",
        "1E+3",
        "-",
        "true",
        "\"1.5\"",
        "\"2024-01-01T00:00:00Z\"",
        "\"nonsense\"",
        "[]",
        "1 .5",
    ];
    prop_oneof![
        any_of(TIMES),
        any::<f64>().prop_map(|time| time.to_string().into_bytes())
    ]
}

/// Valid and invalid UTF-8.
const PIECES: &[&[u8]] = &[b"\xc3", b"\xa9", b"x\xc3\xa9", b"\xed\xa0\x80"];

fn odd_text() -> impl Strategy<Value = Vec<u8>> {
    const TEXTS: &[&str] = &[
        "\"\"",
        "null",
        "\"\\u00e9\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\"\\ude00x\"",
        "\"a\\/b\"",
        "\"\\\"\"",
        "\"\\\\\"",
        "\"\\t\\r\\b\\f\"",
        "\"\\",
        "\"\\q\"",
        "5",
    ];
    prop_oneof![
        4 => any_of(TEXTS),
        1 => stray(),
        // Two values that are valid text only when concatenated.
        1 => select(PIECES).prop_map(|piece| [b"\"", piece, b"\""].concat()),
    ]
}

fn odd_data() -> impl Strategy<Value = Vec<u8>> {
    let written = |text: String| format!("\"{text}\"").into_bytes();
    prop_oneof![
        payload().prop_map(move |data| written(STANDARD_NO_PAD.encode(data))),
        payload().prop_map(move |data| written(URL_SAFE.encode(data))),
        payload().prop_map(move |data| written(STANDARD.encode(data).replace('/', "\\/"))),
        payload().prop_map(move |data| written(STANDARD.encode(data).replace('A', "\\u0041"))),
        any_of(&[
            "\"=\"",
            "\"a===\"",
            "\"ab==\"",
            "\"abc=d\"",
            "\"aa aa\"",
            "\"aGk=\\n\"",
            "null",
            "\"aGl=\""
        ]),
        stray(),
    ]
}

fn encryption() -> impl Strategy<Value = Vec<u8>> {
    any_of(&["\"KMS\"", "\"NONE\"", "null"])
}

/// The members of a record from the service, in any order.
fn usual_record() -> impl Strategy<Value = Vec<Member>> {
    let members = (
        named("SequenceNumber", usual_number()),
        named("ApproximateArrivalTimestamp", usual_time()),
        named("Data", usual_data()),
        proptest::option::weighted(0.8, named("PartitionKey", usual_key())),
        proptest::option::of(named("EncryptionType", encryption())),
    );
    members
        .prop_map(|(number, time, data, key, encryption)| {
            let optional = [key, encryption];
            [number, time, data]
                .into_iter()
                .chain(optional.into_iter().flatten())
                .collect::<Vec<_>>()
        })
        .prop_shuffle()
}

fn any_record() -> impl Strategy<Value = Vec<Member>> {
    let odd = prop_oneof![
        named("SequenceNumber", odd_text()),
        named("ApproximateArrivalTimestamp", odd_time()),
        named("Data", odd_data()),
        named("PartitionKey", odd_text()),
        named("EncryptionType", odd_text()),
        named("__type", stray()),
        named("Dat\\u0061", usual_data()),
        named("Tags", stray()),
        Just((b"\"\xff\"".to_vec(), b"1".to_vec())),
        Just((b"Data".to_vec(), b"\"\"".to_vec())),
    ];
    // Some of the usual members are missing, some occur twice.
    (usual_record(), vec(odd, 0..2), 0..3_usize, any::<bool>())
        .prop_map(|(mut record, odd, missing, whole)| {
            if !whole {
                record.truncate(record.len() - missing);
            }
            record.extend(odd);
            record
        })
        .prop_shuffle()
}

/// White space between tokens, mostly none.
fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![6 => Just(""), 1 => Just(" "), 1 => Just("\n\t"), 1 => Just(" \r\n ")]
}

fn list(open: u8, items: Vec<Vec<u8>>, close: u8, space: &str) -> Vec<u8> {
    let comma = format!("{space},{space}");
    [
        &[open],
        space.as_bytes(),
        &items.join(comma.as_bytes()),
        space.as_bytes(),
        &[close],
    ]
    .concat()
}

fn object(members: Vec<Member>, space: &str) -> Vec<u8> {
    let colon = format!("{space}:{space}");
    let items = members
        .into_iter()
        .map(|(name, value)| [&name, colon.as_bytes(), &value].concat());
    list(b'{', items.collect(), b'}', space)
}

fn records(record: impl Strategy<Value = Vec<Member>>) -> impl Strategy<Value = Vec<u8>> {
    (vec(record, 0..6), space()).prop_map(|(records, space)| {
        let records = records
            .into_iter()
            .map(|members| object(members, space))
            .collect();
        list(b'[', records, b']', space)
    })
}

const CHILDREN: &str = r#"[{"ShardId":"shardId-1","ParentShards":["shardId-0","shardId-2"],
    "HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"9"}}]"#;

/// The other members of an answer or an event.
fn others() -> impl Strategy<Value = Vec<Member>> {
    let text = |name| named(name, "[A-Za-z0-9+/=]{1,40}".prop_map(|text| quoted(&text)));
    let behind = named(
        "MillisBehindLatest",
        (0..1_000_000_u32).prop_map(|millis| millis.to_string().into_bytes()),
    );
    let children = proptest::option::of(named("ChildShards", any_of(&[CHILDREN, "[]"])));
    let next = text("NextShardIterator");
    (behind, next, text("ContinuationSequenceNumber"), children).prop_map(
        |(behind, next, number, children)| {
            [vec![behind, next, number], children.into_iter().collect()].concat()
        },
    )
}

/// A body from the service, with its members in any order.
pub fn usual() -> impl Strategy<Value = Vec<u8>> {
    let members = (named("Records", records(usual_record())), others());
    let members = members
        .prop_map(|(records, others)| [vec![records], others].concat())
        .prop_shuffle();
    (members, space()).prop_map(|(members, space)| object(members, space))
}

/// A body with oddities anywhere.
pub fn odd() -> impl Strategy<Value = Vec<u8>> {
    let odd = prop_oneof![
        4 => named("ChildShards", any_of(&[CHILDREN, "[]", "null", "[{}]", "[1]"])),
        1 => named("Records", prop_oneof![records(usual_record()), stray()]),
        1 => named("R\\u0065cords", records(usual_record())),
        1 => named("MillisBehindLatest", stray()),
        1 => named("NextShardIterator", stray()),
        1 => named("ContinuationSequenceNumber", stray()),
        1 => named("Other", stray()),
        1 => named("__type", stray()),
    ];
    let records = named(
        "Records",
        prop_oneof![4 => records(any_record()), 1 => records(usual_record())],
    );
    let members =
        (records, others(), 0..4_usize, vec(odd, 0..3)).prop_map(|(records, mut others, missing, odd)| {
            others.truncate(others.len() - missing.min(others.len()));
            [vec![records], others, odd].concat()
        });
    let after = prop_oneof![8 => Just(""), 1 => Just("\n"), 1 => Just("x"), 1 => Just("{}"), 1 => Just("\0")];
    (members.prop_shuffle(), space(), after)
        .prop_map(|(members, space, after)| [&object(members, space), after.as_bytes()].concat())
}

/// One change of a body.
#[derive(Clone, Debug)]
pub enum Change {
    Cut(Index),
    Byte(Index, u8),
    Without(Index),
    With(Index, u8),
    Twice(Index, Index),
}

pub fn change() -> impl Strategy<Value = Change> {
    const BYTES: &[u8] = b"\"\\{}[]:,0n .e-=\xc3\xa9\x00/";
    let byte = || prop_oneof![4 => select(BYTES), 1 => any::<u8>()];
    let place = any::<Index>;
    prop_oneof![
        1 => place().prop_map(Change::Cut),
        3 => (place(), byte()).prop_map(|(place, byte)| Change::Byte(place, byte)),
        2 => place().prop_map(Change::Without),
        2 => (place(), byte()).prop_map(|(place, byte)| Change::With(place, byte)),
        1 => (place(), place()).prop_map(|(from, to)| Change::Twice(from, to)),
    ]
}

impl Change {
    pub fn apply(&self, body: &mut Vec<u8>) {
        if body.is_empty() {
            return;
        }
        let at = |place: &Index| place.index(body.len());
        match self {
            Self::Cut(place) => body.truncate(at(place)),
            Self::Byte(place, byte) => {
                let place = at(place);
                body[place] = *byte;
            }
            Self::Without(place) => {
                body.remove(at(place));
            }
            Self::With(place, byte) => body.insert(at(place), *byte),
            Self::Twice(from, to) => {
                let (from, to) = (at(from).min(at(to)), at(from).max(at(to)));
                let part = body[from..to].to_vec();
                body.splice(from..from, part);
            }
        }
    }
}
