//! Whether bytes are a point of Ed25519 or Ed448 that a public key may be (RFC 8032 sections 5.1 and 5.2).
//!
//! OpenSSL takes any bytes of the right length and finds out when it verifies. A key must be a point, in its one encoding, and not one of
//! the few of small order, for which a signature of anything is easily made.

use openssl::{
    bn::{BigNum, BigNumContext, BigNumRef},
    error::ErrorStack,
};

/// Which curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edwards {
    /// -x² + y² = 1 + dx²y² over 2^255 - 19.
    Ed25519,
    /// x² + y² = 1 + dx²y² over 2^448 - 2^224 - 1.
    Ed448,
}

/// The field's prime and the curve's d, of both curves.
const P_25519: &str = "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed";
const D_25519: &str = "52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3";
const P_448: &str = "fffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffffffffffffffffffffffffffffffffffffffffffffffffffff";
const D_448: &str = "fffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffffffffffffffffffffffffffffffffffffffffffffffff6756";

impl Edwards {
    /// How many bytes a public key has.
    pub(super) const fn key_len(self) -> usize {
        match self {
            Self::Ed25519 => 32,
            Self::Ed448 => 57,
        }
    }

    /// Whether `bytes` may be a public key. A failure of the arithmetic itself counts as no.
    pub(super) fn is_key(self, bytes: &[u8]) -> bool {
        bytes.len() == self.key_len() && self.is_point_of_large_order(bytes).unwrap_or(false)
    }

    fn is_point_of_large_order(self, bytes: &[u8]) -> Result<bool, ErrorStack> {
        let (p, d) = match self {
            Self::Ed25519 => (BigNum::from_hex_str(P_25519)?, BigNum::from_hex_str(D_25519)?),
            Self::Ed448 => (BigNum::from_hex_str(P_448)?, BigNum::from_hex_str(D_448)?),
        };
        let mut field = Field { p, context: BigNumContext::new()? };
        let one = BigNum::from_u32(1)?;

        // Little-endian y, with the sign of x in the highest bit.
        let mut big_endian: Vec<u8> = bytes.iter().rev().copied().collect();
        if let Some(highest) = big_endian.first_mut() {
            *highest &= 0x7f;
        }
        let y = BigNum::from_slice(&big_endian)?;
        if y >= field.p || y.num_bits() == 0 {
            return Ok(false); // Not its one encoding, or a point of order 4.
        }

        // x² = (y² - 1) / v, with v = dy² + 1 on Ed25519 and dy² - 1 on Ed448. A fraction is a square where the product is one.
        let y_squared = field.mul(&y, &y)?;
        let numerator = field.sub(&y_squared, &one)?;
        let d_y_squared = field.mul(&d, &y_squared)?;
        let denominator = match self {
            Self::Ed25519 => field.add(&d_y_squared, &one)?,
            Self::Ed448 => field.sub(&d_y_squared, &one)?,
        };
        let product = field.mul(&numerator, &denominator)?;
        if numerator.num_bits() == 0 || !field.is_square(&product)? {
            return Ok(false); // A point of order 1 or 2, or none at all.
        }
        // Points of order 8, which Ed25519 alone has, double to y = 0: there dy⁴ + 2y² = 1.
        let doubled = field.add(&y_squared, &y_squared)?;
        let fourth_power = field.mul(&d_y_squared, &y_squared)?;
        Ok(self == Self::Ed448 || field.add(&fourth_power, &doubled)? != one)
    }
}

struct Field {
    p: BigNum,
    context: BigNumContext,
}

impl Field {
    fn mul(&mut self, a: &BigNumRef, b: &BigNumRef) -> Result<BigNum, ErrorStack> {
        let mut r = BigNum::new()?;
        r.mod_mul(a, b, &self.p, &mut self.context)?;
        Ok(r)
    }

    fn add(&mut self, a: &BigNumRef, b: &BigNumRef) -> Result<BigNum, ErrorStack> {
        let mut r = BigNum::new()?;
        r.mod_add(a, b, &self.p, &mut self.context)?;
        Ok(r)
    }

    fn sub(&mut self, a: &BigNumRef, b: &BigNumRef) -> Result<BigNum, ErrorStack> {
        let mut r = BigNum::new()?;
        r.mod_sub(a, b, &self.p, &mut self.context)?;
        Ok(r)
    }

    /// Euler's criterion, of a number that is not zero.
    fn is_square(&mut self, a: &BigNumRef) -> Result<bool, ErrorStack> {
        let mut half = BigNum::new()?;
        half.rshift1(&self.p)?;
        let mut r = BigNum::new()?;
        r.mod_exp(a, &half, &self.p, &mut self.context)?;
        Ok(r == BigNum::from_u32(1)?)
    }
}

#[cfg(test)]
mod tests {
    use openssl::pkey::PKey;

    use super::*;

    #[test]
    fn genuine_keys_are_points() {
        for _ in 0..32 {
            let key = PKey::generate_ed25519().unwrap().raw_public_key().unwrap();
            assert!(Edwards::Ed25519.is_key(&key));
            let key = PKey::generate_ed448().unwrap().raw_public_key().unwrap();
            assert!(Edwards::Ed448.is_key(&key));
        }
    }

    #[test]
    fn about_half_of_all_bytes_are_none() {
        for (curve, seed) in [(Edwards::Ed25519, 1), (Edwards::Ed448, 2)] {
            let points = (0..200u8).filter(|&i| {
                let mut bytes = [openssl::sha::sha256(&[i, seed]).as_slice(), &openssl::sha::sha256(&[seed, i])].concat();
                bytes.truncate(curve.key_len());
                if curve == Edwards::Ed448 {
                    bytes[56] = 0;
                }
                curve.is_key(&bytes)
            });
            assert!((60..140).contains(&points.count()), "{curve:?}");
        }
    }

    #[test]
    fn points_of_small_order_are_refused() {
        let little_endian = |hex: &str, len: usize| {
            let mut bytes = BigNum::from_hex_str(hex).unwrap().to_vec_padded(i32::try_from(len).unwrap()).unwrap();
            bytes.reverse();
            bytes
        };
        // y = 0, 1, -1, and the two of order 8.
        for hex in [
            "0",
            "1",
            "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffec",
            "05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826",
            "7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7",
        ] {
            assert!(!Edwards::Ed25519.is_key(&little_endian(hex, 32)), "{hex}");
        }
        let minus_one = format!("{}e", &P_448[..111]);
        for hex in ["0", "1", &minus_one] {
            assert!(!Edwards::Ed448.is_key(&little_endian(hex, 57)), "{hex}");
        }
    }

    #[test]
    fn one_encoding_and_one_length() {
        // y = p + 3, which fits in 255 bits: 3 in another form.
        let mut other = vec![0xff; 32];
        (other[0], other[31]) = (0xf0, 0x7f);
        assert!(!Edwards::Ed25519.is_key(&other));
        assert!(!Edwards::Ed25519.is_key(&[9; 31]));
        assert!(!Edwards::Ed25519.is_key(&[]));
        let mut key = PKey::generate_ed448().unwrap().raw_public_key().unwrap();
        key[56] |= 0x01;
        assert!(!Edwards::Ed448.is_key(&key));
    }
}
