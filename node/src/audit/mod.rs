//! `monai audit`: receipts against trust anchors, against each other, and against the model itself.

mod prove;
mod reexecute;
mod report;

pub use reexecute::Auditor;

use crate::anchors::Anchors;
use crate::cli::AuditArgs;
use crate::clock::unix_ms;
use crate::error::{Error, FileContext as _, Result};
use crate::home::Home;
use crate::models::ModelStore;
use crate::prove::Maker;
use monai_protocol::receipt::{MAX_RECEIPT_BYTES, Receipt, ReceiptError, Report, check_pair};
use report::{Finding, Verdict};
use serde_json::value::RawValue;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Most receipts of one run: all pairs among them are compared.
const MAX_RECEIPTS: usize = 4096;

/// A receipt and the file that it is from.
struct Filed {
    path: PathBuf,
    receipt: std::result::Result<Receipt, ReceiptError>,
}

/// Runs the command.
///
/// # Errors
/// [`Error::Invalid`] if anything is wrong; what it is has been printed then.
pub fn run(args: &AuditArgs, home: &Home) -> Result<()> {
    let anchors = Anchors::load(args.anchors.as_deref(), home)?;
    let mut filed = Vec::new();
    for path in &args.receipts {
        filed.extend(read(path)?);
    }
    if filed.len() > MAX_RECEIPTS {
        return Err(Error::Usage(format!("{} receipts, at most {MAX_RECEIPTS} at once", filed.len())));
    }
    let maker = args.prove.then(|| Maker::new(home, &args.setup));
    let auditor = args.reexecute.then(|| Auditor::new(ModelStore::new(home.models()), args.threads));
    if args.prove {
        prove::one_a_file(&filed.iter().map(|f| f.path.as_path()).collect::<Vec<_>>())?;
    }
    let mut findings = Vec::with_capacity(filed.len());
    for item in &filed {
        let mut verdict = examine(item, &anchors, auditor.as_ref())?;
        if let (Some(maker), Verdict::Valid { proof, .. }, Ok(receipt)) =
            (&maker, &mut verdict, &item.receipt)
        {
            match prove::prove(maker, &item.path, receipt) {
                Ok(path) => *proof = Some(path),
                Err(Error::Invalid(what)) => verdict = Verdict::Invalid(what),
                Err(error) => return Err(error),
            }
        }
        findings.push(Finding { path: item.path.clone(), verdict });
    }
    for (i, a) in filed.iter().enumerate() {
        for (j, b) in filed.iter().enumerate().skip(i + 1) {
            // Only what is right by itself says anything about others: a forged receipt convicts nobody.
            let right = |k: usize| !matches!(findings[k].verdict, Verdict::Invalid(_));
            let (Ok(x), Ok(y)) = (&a.receipt, &b.receipt) else { continue };
            if !right(i) || !right(j) {
                continue;
            }
            if let Err(error) = check_pair(x, y) {
                let text = format!("{} and {}: {error}", a.path.display(), b.path.display());
                findings[i].verdict = Verdict::Invalid(text.clone());
                findings[j].verdict = Verdict::Invalid(text);
            }
        }
    }
    report::print(&findings, args.json);
    if findings.is_empty() {
        return Err(Error::Invalid("there is no receipt in what was given".into()));
    }
    let wrong = findings.iter().filter(|f| matches!(f.verdict, Verdict::Invalid(_))).count();
    if wrong == 0 {
        Ok(())
    } else {
        Err(Error::Invalid(format!("{wrong} of {} receipts are not valid", findings.len())))
    }
}

/// Checks one receipt by itself, and against the model if there is an auditor.
///
/// # Errors
/// [`Error::Invalid`] names the first thing that is wrong; any other error kept the check from running.
pub fn check(text: &[u8], anchors: &Anchors, auditor: Option<&Auditor>) -> Result<Report> {
    let item = Filed { path: PathBuf::new(), receipt: Receipt::from_json(text) };
    match examine(&item, anchors, auditor)? {
        Verdict::Valid { report, .. } => Ok(*report),
        Verdict::Invalid(what) => Err(Error::Invalid(what)),
    }
}

/// Checks one receipt by itself. What keeps a check from running is an error, not a verdict.
fn examine(item: &Filed, anchors: &Anchors, auditor: Option<&Auditor>) -> Result<Verdict> {
    let receipt = match &item.receipt {
        Ok(receipt) => receipt,
        Err(error) => return Ok(Verdict::Invalid(error.to_string())),
    };
    let report = match receipt.check(&anchors.trust, unix_ms() / 1000) {
        Ok(report) => report,
        Err(error) => return Ok(Verdict::Invalid(error.to_string())),
    };
    if let Some(auditor) = auditor {
        // A model that is not here is found out before the check, so that it can't look like a wrong answer.
        auditor.prepare(&report.model)?;
        match auditor.confirm(receipt) {
            Ok(()) => {}
            Err(Error::Invalid(what)) => return Ok(Verdict::Invalid(what)),
            Err(error) => return Err(error),
        }
    }
    Ok(Verdict::Valid { report: Box::new(report), reexecuted: auditor.is_some(), proof: None })
}

/// Reads a file with one receipt, or with a list of them (`[…]` or `{"data": […]}`), as the endpoint
/// gives for several choices.
fn read(path: &Path) -> Result<Vec<Filed>> {
    let text = read_bytes(path)?;
    let file = |receipt| Filed { path: path.to_path_buf(), receipt };
    // Each receipt is parsed from its own text, strictly, so a doubled field in a list is found as well.
    let lists: Option<Vec<Box<RawValue>>> = match text.iter().find(|b| !b.is_ascii_whitespace()) {
        Some(b'[') => serde_json::from_slice(&text).ok(),
        _ => serde_json::from_slice::<List>(&text).ok().map(|list| list.data),
    };
    let Some(list) = lists else { return Ok(vec![file(Receipt::from_json(&text))]) };
    Ok(list.iter().map(|raw| file(Receipt::from_json(raw.get().as_bytes()))).collect())
}

/// Receipts as the endpoint gives them for several choices.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    data: Vec<Box<RawValue>>,
    #[serde(default, rename = "object")]
    _object: String,
}

fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    let limit = MAX_RECEIPT_BYTES as u64 * 16;
    let mut text = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().take(limit + 1).read_to_end(&mut text).at(path)?;
    } else {
        std::fs::File::open(path).and_then(|f| f.take(limit + 1).read_to_end(&mut text)).at(path)?;
    }
    if text.len() as u64 > limit {
        return Err(Error::Malformed { path: path.to_path_buf(), what: format!("more than {limit} bytes") });
    }
    Ok(text)
}
