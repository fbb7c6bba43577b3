//! Block formats to f32. Products and sums in the order that the formats define them, without fused operations.

use half::{bf16, f16};

/// How a tensor's values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorType {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    Bf16,
    /// 32 values of 4 bits, one scale.
    Q4_0,
    /// 32 values of 4 bits, scale and minimum.
    Q4_1,
    /// 32 values of 5 bits, one scale.
    Q5_0,
    /// 32 values of 5 bits, scale and minimum.
    Q5_1,
    /// 32 values of 8 bits, one scale.
    Q8_0,
    /// 256 values of 4 bits in 8 sub-blocks.
    Q4K,
    /// 256 values of 5 bits in 8 sub-blocks.
    Q5K,
    /// 256 values of 6 bits in 16 sub-blocks.
    Q6K,
}

impl TensorType {
    /// By the number that GGUF gives it.
    #[must_use]
    pub const fn from_id(id: u32) -> Option<Self> {
        Some(match id {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            12 => Self::Q4K,
            13 => Self::Q5K,
            14 => Self::Q6K,
            30 => Self::Bf16,
            _ => return None,
        })
    }

    /// Values a block.
    #[must_use]
    pub const fn block_values(self) -> u64 {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    /// Bytes a block.
    #[must_use]
    pub const fn block_bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
        }
    }

    /// Bytes of `values` values; `None` where they are no whole number of blocks or too many.
    #[must_use]
    pub const fn bytes(self, values: u64) -> Option<u64> {
        if values.is_multiple_of(self.block_values()) {
            (values / self.block_values()).checked_mul(self.block_bytes())
        } else {
            None
        }
    }
}

/// All values of whole blocks. Bytes after the last whole block are ignored.
#[must_use]
pub fn dequantise(kind: TensorType, bytes: &[u8]) -> Vec<f32> {
    let size = kind.block_bytes() as usize;
    let mut out = Vec::with_capacity(bytes.len() / size * kind.block_values() as usize);
    for b in bytes.chunks_exact(size) {
        match kind {
            TensorType::F32 => out.push(f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            TensorType::F16 => out.push(half_at(b, 0)),
            TensorType::Bf16 => out.push(bf16::from_le_bytes([b[0], b[1]]).to_f32()),
            TensorType::Q4_0 => {
                nibbles(&b[2..18], |_| 0, &mut out, |q| half_at(b, 0) * (q as i32 - 8) as f32)
            }
            TensorType::Q4_1 => {
                nibbles(&b[4..20], |_| 0, &mut out, |q| half_at(b, 0) * q as f32 + half_at(b, 2))
            }
            TensorType::Q5_0 => {
                let high = |i| fifth_bit(&b[2..6], i);
                nibbles(&b[6..22], high, &mut out, |q| half_at(b, 0) * (q as i32 - 16) as f32);
            }
            TensorType::Q5_1 => {
                let high = |i| fifth_bit(&b[4..8], i);
                nibbles(&b[8..24], high, &mut out, |q| half_at(b, 0) * q as f32 + half_at(b, 2));
            }
            TensorType::Q8_0 => {
                let d = half_at(b, 0);
                out.extend(b[2..].iter().map(|&q| d * f32::from(q as i8)));
            }
            TensorType::Q4K => four_or_five(b, &b[16..144], None, &mut out),
            TensorType::Q5K => four_or_five(b, &b[48..176], Some(&b[16..48]), &mut out),
            TensorType::Q6K => six(b, &mut out),
        }
    }
    out
}

fn half_at(b: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([b[at], b[at + 1]]).to_f32()
}

/// 32 values whose low halves are the low nibbles of 16 bytes, then the high nibbles.
fn nibbles(packed: &[u8], high: impl Fn(usize) -> u32, out: &mut Vec<f32>, real: impl Fn(u32) -> f32) {
    for (i, &p) in packed.iter().enumerate() {
        out.push(real(u32::from(p & 15) | high(i) << 4));
    }
    for (i, &p) in packed.iter().enumerate() {
        out.push(real(u32::from(p >> 4) | high(i + 16) << 4));
    }
}

fn fifth_bit(bits: &[u8], i: usize) -> u32 {
    u32::from(bits[i / 8] >> (i % 8) & 1)
}

/// Six-bit scale and minimum of sub-block `j` from the 12 packed bytes.
fn scale_and_minimum(s: &[u8], j: usize) -> (f32, f32) {
    let (scale, minimum) = if j < 4 {
        (s[j] & 63, s[j + 4] & 63)
    } else {
        // The low four bits share a byte, the high two are the top bits of the first eight bytes.
        (s[j + 4] & 15 | (s[j - 4] >> 6) << 4, s[j + 4] >> 4 | (s[j] >> 6) << 4)
    };
    (f32::from(scale), f32::from(minimum))
}

/// `Q4_K`, and `Q5_K` where `high` holds the fifth bits.
fn four_or_five(b: &[u8], low: &[u8], high: Option<&[u8]>, out: &mut Vec<f32>) {
    let (d, dmin) = (half_at(b, 0), half_at(b, 2));
    for j in 0..8 {
        let (scale, minimum) = scale_and_minimum(&b[4..16], j);
        let (scale, minimum) = (d * scale, dmin * minimum);
        for i in 0..32 {
            let q = low[j / 2 * 32 + i] >> (4 * (j % 2)) & 15;
            let q = q | high.map_or(0, |h| (h[i] >> j & 1) << 4);
            out.push(scale * f32::from(q) - minimum);
        }
    }
}

fn six(b: &[u8], out: &mut Vec<f32>) {
    let (low, high, scales, d) = (&b[..128], &b[128..192], &b[192..208], half_at(b, 208));
    for n in 0..256 {
        let (part, quarter, i) = (n / 128, n % 128 / 32, n % 32);
        let l = low[part * 64 + quarter % 2 * 32 + i] >> (4 * (quarter / 2)) & 15;
        let h = high[part * 32 + i] >> (2 * quarter) & 3;
        let q = i32::from(l | h << 4) - 32;
        out.push(d * f32::from(scales[n / 16] as i8) * q as f32);
    }
}
