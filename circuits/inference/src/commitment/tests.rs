//! Encodings are canonical, and nothing that is read or verified panics.

use ark_bn254::{Fq, Fr, G1Affine, G2Affine};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{BigInteger, Field, PrimeField};
use monai_model::artefact::{Arch, PairOrder};
use monai_protocol::ModelId;

use super::*;

fn point(k: u64) -> Commitment {
    Commitment::new((G1Affine::generator() * Fr::from(k)).into_affine()).unwrap()
}

fn proof() -> OpeningProof {
    OpeningProof {
        h: point(1),
        g: point(2),
        q: point(3),
        s: point(4),
        d: Commitment::IDENTITY,
        at_zeta: point(6),
        at_inverse: point(7),
        at_alpha: point(8),
        h_alpha: Fr::from(9),
        g_zeta: -Fr::from(10),
        g_inverse: Fr::from(11),
        h_zeta: Fr::from(12),
        h_inverse: Fr::from(13),
        s_inverse: Fr::from(14),
    }
}

fn model() -> ModelCommitment {
    ModelCommitment {
        model: ModelId([1; 32]),
        architecture: [2; 32],
        tokenizer: [3; 32],
        template: [4; 32],
        setup: [5; 32],
        chunk_bits: 21,
        constants: ModelConstants {
            arch: Arch {
                layers: 2,
                hidden: 64,
                heads: 2,
                kv_heads: 1,
                head_dim: 32,
                ffn: 128,
                vocab: 100,
                max_positions: 256,
                pair_order: PairOrder::Half,
                tied_head: true,
                qk_norm: false,
                residual_bits: 8,
                norm_eps: 7,
                tau_one: 1 << 40,
                tau_max: 900,
            },
            score_multipliers: vec![5, 6],
            head_norm_eps: Vec::new(),
            eos_ids: vec![2, 3],
            biased: 0b101,
        },
        chunks: vec![point(5), Commitment::IDENTITY, point(6)],
    }
}

fn key() -> VerifierKey {
    VerifierKey::new(SetupKind::InsecureDevelopment, 6, (G2Affine::generator() * Fr::from(77)).into_affine())
        .unwrap()
}

/// Bytes of a point from two integers, whatever they are.
fn raw(x: ark_ff::BigInt<4>, y: ark_ff::BigInt<4>) -> Vec<u8> {
    let mut out = x.to_bytes_be();
    out.extend(y.to_bytes_be());
    out
}

#[test]
fn encodings_round_trip() {
    assert_eq!(OpeningProof::from_bytes(&proof().to_bytes()), Ok(proof()));
    assert_eq!(ModelCommitment::from_bytes(&model().to_bytes()), Ok(model()));
    assert_eq!(VerifierKey::from_bytes(&key().to_bytes()), Ok(key()));
    assert_eq!(key().to_bytes().len(), VerifierKey::BYTES);
    for k in 0..20 {
        assert_eq!(Commitment::from_bytes(&point(k).to_bytes()), Ok(point(k)));
    }
}

/// There is one encoding of each value: whatever else decodes, encodes to the same bytes again.
#[test]
fn any_changed_byte_is_refused_or_another_value() {
    fn check<T: PartialEq + std::fmt::Debug>(
        bytes: &[u8],
        read: impl Fn(&[u8]) -> Result<T, DecodeError>,
        write: impl Fn(&T) -> Vec<u8>,
    ) {
        let original = read(bytes).unwrap();
        for at in 0..bytes.len() {
            for flip in [1u8, 0x80] {
                let mut bad = bytes.to_vec();
                bad[at] ^= flip;
                if let Ok(other) = read(&bad) {
                    assert_ne!(other, original, "byte {at}");
                    assert_eq!(write(&other), bad, "byte {at}");
                }
            }
        }
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "cut to {length}");
        }
        let mut long = bytes.to_vec();
        long.push(0);
        assert_eq!(read(&long), Err(DecodeError::Trailing { extra: 1 }));
    }
    check(&proof().to_bytes(), OpeningProof::from_bytes, OpeningProof::to_bytes);
    check(&model().to_bytes(), ModelCommitment::from_bytes, ModelCommitment::to_bytes);
    check(&key().to_bytes(), VerifierKey::from_bytes, VerifierKey::to_bytes);
    check(&point(5).to_bytes(), Commitment::from_bytes, |c| c.to_bytes().to_vec());
}

