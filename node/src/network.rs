//! `monai network`: nodes, scores and weights as a table.

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
        print!("{}", table(&network));
    }
    Ok(())
}

/// Any JSON as text: plain values as lines, lists of objects as tables. The endpoint's document may
/// grow without this program knowing its new fields.
fn table(value: &Value) -> String {
    let mut out = String::new();
    write(value, "", &mut out);
    out
}

fn write(value: &Value, title: &str, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let (plain, nested): (Vec<_>, Vec<_>) =
                fields.iter().partition(|(_, v)| !v.is_object() && !is_table(v));
            for (name, v) in plain {
                out.push_str(&format!("{}: {}\n", join(title, name), cell(v)));
            }
            for (name, v) in nested {
                write(v, &join(title, name), out);
            }
        }
        Value::Array(rows) => {
            out.push_str(&format!("\n{title}\n"));
            rows_as_table(rows, out);
            for (i, row) in rows.iter().enumerate() {
                if let Value::Object(fields) = row {
                    for (name, v) in fields.iter().filter(|(_, v)| is_table(v)) {
                        write(v, &format!("{title}[{i}].{name}"), out);
                    }
                }
            }
        }
        plain => out.push_str(&format!("{title}: {}\n", cell(plain))),
    }
}

fn is_table(value: &Value) -> bool {
    value.as_array().is_some_and(|a| a.first().is_some_and(Value::is_object))
}

fn join(title: &str, name: &str) -> String {
    if title.is_empty() { name.to_owned() } else { format!("{title}.{name}") }
}

fn rows_as_table(rows: &[Value], out: &mut String) {
    let flat: Vec<Vec<(String, String)>> = rows.iter().map(|r| flatten(r, "")).collect();
    let mut columns: Vec<String> = Vec::new();
    for (name, _) in flat.iter().flatten() {
        if !columns.contains(name) {
            columns.push(name.clone());
        }
    }
    let cells: Vec<Vec<&str>> = flat
        .iter()
        .map(|row| {
            let find = |c: &String| row.iter().find(|(n, _)| n == c).map_or("", |(_, v)| v.as_str());
            columns.iter().map(find).collect()
        })
        .collect();
    let width = |i: usize| {
        cells.iter().map(|r| r[i].chars().count()).chain([columns[i].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns.len()).map(width).collect();
    let mut line = |row: Vec<&str>| {
        let text: Vec<_> = row.iter().zip(&widths).map(|(c, w)| format!("{c:<w$}")).collect();
        out.push_str(text.join("  ").trim_end());
        out.push('\n');
    };
    line(columns.iter().map(String::as_str).collect());
    cells.into_iter().for_each(line);
}

fn flatten(value: &Value, prefix: &str) -> Vec<(String, String)> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, v)| !is_table(v))
            .flat_map(|(name, v)| flatten(v, &join(prefix, name)))
            .collect(),
        plain => vec![(prefix.to_owned(), cell(plain))],
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        Value::Number(n) => match n.as_f64() {
            Some(f) if n.is_f64() => format!("{f:.4}"),
            _ => n.to_string(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_become_aligned_columns() {
        let text = table(&serde_json::json!({
            "epoch": 3,
            "nodes": [
                {"address": "0xaa", "score": 0.25, "raw": {"speed": 10}},
                {"address": "0xbbbb", "score": 0.5, "raw": {"speed": null}},
            ],
        }));
        assert_eq!(
            text,
            "epoch: 3\n\nnodes\naddress  raw.speed  score\n0xaa     10         0.2500\n0xbbbb   -          0.5000\n"
        );
    }
}
