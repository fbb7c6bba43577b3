//! Loading: the file is mapped, its header parsed and re-encoded, every section's digest checked, every range and every
//! a-priori bound checked again. What comes out is safe to run on any input.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;
use rayon::prelude::*;

use super::FileError;
use super::header::{
    ALIGN, FORMAT_VERSION, Header, Kind, MAGIC, MAX_HEADER_BYTES, MAX_NAME_BYTES, PREFIX, SectionInfo,
    TEMPLATE, TOKENIZER,
};
use super::sections::{Expected, Presence, expected};
use crate::artefact::{HeadNorm, Int8s, Layer, Linear, Model, ModelId, Tables, TextConfig};
use crate::bounds;
use crate::error::ModelError;
use crate::limits::{Dimensions, check_end_ids};
use crate::source::regular;
use crate::tables;
use crate::text;

/// Loads an artefact. With `expected`, any other model is refused before its weights are read.
///
/// The weights stay in the mapped file, which must not be changed while the model lives; a store's files never are.
///
/// # Errors
/// Where the file is not exactly the artefact of a model whose bounds hold.
pub fn load(path: &Path, expected: Option<&ModelId>) -> Result<Model, ModelError> {
    let file = regular(path)?;
    // SAFETY: the map is read-only. Another process that changes the file could change weights under us; artefacts are
    // written once under a name that is their digest and never modified, and the store documents that.
    let map = unsafe { Mmap::map(&file) }.map_err(ModelError::io(path))?;
    let map = Arc::new(map);
    let (header, start) = parse(&map)?;
    let id = header.digests()?.model;
    if let Some(want) = expected {
        same("model", &hex::encode(want.0), &hex::encode(id.0))?;
    }
    let (offsets, end) = header.layout(start).ok_or(FileError::Length("sections longer than any file"))?;
    let name = name(&map, end)?;
    let file = Sections { map: &map, header: &header, offsets };
    file.verify(start)?;
    let model = file.model(id, name)?;
    text::check(&model.text, model.arch.vocab)?;
    bounds::check(&model)?;
    Ok(model)
}

/// Reads the header only: what a listing shows. Nothing but the header's own form is checked.
///
/// # Errors
/// Where the header is malformed.
pub fn peek(path: &Path) -> Result<Header, ModelError> {
    use std::io::Read;
    let file = regular(path)?;
    let mut bytes = Vec::new();
    let most = PREFIX + u64::from(MAX_HEADER_BYTES) + ALIGN;
    file.take(most).read_to_end(&mut bytes).map_err(ModelError::io(path))?;
    Ok(parse(&bytes)?.0)
}

/// Header and offset of the first section.
fn parse(bytes: &[u8]) -> Result<(Header, u64), FileError> {
    let short = FileError::Length("the file ends inside its header");
    let word = |at: usize| {
        let part = bytes.get(at..at + 4)?;
        Some(u32::from_le_bytes([part[0], part[1], part[2], part[3]]))
    };
    if bytes.get(..8) != Some(MAGIC.as_slice()) || word(8) != Some(FORMAT_VERSION) {
        return Err(FileError::Magic);
    }
    let Some(len) = word(12) else { return Err(short) };
    if len > MAX_HEADER_BYTES {
        return Err(FileError::Header("too long".into()));
    }
    let start = PREFIX as usize + len as usize;
    let Some(json) = bytes.get(PREFIX as usize..start) else { return Err(short) };
    let header: Header = serde_json::from_slice(json).map_err(|e| FileError::Header(e.to_string()))?;
    let canonical = header.encode()?;
    match bytes.get(..canonical.len()) {
        Some(given) if given == canonical => Ok((header, canonical.len() as u64)),
        Some(_) => Err(FileError::Header("not in canonical form".into())),
        None => Err(short),
    }
}

/// The display name after the last section.
fn name(bytes: &[u8], end: u64) -> Result<String, FileError> {
    let tail = usize::try_from(end).ok().and_then(|e| bytes.get(e..));
    let Some((len, name)) = tail.and_then(|t| t.split_first_chunk::<2>()) else {
        return Err(FileError::Length("the file ends before its last section does"));
    };
    if name.len() != usize::from(u16::from_le_bytes(*len)) {
        return Err(FileError::Length("the file does not end after its name"));
    }
    let name = std::str::from_utf8(name).map_err(|_| FileError::Value("the name is not UTF-8".into()))?;
    if name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
        return Err(FileError::Value("the name is too long or has control characters".into()));
    }
    Ok(name.to_owned())
}

fn same(section: &str, expected: &str, found: &str) -> Result<(), FileError> {
    if expected == found {
        return Ok(());
    }
    Err(FileError::Digest { section: section.into(), expected: expected.into(), found: found.into() })
}