#[test]
fn points_that_are_none_are_refused_each_for_its_reason() {
    let zero = ark_ff::BigInt::zero();
    let one = ark_ff::BigInt::from(1u64);
    let two = ark_ff::BigInt::from(2u64);
    assert_eq!(Commitment::from_bytes(&raw(one, two)), Ok(point(1)));
    assert_eq!(Commitment::from_bytes(&raw(zero, zero)), Ok(Commitment::IDENTITY));
    assert_eq!(Commitment::from_bytes(&raw(one, one)), Err(DecodeError::NotOnCurve));
    assert_eq!(Commitment::from_bytes(&raw(zero, one)), Err(DecodeError::NotOnCurve));
    // x + q denotes the same element of the base field as x, and is not its encoding.
    let mut wrapped = Fq::MODULUS;
    wrapped.add_with_carry(&one);
    for x in [Fq::MODULUS, wrapped, Fr::MODULUS, ark_ff::BigInt([u64::MAX; 4])] {
        assert_eq!(Commitment::from_bytes(&raw(x, two)), Err(DecodeError::NonCanonicalCoordinate));
        assert_eq!(Commitment::from_bytes(&raw(one, x)), Err(DecodeError::NonCanonicalCoordinate));
    }
}

#[test]
fn a_curve_point_with_a_coordinate_between_the_moduli_is_refused() {
    // Look for a point of the curve with r <= x < q: half of all x give one.
    let mut x = Fq::from_bigint(Fr::MODULUS).unwrap();
    let point = loop {
        if let Some(y) = (x.square() * x + Fq::from(3)).sqrt() {
            break G1Affine::new_unchecked(x, y);
        }
        x += Fq::from(1);
    };
    assert!(point.is_on_curve());
    assert_eq!(Commitment::new(point), Err(DecodeError::NonCanonicalCoordinate));
    let (x, y) = point.xy().unwrap();
    assert_eq!(
        Commitment::from_bytes(&raw(x.into_bigint(), y.into_bigint())),
        Err(DecodeError::NonCanonicalCoordinate)
    );
}

#[test]
fn a_key_outside_the_group_is_refused() {
    // A point of the twist outside the prime-order subgroup, found by trying x.
    let b = G2Affine::generator().xy().map(|(x, y)| y.square() - x.square() * x).unwrap();
    let stray = (1u64..)
        .find_map(|i| {
            let x = ark_bn254::Fq2::new(Fq::from(i), Fq::from(1));
            let p = G2Affine::new_unchecked(x, (x.square() * x + b).sqrt()?);
            (!p.is_in_correct_subgroup_assuming_on_curve()).then_some(p)
        })
        .unwrap();
    assert!(stray.is_on_curve());
    let make = |p| VerifierKey::new(SetupKind::Ceremony, 6, p);
    assert_eq!(make(stray), Err(DecodeError::NotInSubgroup));
    assert_eq!(make(G2Affine::identity()), Err(DecodeError::Identity));
    let (x, _) = stray.xy().unwrap();
    assert_eq!(make(G2Affine::new_unchecked(x, x)), Err(DecodeError::NotOnCurve));
    assert!(VerifierKey::new(SetupKind::Ceremony, 29, key().tau_g2()).is_err());
}

