//! `monai network`: nodes, scores and weights as tables.

use crate::chat::{DEFAULT_API_KEY, DEFAULT_URL};
use crate::cli::{ChatOptions, NetworkArgs};
use crate::error::Result;
use crate::openai::Endpoint;
use serde_json::Value;

/// Runs the command.
///
/// # Errors
/// What the endpoint says.
pub async fn run(args: NetworkArgs, file: &ChatOptions) -> Result<()> {
    let url = args.url.or_else(|| file.url.clone()).unwrap_or_else(|| DEFAULT_URL.into());
    let key = args.api_key.or_else(|| file.api_key.clone()).unwrap_or_else(|| DEFAULT_API_KEY.into());
    let network = Endpoint::new(&url, Some(key))?.get("/network").await?;
    if args.json {
        println!("{network}");
    } else {
        print!("{}", describe(&network));
    }
    Ok(())
}

/// The state of a network, for people. What is not there is shown as `-`.
fn describe(network: &Value) -> String {
    let text = |at: &str| cell(network.pointer(at));
    let mut out = format!(
        "chain {}, rollup {}\nsequencer {}\nepoch {}, next batch {}\n",
        text("/domain/chain_id"),
        text("/domain/rollup"),
        text("/sequencer"),
        text("/epoch"),
        text("/next_batch"),
    );
    for model in list(network, "models") {
        out.push_str(&format!("\n{}  {}\n", cell(model.get("name")), cell(model.get("model_id"))));
        let weight = |name: &str| cell(model.pointer(&format!("/weights/{name}")));
        let (uptime, speed, stake) = (weight("uptime"), weight("speed"), weight("stake"));
        out.push_str(&format!("weights: uptime {uptime}, speed {speed}, stake {stake}\n"));
        out.push_str(&nodes(network, model));
    }
    out
}

const COLUMNS: [&str; 10] =
    ["node", "stake", "state", "active", "share", "uptime", "tok/s", "answered", "missed", "memory"];

/// The nodes of one model.
fn nodes(network: &Value, model: &Value) -> String {
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    for node in list(network, "nodes") {
        let share = list(node, "models").iter().find(|m| m["model"] == model["name"]);
        // Registered, and drawn for no model at all: its stake does not count, or it is out for its uptime.
        let undrawn = list(node, "models").is_empty();
        if share.is_none() && !undrawn {
            continue;
        }
        let state = match (node["connected"] == true, node["draining"] == true) {
            _ if undrawn && node["stake"] == "0" => "floor",
            _ if undrawn => "out",
            (true, false) => "up",
            (true, true) => "draining",
            (false, _) => "away",
        };
        let share = share.unwrap_or(&Value::Null);
        rows.push([
            cell(node.get("address")),
            scaled(node.get("stake"), 1e9, ""),
            state.to_owned(),
            cell(node.get("active")),
            cell(share.get("probability")),
            cell(share.get("uptime")),
            cell(share.get("tokens_per_second")),
            cell(share.get("answered")),
            cell(share.get("missed")),
            scaled(node.pointer("/load/rss_bytes"), 1_048_576.0, " MiB"),
        ]);
    }
    aligned(&rows)
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

/// A number, or a decimal string, in a larger unit.
fn scaled(value: Option<&Value>, unit: f64, suffix: &str) -> String {
    let number = value.and_then(|v| v.as_f64().or_else(|| v.as_str()?.parse().ok()));
    number.map_or_else(|| "-".into(), |n| format!("{:.0}{suffix}", n / unit))
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".into(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(n)) if n.is_f64() => n.as_f64().map_or_else(String::new, |f| format!("{f:.4}")),
        Some(other) => other.to_string(),
    }
}

fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |i: usize| rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let line: Vec<_> = row.iter().zip(&widths).map(|(c, w)| format!("{c:<w$}")).collect();
        out.push_str(line.join("  ").trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nodes_stand_under_their_models() {
        let text = describe(&json!({
            "epoch": 3,
            "models": [{"name": "m", "model_id": "0x01", "weights": {"uptime": 0.375, "speed": 0.375, "stake": 0.25}}],
            "nodes": [
                {"address": "0xaa", "stake": "4000000000000", "connected": true, "draining": false, "active": 2,
                 "load": {"rss_bytes": 104_857_600},
                 "models": [{"model": "m", "probability": 0.5, "uptime": null, "answered": 7, "missed": 0}]},
                {"address": "0xbb", "stake": "1", "connected": false, "models": [{"model": "other"}]},
                {"address": "0xcc", "stake": "0", "connected": true, "models": []},
            ],
        }));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[2], "epoch 3, next batch -");
        assert_eq!(lines[5], "weights: uptime 0.3750, speed 0.3750, stake 0.2500");
        assert_eq!(lines[7], "0xaa  4000   up     2       0.5000  -       -      7         0       100 MiB");
        assert_eq!(lines[8], "0xcc  0      floor  -       -       -       -      -         -       -");
        assert_eq!(lines.len(), 9);
    }
}
