//! Floats of the API become the integers of R, here and nowhere else.

use monai_protocol::SelectionParams;
use monai_protocol::selection::{DELTA_MIN_P_OFF, TOP_P_OFF};

/// The sampling fields of a request as clients send them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    /// In [0, 2]; 0 is greedy; absent is 1.
    pub temperature: Option<f64>,
    /// In [0, 1]; absent is 1.
    pub top_p: Option<f64>,
    /// Ranks kept; 0 and absent are off.
    pub top_k: Option<u32>,
    /// In [0, 1]; absent is 0.
    pub min_p: Option<f64>,
}

impl Sampling {
    /// The integers. `seed`, `max_tokens` and `stop_ids` pass through; stop ids are sorted and made unique.
    ///
    /// * `tau = round(tau_one / (T · 2^32))`, at least 1 and at most `tau_max`. Temperature 0 is `top_k = 1`
    ///   with tau at temperature 1. Temperatures so small that tau would exceed `tau_max` are taken at `tau_max`.
    /// * `top_p = round(2^16 p)`, at least 1.
    /// * `delta_min_p = floor(−ln(p) · 2^12)`, at most 65535: a token of weight exp(−d/2^12) is kept if that is
    ///   at least `min_p`.
    #[must_use]
    pub fn to_params(
        &self,
        tau_one: u64,
        tau_max: u32,
        max_tokens: u32,
        seed: u64,
        mut stop_ids: Vec<u32>,
    ) -> SelectionParams {
        stop_ids.sort_unstable();
        stop_ids.dedup();
        let temperature = self.temperature.unwrap_or(1.0);
        let greedy = temperature == 0.0;
        let tau = tau_one as f64 / (if greedy { 1.0 } else { temperature } * 4_294_967_296.0);
        let tau = (tau.round().min(f64::from(tau_max)) as u32).max(1);
        let top_p = ((self.top_p.unwrap_or(1.0) * f64::from(TOP_P_OFF)).round() as u32).clamp(1, TOP_P_OFF);
        let delta_min_p = match self.min_p {
            Some(p) if p > 0.0 => ((-p.ln() * 4096.0).floor().max(0.0) as u32).min(DELTA_MIN_P_OFF),
            _ => DELTA_MIN_P_OFF,
        };
        let top_k = if greedy { 1 } else { self.top_k.unwrap_or(0) };
        SelectionParams { tau, top_k, top_p, delta_min_p, max_tokens, stop_ids, seed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(s: Sampling) -> SelectionParams {
        s.to_params(1000 << 32, 100_000, 16, 7, vec![9, 3, 9])
    }

    #[test]
    fn defaults_are_off() {
        let p = params(Sampling::default());
        assert_eq!((p.tau, p.top_k, p.top_p, p.delta_min_p), (1000, 0, TOP_P_OFF, DELTA_MIN_P_OFF));
        assert_eq!(p.stop_ids, vec![3, 9]);
        p.validate().unwrap();
    }

    #[test]
    fn greedy_keeps_tau_at_one() {
        let p = params(Sampling { temperature: Some(0.0), top_k: Some(40), ..Sampling::default() });
        assert_eq!((p.tau, p.top_k), (1000, 1));
    }

    #[test]
    fn extremes_stay_in_bounds() {
        for t in [1e-300, 1e-9, 0.5, 2.0] {
            for q in [0.0, 1e-12, 0.5, 1.0] {
                let p = params(Sampling {
                    temperature: Some(t),
                    top_p: Some(q),
                    min_p: Some(q),
                    top_k: Some(u32::MAX),
                });
                p.validate().unwrap();
                assert!(p.tau <= 100_000);
            }
        }
        let half = params(Sampling { temperature: Some(2.0), min_p: Some(0.5), ..Sampling::default() });
        assert_eq!((half.tau, half.delta_min_p), (500, 2839));
        let zero_one = Sampling::default().to_params(0, 10, 1, 0, vec![]);
        assert_eq!(zero_one.tau, 1);
    }
}