#[test]
fn every_part_of_a_model_moves_its_digest() {
    let original = model().digest();
    let changes: [fn(&mut ModelCommitment); 13] = [
        |m| m.model.0[0] ^= 1,
        |m| m.architecture[31] ^= 1,
        |m| m.tokenizer[0] ^= 1,
        |m| m.template[0] ^= 1,
        |m| m.setup[0] ^= 1,
        |m| m.chunk_bits ^= 1,
        |m| m.constants.arch.max_positions += 1,
        |m| m.constants.arch.tied_head = false,
        |m| m.constants.score_multipliers[1] += 1,
        |m| m.constants.eos_ids.push(9),
        |m| m.constants.biased ^= 2,
        |m| m.chunks.swap(0, 2),
        |m| m.chunks.truncate(2),
    ];
    for (i, change) in changes.into_iter().enumerate() {
        let mut m = model();
        change(&mut m);
        assert_ne!(m.digest(), original, "change {i}");
    }
}

/// Arbitrary bytes and arbitrary, well-formed but meaningless proofs are refused without a panic.
#[test]
fn noise_never_panics() {
    let mut state = 0x1234_5678_9abc_def0u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..2000usize {
        let mut bytes: Vec<u8> = (0..next() as usize % 1100).map(|_| next() as u8).collect();
        let template = match round % 4 {
            0 => proof().to_bytes(),
            1 => model().to_bytes(),
            2 => key().to_bytes(),
            _ => Vec::new(),
        };
        let keep = (next() as usize % (template.len() + 1)).min(bytes.len());
        bytes[..keep].copy_from_slice(&template[..keep]);
        let _ = OpeningProof::from_bytes(&bytes);
        let _ = ModelCommitment::from_bytes(&bytes);
        let _ = VerifierKey::from_bytes(&bytes);
        let _ = Commitment::from_bytes(&bytes);
    }
    for n in 1..=6 {
        let point: Vec<Fr> = (0..n).map(|_| Fr::from(next())).collect();
        let t = &mut KeccakTranscript::new(b"noise");
        let verdict = verify_opening(
            &key(),
            &[self::point(3)],
            &[Fr::from(next())],
            &point,
            &Fr::from(next()),
            &proof(),
            t,
        );
        assert_eq!(verdict, Err(OpeningError::Rejected));
    }
}

#[test]
fn the_equality_polynomial_is_its_table() {
    let u: Vec<Fr> = (1..5u64).map(|i| Fr::from(i * 1000 + 7)).collect();
    let x = Fr::from(99_991u64);
    let direct: Fr = (0..16usize)
        .map(|i| {
            let eq: Fr = u
                .iter()
                .enumerate()
                .map(|(j, u)| if i >> j & 1 == 1 { *u } else { Fr::from(1) - u })
                .product();
            eq * x.pow([i as u64])
        })
        .sum();
    assert_eq!(eq_polynomial_at(&u, x), direct);
    assert_eq!(split_variables(21), (11, 10));
    assert_eq!(split_variables(1), (1, 0));
}

#[test]
fn each_message_moves_the_next_challenge() {
    let run = |change: usize| {
        let mut t = KeccakTranscript::new(b"schedule");
        let bump = |i: usize| Fr::from(u64::from(i == change));
        let p = |i: usize| point(if i == change { 1000 } else { i as u64 + 1 });
        schedule::statement(&mut t, &p(0), &[bump(1), bump(2)], &bump(3));
        vec![
            schedule::folded(&mut t, &p(4)),
            schedule::divided(&mut t, &p(5), &p(6), &bump(7)),
            schedule::products(&mut t, &p(8), &p(9)),
            schedule::evaluated(&mut t, &[bump(10), bump(11), bump(12), bump(13), bump(14)]),
            schedule::witnessed(&mut t, [&p(15), &p(16), &p(17)]),
        ]
    };
    let honest = run(usize::MAX);
    // The first challenge that each message precedes; all later ones move as well, earlier ones do not.
    let first = [0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 3, 3, 4, 4, 4];
    for (message, first) in first.into_iter().enumerate() {
        let changed = run(message);
        for i in 0..5 {
            assert_eq!(changed[i] != honest[i], i >= first, "message {message}, challenge {i}");
        }
    }
}
