//! HTTP endpoints under `/sandbox`: knobs, counters and reset.

use hyper::Method;
use serde_json::json;

use crate::core::Core;
use crate::knobs::KnobUpdate;

/// Returns the response's status and JSON body.
pub(crate) fn answer(core: &Core, method: &Method, path: &str, body: &[u8]) -> (u16, String) {
    match (method.as_str(), path.trim_end_matches('/')) {
        ("GET", "/sandbox/stats") => (
            200,
            serde_json::to_string(&core.stats()).unwrap_or_else(|e| error(&e.to_string())),
        ),
        ("GET", "/sandbox/knobs") => (200, knobs(core)),
        ("POST", "/sandbox/knobs") => match turn(core, body) {
            Ok(()) => (200, knobs(core)),
            Err(message) => (400, error(&message)),
        },
        ("POST" | "DELETE", "/sandbox/reset" | "/sandbox") => {
            core.reset();
            (200, "{}".to_owned())
        }
        _ => (
            404,
            error(
                "there are GET /sandbox/stats, GET and POST /sandbox/knobs, and POST or DELETE /sandbox/reset",
            ),
        ),
    }
}

fn turn(core: &Core, body: &[u8]) -> Result<(), String> {
    let update: KnobUpdate = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    core.apply(&update).map_err(|e| e.to_string())
}

fn knobs(core: &Core) -> String {
    let settings = core.knobs.settings();
    let delays: serde_json::Map<_, _> = settings
        .delays
        .iter()
        .map(|(op, ms)| (op.name().to_owned(), (*ms).into()))
        .collect();
    match serde_json::to_value(&settings) {
        Ok(mut value) => {
            value["delays"] = delays.into();
            value.to_string()
        }
        Err(e) => error(&e.to_string()),
    }
}

fn error(message: &str) -> String {
    json!({ "error": message }).to_string()
}
