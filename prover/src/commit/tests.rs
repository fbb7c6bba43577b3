//! Openings end to end: honest ones verify, and no part of one can be changed.

use ark_bn254::{Fr, G1Affine};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::Field;
use monai_inference::commitment::{
    Commitment, KeccakTranscript, OpeningError, OpeningProof, OpeningTranscript, verify_opening,
};

use super::{ChunkRef, Srs, open};

fn noise(i: usize) -> u64 {
    (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn scalar(i: usize) -> Fr {
    Fr::from(noise(i)).pow([9])
}

/// Owned values of a statement with chunks of several types, one shorter than the rest.
struct Case {
    variables: usize,
    bytes: Vec<i8>,
    words: Vec<i16>,
    short: Vec<i32>,
    scalars: Vec<Fr>,
    coefficients: Vec<Fr>,
    point: Vec<Fr>,
}

impl Case {
    fn new(variables: usize) -> Self {
        let n = 1usize << variables;
        Self {
            variables,
            bytes: (0..n).map(|i| noise(i) as i8).collect(),
            words: (0..n).map(|i| noise(i + 1) as i16).collect(),
            short: (0..n.div_ceil(3)).map(|i| noise(i + 2) as i32).collect(),
            scalars: (0..n).map(scalar).collect(),
            coefficients: (0..4).map(|i| scalar(i + 1000)).collect(),
            point: (0..variables).map(|i| scalar(i + 2000)).collect(),
        }
    }

    fn chunks(&self) -> [ChunkRef<'_>; 4] {
        [
            ChunkRef::I8(&self.bytes),
            ChunkRef::I16(&self.words),
            ChunkRef::I32(&self.short),
            ChunkRef::Fr(&self.scalars),
        ]
    }

    /// The value, straight from the definition of the multilinear extension.
    fn value(&self) -> Fr {
        (0..1usize << self.variables)
            .map(|i| {
                let eq: Fr = self
                    .point
                    .iter()
                    .enumerate()
                    .map(|(j, u)| if i >> j & 1 == 1 { *u } else { Fr::from(1) - u })
                    .product();
                let f: Fr = self.chunks().iter().zip(&self.coefficients).map(|(c, a)| *a * c.value(i)).sum();
                eq * f
            })
            .sum()
    }
}

struct Opened {
    commitments: Vec<Commitment>,
    value: Fr,
    proof: OpeningProof,
}

fn transcript() -> KeccakTranscript {
    KeccakTranscript::new(b"test")
}

fn prove(srs: &Srs, case: &Case) -> Opened {
    let commitments = srs.commit_all(&case.chunks()).unwrap();
    let (value, proof) =
        open(srs, &case.chunks(), &commitments, &case.coefficients, &case.point, &mut transcript()).unwrap();
    Opened { commitments, value, proof }
}

fn verify(srs: &Srs, case: &Case, o: &Opened) -> Result<(), OpeningError> {
    verify_opening(
        srs.key(),
        &o.commitments,
        &case.coefficients,
        &case.point,
        &o.value,
        &o.proof,
        &mut transcript(),
    )
}

#[test]
fn honest_openings_verify_at_every_size() {
    let srs = Srs::insecure_dev(12, b"openings").unwrap();
    for variables in 1..=12 {
        let case = Case::new(variables);
        let opened = prove(&srs, &case);
        assert_eq!(opened.value, case.value(), "{variables} variables");
        assert_eq!(verify(&srs, &case, &opened), Ok(()), "{variables} variables");
        let bytes = opened.proof.to_bytes();
        assert_eq!(bytes.len(), OpeningProof::BYTES);
        assert_eq!(OpeningProof::from_bytes(&bytes), Ok(opened.proof));
    }
}

#[test]
#[ignore = "takes a minute; run by hand after a change to the kernels"]
fn a_large_opening_verifies() {
    let srs = Srs::insecure_dev(20, b"large").unwrap();
    let n = 1usize << 20;
    let bytes: Vec<i8> = (0..n).map(|i| noise(i) as i8).collect();
    let words: Vec<u16> = (0..n - 7).map(|i| noise(i) as u16).collect();
    let chunks = [ChunkRef::I8(&bytes), ChunkRef::U16(&words)];
    let coefficients = [scalar(1), scalar(2)];
    let point: Vec<Fr> = (0..20).map(|i| scalar(i + 9)).collect();
    let commitments = srs.commit_all(&chunks).unwrap();
    let (value, proof) = open(&srs, &chunks, &commitments, &coefficients, &point, &mut transcript()).unwrap();
    let check = |value: &Fr| {
        verify_opening(srs.key(), &commitments, &coefficients, &point, value, &proof, &mut transcript())
    };
    assert_eq!(check(&value), Ok(()));
    assert_eq!(check(&(value + Fr::from(1))), Err(OpeningError::Rejected));
}

#[test]
fn every_changed_field_of_the_proof_is_rejected() {
    let srs = Srs::insecure_dev(6, b"tamper").unwrap();
    let case = Case::new(5);
    let honest = prove(&srs, &case);
    let g = G1Affine::generator();
    let points: [fn(&mut OpeningProof) -> &mut Commitment; 8] = [
        |p| &mut p.h,
        |p| &mut p.g,
        |p| &mut p.q,
        |p| &mut p.s,
        |p| &mut p.d,
        |p| &mut p.at_zeta,
        |p| &mut p.at_inverse,
        |p| &mut p.at_alpha,
    ];
    let scalars: [fn(&mut OpeningProof) -> &mut Fr; 6] = [
        |p| &mut p.h_alpha,
        |p| &mut p.g_zeta,
        |p| &mut p.g_inverse,
        |p| &mut p.h_zeta,
        |p| &mut p.h_inverse,
        |p| &mut p.s_inverse,
    ];
    let rejected = |proof: OpeningProof| {
        let o = Opened { commitments: honest.commitments.clone(), value: honest.value, proof };
        assert_eq!(verify(&srs, &case, &o), Err(OpeningError::Rejected));
    };
    for field in points {
        let mut proof = honest.proof.clone();
        let changed = (field(&mut proof).point() + g).into_affine();
        *field(&mut proof) = Commitment::new(changed).unwrap();
        rejected(proof);
        let mut proof = honest.proof.clone();
        *field(&mut proof) = Commitment::IDENTITY;
        rejected(proof);
    }
    for field in scalars {
        let mut proof = honest.proof.clone();
        *field(&mut proof) += Fr::from(1);
        rejected(proof);
    }
}

#[test]
fn every_changed_part_of_the_statement_is_rejected() {
    let srs = Srs::insecure_dev(6, b"statement").unwrap();
    let case = Case::new(6);
    let honest = prove(&srs, &case);
    let check = |commitments: &[Commitment], coefficients: &[Fr], point: &[Fr], value: Fr, seed: &[u8]| {
        let mut t = KeccakTranscript::new(seed);
        verify_opening(srs.key(), commitments, coefficients, point, &value, &honest.proof, &mut t)
    };
    let (c, a, u, v) = (&honest.commitments, &case.coefficients, &case.point, honest.value);
    assert_eq!(check(c, a, u, v, b"test"), Ok(()));
    assert_eq!(check(c, a, u, v, b"another"), Err(OpeningError::Rejected));
    assert_eq!(check(c, a, u, v + Fr::from(1), b"test"), Err(OpeningError::Rejected));
    for i in 0..u.len() {
        let mut u = u.clone();
        u[i] += Fr::from(1);
        assert_eq!(check(c, a, &u, v, b"test"), Err(OpeningError::Rejected));
    }
    for i in 0..a.len() {
        let mut a = a.clone();
        a[i] += Fr::from(1);
        assert_eq!(check(c, &a, u, v, b"test"), Err(OpeningError::Rejected));
        let mut c = c.clone();
        c[i] = Commitment::IDENTITY;
        assert_eq!(check(&c, &case.coefficients, u, v, b"test"), Err(OpeningError::Rejected));
    }
    let mut swapped = c.clone();
    swapped.swap(0, 1);
    assert_eq!(check(&swapped, a, u, v, b"test"), Err(OpeningError::Rejected));
    // Another number of variables is another statement, padded or not.
    assert_eq!(check(c, a, &u[..5], v, b"test"), Err(OpeningError::Rejected));
    // Malformed statements have their own errors.
    assert!(matches!(check(c, &a[1..], u, v, b"test"), Err(OpeningError::Unpaired { .. })));
    assert!(matches!(check(&[], &[], u, v, b"test"), Err(OpeningError::Chunks(0))));
    assert!(matches!(check(c, a, &[], v, b"test"), Err(OpeningError::Variables { got: 0, most: 6 })));
    assert!(matches!(check(c, a, &[v; 7], v, b"test"), Err(OpeningError::Variables { got: 7, most: 6 })));
}

#[test]
fn another_setup_rejects() {
    let srs = Srs::insecure_dev(5, b"one").unwrap();
    let other = Srs::insecure_dev(5, b"two").unwrap();
    let case = Case::new(5);
    let opened = prove(&srs, &case);
    assert_eq!(verify(&other, &case, &opened), Err(OpeningError::Rejected));
}

#[test]
fn a_chunk_of_zeros_and_a_point_of_the_hypercube_open() {
    let srs = Srs::insecure_dev(4, b"edges").unwrap();
    let zeros = [0i8; 16];
    let values: Vec<i16> = (0..16).map(|i| i * 3 - 20).collect();
    for index in [0usize, 5, 15] {
        let point: Vec<Fr> = (0..4).map(|j| Fr::from((index >> j & 1) as u64)).collect();
        for (chunk, expected) in
            [(ChunkRef::I8(&zeros), Fr::from(0)), (ChunkRef::I16(&values), Fr::from(values[index]))]
        {
            let commitments = [srs.commit(chunk).unwrap()];
            let (value, proof) =
                open(&srs, &[chunk], &commitments, &[Fr::from(1)], &point, &mut transcript()).unwrap();
            assert_eq!(value, expected);
            let t = &mut transcript();
            assert_eq!(
                verify_opening(srs.key(), &commitments, &[Fr::from(1)], &point, &value, &proof, t),
                Ok(())
            );
        }
    }
}

/// A prover who claims another value and does everything else honestly has a constant term that is off,
/// which no polynomial S makes up for.
#[test]
fn an_honest_proof_of_a_false_value_is_rejected_under_the_right_transcript() {
    struct Lying(KeccakTranscript, usize);
    impl OpeningTranscript for Lying {
        fn absorb_scalar(&mut self, x: &Fr) {
            // After the number of variables, the commitment and five coordinates comes the value.
            self.1 += 1;
            let lie = if self.1 == 1 + 2 + 5 + 1 { *x + Fr::from(1) } else { *x };
            self.0.absorb_scalar(&lie);
        }
        fn challenge(&mut self) -> Fr {
            self.0.challenge()
        }
    }
    let srs = Srs::insecure_dev(5, b"lie").unwrap();
    let case = Case::new(5);
    let commitments = srs.commit_all(&case.chunks()).unwrap();
    let mut t = Lying(transcript(), 0);
    let (value, proof) =
        open(&srs, &case.chunks(), &commitments, &case.coefficients, &case.point, &mut t).unwrap();
    let lie = Opened { commitments, value: value + Fr::from(1), proof };
    assert_eq!(verify(&srs, &case, &lie), Err(OpeningError::Rejected));
    // The transcripts agree, so it is the value alone that is refused.
    let t = &mut Lying(transcript(), 0);
    let honest =
        verify_opening(srs.key(), &lie.commitments, &case.coefficients, &case.point, &value, &lie.proof, t);
    assert_eq!(honest, Ok(()));
}