struct Sections<'a> {
    map: &'a Arc<Mmap>,
    header: &'a Header,
    /// Offset and bytes of each section; all are inside the map.
    offsets: Vec<(u64, u64)>,
}

impl Sections<'_> {
    fn bytes(&self, i: usize) -> &[u8] {
        let (at, len) = self.offsets[i];
        &self.map[at as usize..(at + len) as usize]
    }

    /// Digests of all sections, zeros between them, and the right list of them.
    fn verify(&self, start: u64) -> Result<(), ModelError> {
        self.table()?;
        let mut at = start;
        for &(offset, len) in &self.offsets {
            if self.map[at as usize..offset as usize].iter().any(|&b| b != 0) {
                return Err(FileError::Value("padding is not zero".into()).into());
            }
            at = offset + len;
        }
        let tail = at.next_multiple_of(ALIGN);
        if self.map[at as usize..tail as usize].iter().any(|&b| b != 0) {
            return Err(FileError::Value("padding is not zero".into()).into());
        }
        self.header.sections.par_iter().enumerate().try_for_each(|(i, s)| {
            let bytes = self.bytes(i);
            same(&s.name, &s.blake3, blake3::hash(bytes).to_hex().as_str())?;
            if s.kind == Kind::I8 && bytes.contains(&0x80) {
                return Err(FileError::section(&s.name, "has a weight of -128"));
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Checks the shape, then that the sections are exactly those of such a model.
    fn table(&self) -> Result<(), ModelError> {
        let a = &self.header.arch;
        Dimensions::from(a).check()?;
        check_end_ids(&self.header.text.eos_ids)?;
        if a.norm_eps == 0 || a.tau_one == 0 || a.tau_max == 0 || !(8..=16).contains(&a.residual_bits) {
            return Err(FileError::Value("a constant of the architecture is out of range".into()).into());
        }
        let names: HashSet<&str> = self.header.sections.iter().map(|s| s.name.as_str()).collect();
        let has = |l: usize, m: &str| names.contains(format!("layers.{l}.{m}.bias").as_str());
        let mut list = expected(a, |l| Presence {
            q_bias: has(l, "q"),
            k_bias: has(l, "k"),
            v_bias: has(l, "v"),
            o_bias: has(l, "o"),
        });
        for name in [TOKENIZER, TEMPLATE] {
            if let Some(s) = self.header.sections.iter().find(|s| s.name == name) {
                let cols = usize::try_from(s.cols).unwrap_or(usize::MAX);
                list.push(Expected { name: name.into(), kind: Kind::Utf8, rows: 1, cols });
            }
        }
        for (want, got) in list.iter().zip(&self.header.sections) {
            let matches = |s: &SectionInfo| {
                (s.name.as_str(), s.kind, s.rows, s.cols)
                    == (want.name.as_str(), want.kind, want.rows as u64, want.cols as u64)
            };
            if !matches(got) {
                let reason = format!("expected {} of {} x {}", want.name, want.rows, want.cols);
                return Err(FileError::section(&got.name, reason).into());
            }
        }
        if list.len() != self.header.sections.len() {
            return Err(FileError::Header("too few or too many sections".into()).into());
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.header.sections.iter().position(|s| s.name == name)
    }

    fn model(&self, id: ModelId, name: String) -> Result<Model, ModelError> {
        let a = &self.header.arch;
        let mut cursor =
            Cursor { file: self, next: 0, acc32: self.header.acc32.iter().map(String::as_str).collect() };
        let embedding = cursor.linear("embedding")?;
        let head = if a.tied_head { None } else { Some(cursor.linear("head")?) };
        let mut layers = Vec::with_capacity(a.layers);
        for l in 0..a.layers {
            layers.push(cursor.layer(l, a.qk_norm)?);
        }
        if a.qk_norm {
            let eps = cursor.values("head_norm_eps", i64::from_le_bytes)?;
            let set = |norm: &mut Option<HeadNorm>, eps: i64| {
                norm.as_mut().zip(u64::try_from(eps).ok().filter(|&e| e > 0)).map(|(n, e)| n.eps = e)
            };
            for (layer, eps) in layers.iter_mut().zip(eps.chunks_exact(2)) {
                set(&mut layer.q_norm, eps[0])
                    .and(set(&mut layer.k_norm, eps[1]))
                    .ok_or_else(|| FileError::section("head_norm_eps", "has an eps below 1"))?;
            }
        }
        for (layer, m) in layers.iter_mut().zip(cursor.values("score_multiplier", i64::from_le_bytes)?) {
            if m < 1 {
                return Err(FileError::section("score_multiplier", "below 1").into());
            }
            layer.score_multiplier = m;
        }
        let final_gain = cursor.values("final_gain", i32::from_le_bytes)?;
        let tables = Tables {
            exp: cursor.values("tables.exp", u16::from_le_bytes)?,
            silu: cursor.values("tables.silu", i32::from_le_bytes)?,
            weight: cursor.values("tables.weight", u32::from_le_bytes)?,
            cos: cursor.values("tables.cos", i16::from_le_bytes)?,
            sin: cursor.values("tables.sin", i16::from_le_bytes)?,
        };
        if tables.exp != tables::exp_table() || tables.weight != tables::weight_table() {
            return Err(
                FileError::section("tables.exp", "this or the weight table is not the frozen one").into()
            );
        }
        let arch = a.clone();
        let model = Model { id, name, arch, embedding, head, layers, final_gain, tables, text: self.text()? };
        if !cursor.acc32.is_empty() || (!a.tied_head && !model.embedding.acc32) {
            return Err(FileError::Header("acc32 names the wrong matrices".into()).into());
        }
        Ok(model)
    }

    fn text(&self) -> Result<TextConfig, FileError> {
        let utf8 = |i: usize, name: &str| {
            String::from_utf8(self.bytes(i).to_vec()).map_err(|_| FileError::section(name, "is not UTF-8"))
        };
        let tokenizer = self.find(TOKENIZER).ok_or_else(|| FileError::section(TOKENIZER, "missing"))?;
        let t = &self.header.text;
        let vocab = self.header.arch.vocab;
        if t.eos_ids.iter().chain(&t.bos_id).any(|&id| id as usize >= vocab) {
            return Err(FileError::Value("an end or begin id is outside the vocabulary".into()));
        }
        Ok(TextConfig {
            tokenizer_json: utf8(tokenizer, TOKENIZER)?,
            chat_template: self.find(TEMPLATE).map(|i| utf8(i, TEMPLATE)).transpose()?,
            eos_ids: t.eos_ids.clone(),
            bos_id: t.bos_id,
            bos_token: t.bos_token.clone(),
            eos_token: t.eos_token.clone(),
        })
    }
}

/// Takes the sections one after another; the table has been checked, so their order is known.
struct Cursor<'a> {
    file: &'a Sections<'a>,
    next: usize,
    acc32: HashSet<&'a str>,
}

impl Cursor<'_> {
    /// The next section, if it has this name.
    fn take(&mut self, name: &str) -> Option<usize> {
        let i = self.next;
        (self.file.header.sections.get(i)?.name == name).then(|| self.next += 1).map(|()| i)
    }

    fn values<T, const N: usize>(
        &mut self,
        name: &str,
        decode: fn([u8; N]) -> T,
    ) -> Result<Vec<T>, FileError> {
        let i = self.take(name).ok_or_else(|| FileError::section(name, "missing"))?;
        Ok(self.file.bytes(i).as_chunks().0.iter().map(|&b| decode(b)).collect())
    }

    fn linear(&mut self, name: &str) -> Result<Linear, FileError> {
        let weight = format!("{name}.weight");
        let missing = || FileError::section(&weight, "missing");
        let i = self.take(&weight).ok_or_else(missing)?;
        let (at, len) = self.file.offsets[i];
        let info = &self.file.header.sections[i];
        let multiplier = self.values(&format!("{name}.multiplier"), i32::from_le_bytes)?;
        if multiplier.iter().any(|&m| m < 1) {
            return Err(FileError::section(&format!("{name}.multiplier"), "below 1"));
        }
        let bias = format!("{name}.bias");
        let has_bias = self.file.header.sections.get(self.next).is_some_and(|s| s.name == bias);
        let bias = if has_bias { self.values(&bias, i64::from_le_bytes)? } else { Vec::new() };
        Ok(Linear {
            rows: info.rows as usize,
            cols: info.cols as usize,
            weight: Int8s::mapped(self.file.map.clone(), at as usize, len as usize).ok_or_else(missing)?,
            multiplier,
            bias,
            acc32: self.acc32.remove(name),
        })
    }

    fn layer(&mut self, l: usize, qk_norm: bool) -> Result<Layer, FileError> {
        let mut linear = |m: &str| self.linear(&format!("layers.{l}.{m}"));
        let (q, k, v, o) = (linear("q")?, linear("k")?, linear("v")?, linear("o")?);
        let (gate, up, down) = (linear("gate")?, linear("up")?, linear("down")?);
        let mut norm = |m: &str| -> Result<Option<HeadNorm>, FileError> {
            if !qk_norm {
                return Ok(None);
            }
            let gain = self.values(&format!("layers.{l}.{m}.gain"), i32::from_le_bytes)?;
            Ok(Some(HeadNorm { eps: 1, gain }))
        };
        let (q_norm, k_norm) = (norm("q_norm")?, norm("k_norm")?);
        Ok(Layer { q, k, v, o, gate, up, down, q_norm, k_norm, score_multiplier: 1 })
    }
}
