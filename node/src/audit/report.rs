//! What an audit says.

use monai_protocol::receipt::Report;
use serde_json::json;
use std::path::PathBuf;

/// What was found about one receipt.
pub(super) struct Finding {
    pub(super) path: PathBuf,
    pub(super) verdict: Verdict,
}

/// Valid, with what it shows, or what is wrong.
pub(super) enum Verdict {
    /// Everything that is there is right.
    Valid {
        /// What it shows.
        report: Box<Report>,
        /// True if the model was run again.
        reexecuted: bool,
        /// Where its proof is, if one was asked for.
        proof: Option<PathBuf>,
    },
    /// The first thing that is wrong.
    Invalid(String),
}

/// Prints all findings.
pub(super) fn print(findings: &[Finding], as_json: bool) {
    if as_json {
        let receipts: Vec<_> = findings.iter().map(json_of).collect();
        let valid = findings.iter().all(|f| matches!(f.verdict, Verdict::Valid { .. }));
        println!("{}", json!({"valid": valid, "receipts": receipts}));
    } else {
        for finding in findings {
            println!("{}", text_of(finding));
        }
    }
}

fn json_of(finding: &Finding) -> serde_json::Value {
    let path = finding.path.display().to_string();
    match &finding.verdict {
        Verdict::Valid { report, reexecuted, proof } => {
            let proof = proof.as_ref().map(|p| p.display().to_string());
            json!({"file": path, "valid": true, "reexecuted": reexecuted, "proof": proof, "report": report})
        }
        Verdict::Invalid(what) => json!({"file": path, "valid": false, "error": what}),
    }
}

fn text_of(finding: &Finding) -> String {
    let path = finding.path.display();
    match &finding.verdict {
        Verdict::Invalid(what) => format!("{path}: INVALID: {what}"),
        Verdict::Valid { report, reexecuted, proof } => {
            let mut text = format!("{path}: valid\n");
            let mut line = |name: &str, value: String| text.push_str(&format!("  {name:<12} {value}\n"));
            line("model", report.model.to_string());
            line("node", report.node.to_string());
            line("epoch", report.epoch.to_string());
            line("finish", format!("{:?}", report.finish).to_lowercase());
            line("charge", report.charge.to_string());
            let drawn =
                if report.draw_verified { "recomputed: this node was drawn" } else { "not recomputed" };
            line("draw", drawn.into());
            let ran = if *reexecuted { "same ids, bit for bit" } else { "not asked for (--reexecute)" };
            line("re-execution", ran.into());
            if let Some(proof) = proof {
                line("proof", format!("{} (made here, verified)", proof.display()));
            }
            if report.audited {
                line("audit", "passed, signed by a trusted auditor".into());
            }
            // Words of the report's own JSON, so that people and scripts read the same names.
            let pending: Vec<_> = report
                .pending
                .iter()
                .filter_map(|p| serde_json::to_value(p).ok()?.as_str().map(str::to_owned))
                .collect();
            line("pending", if pending.is_empty() { "nothing".into() } else { pending.join(", ") });
            text.trim_end().to_owned()
        }
    }
}
