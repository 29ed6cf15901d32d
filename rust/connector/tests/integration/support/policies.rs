//! The policies of docs/permissions.md.

use std::collections::BTreeSet;

use serde_json::Value;

const PAGE: &str = include_str!("../../../../../docs/permissions.md");

/// Actions that the first policy under this heading allows.
pub fn allowed(heading: &str) -> BTreeSet<String> {
    let (_, section) = PAGE.split_once(&format!("\n## {heading}\n")).expect("a section");
    policies(section).next().expect("a policy")
}

/// Actions of each policy on the page.
pub fn every_policy() -> impl Iterator<Item = BTreeSet<String>> {
    policies(PAGE)
}

fn policies(page: &str) -> impl Iterator<Item = BTreeSet<String>> + '_ {
    page.split("```json\n").skip(1).map(|block| {
        let (policy, _) = block.split_once("```").expect("its end");
        actions_of(policy)
    })
}

fn actions_of(policy: &str) -> BTreeSet<String> {
    let policy: Value = serde_json::from_str(policy).expect("JSON");
    assert_eq!(policy["Version"], "2012-10-17");
    let statements = policy["Statement"].as_array().expect("statements");
    let actions = statements.iter().flat_map(|statement| {
        assert_eq!(statement["Effect"], "Allow");
        match &statement["Action"] {
            Value::Array(actions) => actions.clone(),
            action => vec![action.clone()],
        }
    });
    actions
        .map(|action| action.as_str().expect("an action").to_owned())
        .collect()
}

/// Actions of one service under this heading, without the service's name.
pub fn allowed_of(heading: &str, service: &str) -> BTreeSet<String> {
    let of_service = |action: &String| Some(action.strip_prefix(service)?.strip_prefix(':')?.to_owned());
    let all = allowed(heading);
    let those: BTreeSet<_> = all.iter().filter_map(of_service).collect();
    assert_eq!(those.len(), all.len(), "{all:?} are of {service}");
    those
}
