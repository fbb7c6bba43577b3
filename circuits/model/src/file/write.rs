//! Writing: header first, then the sections, then the name; to a temporary file that is renamed when it is whole.

use std::io::Write;
use std::path::Path;

use super::FileError;
use super::header::{ALIGN, Header, MAX_NAME_BYTES, SectionInfo, TextHeader};
use super::sections::{Section, contents, layer_matrices};
use crate::artefact::{Linear, Model, ModelId};
use crate::error::ModelError;

/// The header of a model in memory.
pub(super) fn header(model: &Model) -> Header {
    let sections = contents(model)
        .into_iter()
        .map(|Section { shape, bytes }| SectionInfo {
            name: shape.name,
            kind: shape.kind,
            rows: shape.rows as u64,
            cols: shape.cols as u64,
            blake3: blake3::hash(&bytes).to_hex().to_string(),
        })
        .collect();
    Header { arch: model.arch.clone(), acc32: acc32(model), text: text(model), sections }
}

fn text(model: &Model) -> TextHeader {
    TextHeader {
        eos_ids: model.text.eos_ids.clone(),
        bos_id: model.text.bos_id,
        bos_token: model.text.bos_token.clone(),
        eos_token: model.text.eos_token.clone(),
    }
}

fn acc32(model: &Model) -> Vec<String> {
    let mut out = Vec::new();
    let mut note = |name: String, m: &Linear| {
        if m.acc32 {
            out.push(name);
        }
    };
    note("embedding".into(), &model.embedding);
    if let Some(h) = &model.head {
        note("head".into(), h);
    }
    for (l, y) in model.layers.iter().enumerate() {
        let all = [&y.q, &y.k, &y.v, &y.o, &y.gate, &y.up, &y.down];
        for ((name, ..), m) in layer_matrices(&model.arch).into_iter().zip(all) {
            note(format!("layers.{l}.{name}"), m);
        }
    }
    out
}

/// Computes the identity of a model in memory and writes it into `model.id`.
///
/// # Errors
/// Where the header would be too long.
pub fn identify(model: &mut Model) -> Result<ModelId, ModelError> {
    model.id = header(model).digests()?.model;
    Ok(model.id)
}

/// Writes the artefact of a model and returns its identity. The file appears whole or not at all.
///
/// # Errors
/// [`ModelError::Io`], or a name that is too long.
pub fn write(model: &Model, path: &Path) -> Result<ModelId, ModelError> {
    if model.name.len() > MAX_NAME_BYTES {
        return Err(FileError::Value(format!("the name has more than {MAX_NAME_BYTES} bytes")).into());
    }
    let header = header(model);
    let id = header.digests()?.model;
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = dir.join(format!(".{}.{}.partial", hex::encode(id.0), std::process::id()));
    let result = write_all(model, &header, &temporary)
        .and_then(|()| std::fs::rename(&temporary, path).map_err(ModelError::io(path)))
        .and_then(|()| {
            // The rename itself must survive a crash.
            std::fs::File::open(dir).and_then(|d| d.sync_all()).map_err(ModelError::io(dir))
        });
    if result.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    result.map(|()| id)
}

fn write_all(model: &Model, header: &Header, path: &Path) -> Result<(), ModelError> {
    let head = header.encode()?;
    let run = || -> std::io::Result<()> {
        let file = std::fs::File::create(path)?;
        let mut out = std::io::BufWriter::with_capacity(1 << 20, file);
        out.write_all(&head)?;
        for Section { bytes, .. } in contents(model) {
            out.write_all(&bytes)?;
            let pad = bytes.len().next_multiple_of(ALIGN as usize) - bytes.len();
            out.write_all(&[0u8; ALIGN as usize][..pad])?;
        }
        out.write_all(&(model.name.len() as u16).to_le_bytes())?;
        out.write_all(model.name.as_bytes())?;
        out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
    };
    run().map_err(ModelError::io(path))
}
