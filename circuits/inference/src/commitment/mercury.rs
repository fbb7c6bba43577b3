//! Verification of a Mercury opening.
//!
//! Relation: for public commitments `C_c`, coefficients `a_c`, a point `u` of `n` coordinates and a
//! value `v`, the prover knows polynomials `f_c` under the `C_c` such that the multilinear polynomial
//! whose hypercube evaluations are the first `2^n` coefficients of `f = sum_c a_c f_c` has the value `v`
//! at `u`. The argument is in `docs/commitment.md`.

use ark_bn254::{Bn254, G1Affine, G1Projective, G2Affine};
use ark_ec::pairing::{Pairing, PairingOutput};
use ark_ec::{AffineRepr, CurveGroup, VariableBaseMSM};
use ark_ff::{AdditiveGroup, Field, One, Zero};
use monai_protocol::field::Fr;

use super::{Commitment, MAX_CHUNKS, OpeningError, OpeningProof, OpeningTranscript, VerifierKey, schedule};

/// How a polynomial of `n` variables is laid out as a matrix: rows of `2^low` coefficients, `2^high` rows.
#[must_use]
pub const fn split_variables(n: usize) -> (usize, usize) {
    let low = n.div_ceil(2);
    (low, n.saturating_sub(low))
}

/// `prod_i (1 - u_i + u_i X^(2^i))` at `X = x`: the univariate polynomial whose coefficients are the
/// equality polynomial's values `eq(i, u)`.
#[must_use]
pub fn eq_polynomial_at(u: &[Fr], x: Fr) -> Fr {
    let mut power = x;
    let mut product = Fr::one();
    for u_i in u {
        product *= Fr::one() - u_i + *u_i * power;
        power.square_in_place();
    }
    product
}

/// The combination `sum_c a_c C_c`.
///
/// # Errors
/// [`OpeningError::Unpaired`], [`OpeningError::Chunks`], and [`OpeningError::Combined`] where the sum
/// has a coordinate outside the scalar field (probability `2^-126` for honest input).
pub fn combine(commitments: &[Commitment], coefficients: &[Fr]) -> Result<Commitment, OpeningError> {
    if commitments.len() != coefficients.len() {
        return Err(OpeningError::Unpaired {
            commitments: commitments.len(),
            coefficients: coefficients.len(),
        });
    }
    if commitments.is_empty() || commitments.len() > MAX_CHUNKS {
        return Err(OpeningError::Chunks(commitments.len()));
    }
    let bases: Vec<G1Affine> = commitments.iter().map(Commitment::point).collect();
    let sum = msm(&bases, coefficients)?;
    Commitment::new(sum.into_affine()).map_err(OpeningError::Combined)
}

