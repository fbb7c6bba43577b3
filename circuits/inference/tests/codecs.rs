//! Encodings over arbitrary values: each value has one encoding, each encoding one value.

#![allow(clippy::unwrap_used, reason = "a test")]

use ark_ff::PrimeField;
use monai_inference::commitment::{Commitment, DecodeError, ModelCommitment, OpeningProof, VerifierKey};
use monai_inference::proof::MAX_ANSWERS;
use monai_inference::statement::SelectionRow;
use monai_inference::{ModelDigest, Preimage, Proof, ProofFile, Public, Shown};
use monai_protocol::types::Domain;
use monai_protocol::{
    Address, Amount, Assurance, Blinding, ChainId, Finish, Fr, ModelId, OutputCommitment, Request,
    RequestCommitment, SelectionParams,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn scalar() -> impl Strategy<Value = Fr> {
    prop_oneof![
        any::<[u8; 32]>().prop_map(|b| Fr::from_be_bytes_mod_order(&b)),
        any::<u8>().prop_map(|n| -Fr::from(n)),
        any::<u8>().prop_map(Fr::from),
    ]
}

/// Points of the committed key's corpus: commitments in a proof file.
fn point() -> impl Strategy<Value = Commitment> {
    let file = ProofFile::from_bytes(include_bytes!("data/tiny.proof")).unwrap();
    let mut points = file.proof.commitments;
    points.extend(file.commitment.chunks);
    points.push(Commitment::IDENTITY);
    prop::sample::select(points)
}

prop_compose! {
    fn params()(
        numbers in any::<[u32; 5]>(),
        stop_ids in vec(any::<u32>(), 0..8),
        seed in any::<u64>(),
    ) -> SelectionParams {
        let [tau, top_k, top_p, delta_min_p, max_tokens] = numbers;
        SelectionParams { tau, top_k, top_p, delta_min_p, max_tokens, stop_ids, seed }
    }
}

prop_compose! {
    fn request()(
        (chain, nonce, expiry) in any::<(u64, u64, u64)>(),
        (rollup, user) in any::<([u8; 20], [u8; 20])>(),
        model in any::<[u8; 32]>(),
        (blinding, price) in any::<(u128, u128)>(),
        params in params(),
        prompt in vec(any::<u32>(), 0..20),
        assurance in prop::sample::select(vec![Assurance::Signed, Assurance::Sampled, Assurance::Proved]),
        by_preference in any::<bool>(),
    ) -> Request {
        Request {
            domain: Domain { chain_id: ChainId(chain), rollup: Address(rollup) },
            model: ModelId(model),
            params,
            prompt,
            user: Address(user),
            nonce,
            blinding: Blinding(blinding),
            expiry,
            max_price: Amount(price),
            assurance,
            by_preference,
        }
    }
}

prop_compose! {
    fn row()(
        (max, argmax, delta) in any::<(i32, u32, u16)>(),
        n in any::<[u64; 7]>(),
    ) -> SelectionRow {
        let [kept, below, all_weight, kept_weight, below_weight, prefix_weight, chosen_weight] = n;
        SelectionRow {
            max, argmax, delta, kept, below, all_weight, kept_weight, below_weight, prefix_weight, chosen_weight,
        }
    }
}

prop_compose! {
    fn opening()(points in vec(point(), 8), scalars in vec(scalar(), 6)) -> OpeningProof {
        OpeningProof {
            h: points[0],
            g: points[1],
            q: points[2],
            s: points[3],
            d: points[4],
            at_zeta: points[5],
            at_inverse: points[6],
            at_alpha: points[7],
            h_alpha: scalars[0],
            g_zeta: scalars[1],
            g_inverse: scalars[2],
            h_zeta: scalars[3],
            h_inverse: scalars[4],
            s_inverse: scalars[5],
        }
    }
}

prop_compose! {
    fn shown()(
        request in request(),
        output in vec(any::<u32>(), 0..20),
        rows in vec(row(), 0..5),
    ) -> Shown {
        Shown { preimage: Preimage { request, output }, rows }
    }
}

prop_compose! {
    fn proof()(
        answers in prop_oneof![2 => vec(shown(), 1), 1 => vec(shown(), 2..=MAX_ANSWERS)],
        commitments in vec(point(), 0..6),
        messages in vec(scalar(), 0..40),
        opening in opening(),
    ) -> Proof {
        Proof { answers, commitments, messages, opening }
    }
}

prop_compose! {
    fn commitment()(
        digests in any::<[[u8; 32]; 4]>(),
        chunk_bits in 1u8..=28,
        multipliers in vec(any::<u64>(), 0..6),
        (qk_norm, eps) in (any::<bool>(), vec(any::<u64>(), 0..6)),
        eos_ids in vec(any::<u32>(), 0..4),
        biased in any::<u8>(),
        chunks in vec(point(), 1..6),
    ) -> ModelCommitment {
        let mut out = ModelCommitment::from_bytes(include_bytes!("data/tiny.commitment")).unwrap();
        [out.architecture, out.tokenizer, out.template, out.setup] = digests;
        out.chunk_bits = chunk_bits;
        out.constants.score_multipliers = multipliers;
        out.constants.arch.qk_norm = qk_norm;
        out.constants.head_norm_eps = if qk_norm { eps } else { Vec::new() };
        out.constants.eos_ids = eos_ids;
        out.constants.biased = biased;
        out.chunks = chunks;
        out
    }
}

prop_compose! {
    fn public()(
        (r, o) in (scalar(), scalar()),
        (n_in, n_out) in any::<(u32, u32)>(),
        code in 1u8..=6,
    ) -> Public {
        let (request, output) = (RequestCommitment(r), OutputCommitment(o));
        Public { request, output, n_in, n_out, finish: Finish::from_code(code).unwrap() }
    }
}

proptest! {
    #[test]
    fn proofs(proof in proof(), cut in any::<prop::sample::Index>()) {
        let bytes = proof.to_bytes();
        prop_assert_eq!(&Proof::from_bytes(&bytes).unwrap(), &proof);
        prop_assert!(Proof::from_bytes(&bytes[..cut.index(bytes.len())]).is_err());
        let mut longer = bytes;
        longer.push(0);
        prop_assert_eq!(Proof::from_bytes(&longer), Err(DecodeError::Trailing { extra: 1 }));
    }

    #[test]
    fn proof_files(
        proof in proof(),
        commitment in commitment(),
        publics in prop_oneof![2 => vec(public(), 1), 1 => vec(public(), 2..=MAX_ANSWERS)],
        cut in any::<prop::sample::Index>(),
    ) {
        let key = VerifierKey::from_bytes(include_bytes!("data/tiny.key")).unwrap();
        let file = ProofFile { publics, commitment, key, proof };
        let bytes = file.to_bytes();
        prop_assert_eq!(&ProofFile::from_bytes(&bytes).unwrap(), &file);
        prop_assert!(ProofFile::from_bytes(&bytes[..cut.index(bytes.len())]).is_err());
    }

    #[test]
    fn model_commitments(a in commitment(), b in commitment()) {
        prop_assert_eq!(&ModelCommitment::from_bytes(&a.to_bytes()).unwrap(), &a);
        prop_assert_eq!(a.digest() == b.digest(), a == b);
        prop_assert_eq!(a.digest().to_string().parse::<ModelDigest>().unwrap(), a.digest());
    }

    #[test]
    fn arbitrary_bytes(bytes in vec(any::<u8>(), 0..2000)) {
        for magic in [&b"MNPX\x01"[..], b"MNPX\x02\x02", b"MNPF\x01", b"MNPF\x02\x01", b"MNPF\x02\x03", b"MNMC\0\0\0\x01\x01", b"MNVK\x01"] {
            let bytes = [magic, &bytes].concat();
            let canonical = |again: Option<Vec<u8>>| again.is_none_or(|again| again == bytes);
            prop_assert!(canonical(ProofFile::from_bytes(&bytes).ok().map(|x| x.to_bytes())));
            prop_assert!(canonical(Proof::from_bytes(&bytes).ok().map(|x| x.to_bytes())));
            prop_assert!(canonical(ModelCommitment::from_bytes(&bytes).ok().map(|x| x.to_bytes())));
            prop_assert!(canonical(VerifierKey::from_bytes(&bytes).ok().map(|x| x.to_bytes())));
        }
    }
}
