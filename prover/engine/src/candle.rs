//! Exact integer products on devices that only multiply floats.
//!
//! A 16-bit activation is split into two balanced bytes, `x = 256 a + b` with `b` in [-128, 127] and `a` in [-128, 128].
//! A product of such a byte with a weight in [-127, 127] has magnitude at most `2^7 * 127`, so a sum of up to
//! [`CHUNK`] of them stays below `2^24`: every partial sum is an integer that f32 represents exactly, in whatever order
//! and with whatever fusing the device adds. The chunks and both bytes are recombined in i64 on the host.
//!
//! Inputs and weights would be exact in bf16 too, which tensor cores multiply faster, but candle rounds the result of a
//! bf16 product to bf16, so f32 it is. On CUDA the caller must leave reduced-precision f32 products (TF32) switched off,
//! as they are by default; [`Program::on_device`](crate::Program::on_device) checks the device with products that TF32
//! gets wrong.
//!
//! Tested on candle's CPU device against the reference, all bits, with the tests of the CPU engine. Feature `cuda` takes
//! the same code to NVIDIA GPUs.

use candle_core::{Device, Tensor};
use monai_model::artefact::Linear;

use crate::error::EngineError;

/// Inner dimension of one product: `1024 * 2^7 * 127 < 2^24`.
const CHUNK: usize = 1024;
const _: () = assert!(CHUNK * 128 * 127 < 1 << 24, "partial sums are exact in f32");

impl From<candle_core::Error> for EngineError {
    fn from(e: candle_core::Error) -> Self {
        Self::Device(e.to_string())
    }
}

/// The weights of one matrix on a device.
#[derive(Debug)]
pub(crate) struct DeviceMatrix {
    /// Input channels.
    cols: usize,
    /// `[inner indices of the chunk, padded output channels]`.
    chunks: Vec<Tensor>,
}

impl DeviceMatrix {
    /// Copies weights to a device; output channels are padded with zeros to `padded`.
    pub(crate) fn new(m: &Linear, padded: usize, device: &Device) -> Result<Self, EngineError> {
        let chunks = (0..m.cols)
            .step_by(CHUNK)
            .map(|start| {
                let len = CHUNK.min(m.cols - start);
                let mut w = vec![0f32; len * padded];
                for n in 0..m.rows {
                    for (k, &v) in m.row(n)[start..start + len].iter().enumerate() {
                        w[k * padded + n] = f32::from(v);
                    }
                }
                Ok(Tensor::from_vec(w, (len, padded), device)?)
            })
            .collect::<Result<_, EngineError>>()?;
        Ok(Self { cols: m.cols, chunks })
    }

    /// `sum_k W[n, k] x[k]` for each of `rows` rows: `[rows, padded output channels]`.
    pub(crate) fn sums(&self, x: &[i16], rows: usize) -> Result<Vec<i64>, EngineError> {
        let mut total = Vec::new();
        for (i, w) in self.chunks.iter().enumerate() {
            let (len, padded) = w.dims2()?;
            let part = |row: usize| &x[row * self.cols + i * CHUNK..][..len];
            // High bytes of all rows, then low bytes.
            let mut bytes = Vec::with_capacity(2 * rows * len);
            for row in 0..rows {
                bytes.extend(part(row).iter().map(|&x| f32::from(balanced(x).0)));
            }
            for row in 0..rows {
                bytes.extend(part(row).iter().map(|&x| f32::from(balanced(x).1)));
            }
            let bytes = Tensor::from_vec(bytes, (2 * rows, len), w.device())?;
            let products = bytes.matmul(w)?.flatten_all()?.to_vec1::<f32>()?;
            let (high, low) = products.split_at(rows * padded);
            total.resize(rows * padded, 0i64);
            for ((t, &high), &low) in total.iter_mut().zip(high).zip(low) {
                *t += 256 * (high as i64) + low as i64;
            }
        }
        Ok(total)
    }
}

/// `(a, b)` with `x = 256 a + b` and `b` in [-128, 127].
fn balanced(x: i16) -> (i16, i16) {
    let low = i16::from(x as i8);
    (((i32::from(x) - i32::from(low)) >> 8) as i16, low)
}

/// Checks that a device multiplies f32 without shortening the factors or the sums.
///
/// # Errors
/// [`EngineError::Device`] if its products are not exact, or if it fails.
pub fn check_exact(device: &Device) -> Result<(), EngineError> {
    // 2^12 + 1 needs 13 bits; TF32 keeps 11.
    let n = 64;
    let a = Tensor::from_vec(vec![4097f32; n], (8, n / 8), device)?;
    let b = Tensor::from_vec(vec![255f32; n], (n / 8, 8), device)?;
    let exact = 4097.0 * 255.0 * (n / 8) as f32;
    if a.matmul(&b)?.flatten_all()?.to_vec1::<f32>()?.iter().all(|&v| v == exact) {
        Ok(())
    } else {
        Err(EngineError::Device("f32 products are not exact (is TF32 switched on?)".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_bytes_recombine_for_every_activation() {
        for x in i16::MIN..=i16::MAX {
            let (a, b) = balanced(x);
            assert_eq!(256 * i32::from(a) + i32::from(b), i32::from(x));
            assert!((-128..=128).contains(&a) && (-128..=127).contains(&b));
        }
    }

    #[test]
    fn the_cpu_device_is_exact() {
        check_exact(&Device::Cpu).unwrap();
    }
}