/// Verifies that the combination of the committed chunks has `value` at `point`.
///
/// `point` has between 1 and the key's number of coordinates, the one of the lowest index bit first.
///
/// # What the caller must ensure
/// - Commitments, the claims that are combined, and whatever else the coefficients depend on were
///   absorbed into `transcript` before the coefficients were drawn.
/// - A chunk that stands for fewer than `2^n` values is claimed as its padding with zeros: its claim is
///   multiplied by `prod (1 - u_j)` over the coordinates beyond its own, and those coordinates were
///   drawn after the claim was absorbed.
/// - `key` is the verifier's own.
///
/// The statement itself (combined commitment, point, value) is absorbed here.
///
/// # Errors
/// An [`OpeningError`]; [`OpeningError::Rejected`] where the claim is not shown.
pub fn verify_opening<T: OpeningTranscript>(
    key: &VerifierKey,
    commitments: &[Commitment],
    coefficients: &[Fr],
    point: &[Fr],
    value: &Fr,
    proof: &OpeningProof,
    transcript: &mut T,
) -> Result<(), OpeningError> {
    if point.is_empty() || point.len() > key.variables() {
        return Err(OpeningError::Variables { got: point.len(), most: key.variables() });
    }
    let combined = combine(commitments, coefficients)?;
    schedule::statement(transcript, &combined, point, value);
    let alpha = schedule::folded(transcript, &proof.h);
    let gamma = schedule::divided(transcript, &proof.g, &proof.q, &proof.h_alpha);
    let zeta = schedule::products(transcript, &proof.s, &proof.d);
    let values = [proof.g_zeta, proof.g_inverse, proof.h_zeta, proof.h_inverse, proof.s_inverse];
    let beta = schedule::evaluated(transcript, &values);
    let rho = schedule::witnessed(transcript, [&proof.at_zeta, &proof.at_inverse, &proof.at_alpha]);
    let inverse = zeta.inverse().ok_or(OpeningError::ZeroChallenge)?;

    let (low, _) = split_variables(point.len());
    let (u_low, u_high) = point
        .split_at_checked(low)
        .ok_or(OpeningError::Variables { got: point.len(), most: key.variables() })?;
    let zeta_b = (0..low).fold(zeta, |z, _| z.square());

    // The degree check fixes D(zeta): D = X^(b-1) g(1/X).
    let d_zeta = zeta_b * inverse * proof.g_inverse;

    // The inner products fix S(zeta): the constant term of
    //   g(X) P_low(1/X) + g(1/X) P_low(X) + gamma (h(X) P_high(1/X) + h(1/X) P_high(X))
    // is 2 (h(alpha) + gamma v), and the other terms are X S(X) + S(1/X) / X.
    let low_terms =
        proof.g_zeta * eq_polynomial_at(u_low, inverse) + proof.g_inverse * eq_polynomial_at(u_low, zeta);
    let high_terms =
        proof.h_zeta * eq_polynomial_at(u_high, inverse) + proof.h_inverse * eq_polynomial_at(u_high, zeta);
    let constant = (proof.h_alpha + gamma * value).double();
    let s_zeta = inverse * (low_terms + gamma * high_terms - constant - inverse * proof.s_inverse);

    // At zeta, by powers of beta: f - (zeta^b - alpha) q (which must equal g there), g, h, S, D.
    let (beta2, rho2) = (beta.square(), rho.square());
    let (beta3, beta4) = (beta2 * beta, beta2.square());
    let value_zeta =
        proof.g_zeta * (Fr::one() + beta) + proof.h_zeta * beta2 + s_zeta * beta3 + d_zeta * beta4;
    // At 1/zeta: g, h, S. At alpha: h.
    let value_inverse = proof.g_inverse + proof.h_inverse * beta + proof.s_inverse * beta2;
    let values = value_zeta + rho * value_inverse + rho2 * proof.h_alpha;

    let terms = [
        (combined.point(), Fr::one()),
        (proof.q.point(), alpha - zeta_b),
        (proof.g.point(), beta + rho),
        (proof.h.point(), beta2 + rho * beta + rho2),
        (proof.s.point(), beta3 + rho * beta2),
        (proof.d.point(), beta4),
        (G1Affine::generator(), -values),
        (proof.at_zeta.point(), zeta),
        (proof.at_inverse.point(), rho * inverse),
        (proof.at_alpha.point(), rho2 * alpha),
    ];
    let (bases, scalars): (Vec<_>, Vec<_>) = terms.into_iter().unzip();
    let left = msm(&bases, &scalars)?;
    let right = msm(
        &[proof.at_zeta.point(), proof.at_inverse.point(), proof.at_alpha.point()],
        &[-Fr::one(), -rho, -rho2],
    )?;
    let product = Bn254::multi_pairing(
        [left.into_affine(), right.into_affine()],
        [G2Affine::generator(), key.tau_g2()],
    );
    if product == PairingOutput::zero() { Ok(()) } else { Err(OpeningError::Rejected) }
}

/// A multi-scalar product of few points.
fn msm(bases: &[G1Affine], scalars: &[Fr]) -> Result<G1Projective, OpeningError> {
    G1Projective::msm(bases, scalars)
        .map_err(|_| OpeningError::Unpaired { commitments: bases.len(), coefficients: scalars.len() })
}
