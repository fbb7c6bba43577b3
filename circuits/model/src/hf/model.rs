//! A folder as a floating-point model.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::config::{Config, Present};
use super::text::{self, TextFiles};
use super::{HfError, MAX_CONFIG_BYTES, MAX_SHARDS, MAX_TOKENIZER_BYTES};
use crate::artefact::TextConfig;
use crate::error::ModelError;
use crate::limits::MIN_POSITIONS;
use crate::source::{FloatArch, FloatModel, Part, regular};

/// Where one tensor is.
#[derive(Clone, Debug)]
struct Place {
    shard: usize,
    start: usize,
    end: usize,
    dtype: Dtype,
    shape: Vec<usize>,
}

/// An opened folder.
pub struct HfModel {
    dir: PathBuf,
    shards: Vec<Mmap>,
    tensors: BTreeMap<String, Place>,
    config: Config,
    arch: FloatArch,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl HfModel {
    /// Opens a folder.
    ///
    /// # Errors
    /// Where a file can't be read, is malformed, or describes a model that the integer program can't be.
    pub fn open(dir: &Path) -> Result<Self, ModelError> {
        let config = Config::parse(&read(dir, "config.json", MAX_CONFIG_BYTES)?)?;
        let mut shards = Vec::new();
        let mut tensors = BTreeMap::new();
        for name in shard_names(dir)? {
            let path = dir.join(&name);
            let file = regular(&path)?;
            // SAFETY: the map is read-only and every access is checked against its length. A file that changes during
            // the import gives another model or an error: only bytes are read.
            let map = unsafe { Mmap::map(&file) }.map_err(ModelError::io(&path))?;
            let bad = |e: safetensors::SafeTensorError| HfError::Safetensors {
                file: name.clone(),
                reason: e.to_string(),
            };
            let parsed = SafeTensors::deserialize(&map).map_err(bad)?;
            for (tensor, view) in parsed.iter() {
                let data = view.data();
                let start = data.as_ptr() as usize - map.as_ptr() as usize;
                let place = Place {
                    shard: shards.len(),
                    start,
                    end: start + data.len(),
                    dtype: view.dtype(),
                    shape: view.shape().to_vec(),
                };
                if tensors.insert(tensor.to_owned(), place).is_some() {
                    return Err(HfError::tensor(tensor, "occurs twice").into());
                }
            }
            shards.push(map);
        }
        let has = |part: Part| tensors.contains_key(&tensor_name(part));
        let present = Present {
            qkv_bias: has(Part::QBias(0)),
            o_bias: has(Part::OBias(0)),
            qk_norm: has(Part::QNorm(0)),
        };
        let arch = config.arch(present)?;
        // The folder's own number of positions may be beyond what can be registered; import checks what is asked for.
        arch.dimensions(MIN_POSITIONS).check()?;
        only_known_tensors(&tensors, &arch)?;
        Ok(Self { dir: dir.to_owned(), shards, tensors, config, arch })
    }
}

/// One file, or those that the index names.
fn shard_names(dir: &Path) -> Result<Vec<String>, ModelError> {
    const INDEX: &str = "model.safetensors.index.json";
    if !dir.join(INDEX).exists() {
        return Ok(vec!["model.safetensors".into()]);
    }
    let index: Index = serde_json::from_slice(&read(dir, INDEX, MAX_TOKENIZER_BYTES)?)
        .map_err(|e| HfError::json(INDEX, e))?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    // The index is a stranger's: it may only name files of its own folder.
    if let Some(name) =
        names.iter().find(|n| !n.ends_with(".safetensors") || n.contains(['/', '\\']) || n.starts_with('.'))
    {
        return Err(HfError::json(INDEX, format!("names the file {name:?}")).into());
    }
    if names.is_empty() || names.len() > MAX_SHARDS {
        return Err(HfError::json(INDEX, format!("names {} files", names.len())).into());
    }
    Ok(names.into_iter().collect())
}

/// A whole small file.
fn read(dir: &Path, name: &'static str, limit: u64) -> Result<Vec<u8>, ModelError> {
    let path = dir.join(name);
    let file = regular(&path)?;
    let bytes = file.metadata().map_err(ModelError::io(&path))?.len();
    if bytes > limit {
        return Err(HfError::TooLarge { file: name, bytes, limit }.into());
    }
    let mut out = Vec::new();
    file.take(limit).read_to_end(&mut out).map_err(ModelError::io(&path))?;
    Ok(out)
}

/// Like [`read`], for files that may be missing.
fn optional(dir: &Path, name: &'static str) -> Result<Option<Vec<u8>>, ModelError> {
    match read(dir, name, MAX_CONFIG_BYTES) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(ModelError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn only_known_tensors(tensors: &BTreeMap<String, Place>, a: &FloatArch) -> Result<(), HfError> {
    let mut known: BTreeSet<String> = a.parts().into_iter().map(tensor_name).collect();
    // Checkpoints may repeat a tied head, and old ones hold RoPE's frequencies.
    known.insert(tensor_name(Part::Head));
    match tensors.keys().find(|k| !known.contains(*k) && !k.ends_with("rotary_emb.inv_freq")) {
        Some(name) => Err(HfError::Unsupported(format!("tensor {name:?}"))),
        None => Ok(()),
    }
}

impl FloatModel for HfModel {
    fn arch(&self) -> &FloatArch {
        &self.arch
    }

    fn values(&self, part: Part) -> Result<Vec<f32>, ModelError> {
        let name = tensor_name(part);
        let place = self.tensors.get(&name).ok_or_else(|| HfError::tensor(&name, "is missing"))?;
        let (rows, cols) = part.shape(&self.arch);
        let shape: &[usize] = if cols == 1 { &[rows] } else { &[rows, cols] };
        if place.shape != shape {
            let reason = format!("has the shape {:?}, not {shape:?}", place.shape);
            return Err(HfError::tensor(&name, reason).into());
        }
        let bytes = &self.shards[place.shard][place.start..place.end];
        match place.dtype {
            Dtype::F32 => Ok(bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()),
            Dtype::F16 => Ok(bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect()),
            Dtype::BF16 => Ok(bytes.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect()),
            other => {
                Err(HfError::tensor(&name, format!("is of type {other:?}, which is not supported")).into())
            }
        }
    }

    fn text(&self) -> Result<TextConfig, ModelError> {
        let files = TextFiles {
            tokenizer: read(&self.dir, "tokenizer.json", MAX_TOKENIZER_BYTES)?,
            tokenizer_config: optional(&self.dir, "tokenizer_config.json")?,
            generation_config: optional(&self.dir, "generation_config.json")?,
            template: optional(&self.dir, "chat_template.jinja")?,
        };
        Ok(text::text(files, &self.config)?)
    }

    fn name(&self) -> String {
        let name = self
            .dir
            .canonicalize()
            .ok()
            .and_then(|d| d.file_name().map(|n| n.to_string_lossy().into_owned()));
        name.unwrap_or_else(|| "unnamed".into()).chars().filter(|c| !c.is_control()).take(64).collect()
    }
}

fn tensor_name(part: Part) -> String {
    let layer = |l: usize, name: &str| format!("model.layers.{l}.{name}");
    match part {
        Part::Embedding => "model.embed_tokens.weight".into(),
        Part::Head => "lm_head.weight".into(),
        Part::FinalNorm => "model.norm.weight".into(),
        Part::AttnNorm(l) => layer(l, "input_layernorm.weight"),
        Part::Q(l) => layer(l, "self_attn.q_proj.weight"),
        Part::K(l) => layer(l, "self_attn.k_proj.weight"),
        Part::V(l) => layer(l, "self_attn.v_proj.weight"),
        Part::O(l) => layer(l, "self_attn.o_proj.weight"),
        Part::QBias(l) => layer(l, "self_attn.q_proj.bias"),
        Part::KBias(l) => layer(l, "self_attn.k_proj.bias"),
        Part::VBias(l) => layer(l, "self_attn.v_proj.bias"),
        Part::OBias(l) => layer(l, "self_attn.o_proj.bias"),
        Part::QNorm(l) => layer(l, "self_attn.q_norm.weight"),
        Part::KNorm(l) => layer(l, "self_attn.k_norm.weight"),
        Part::FfnNorm(l) => layer(l, "post_attention_layernorm.weight"),
        Part::Gate(l) => layer(l, "mlp.gate_proj.weight"),
        Part::Up(l) => layer(l, "mlp.up_proj.weight"),
        Part::Down(l) => layer(l, "mlp.down_proj.weight"),
    }
}
