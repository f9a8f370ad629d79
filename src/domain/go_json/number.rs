//! Doubles as Go reads and writes them.

use std::fmt::Write as _;

/// The most characters of a number. Go keeps 800 digits and forgets how many more there were: it reads `1`, a thousand zeros and `e-1000` as
/// 1e-201. What neither means the same by is not to be confirmed.
pub(super) const MAX_LEN: usize = 800;

/// The double nearest to a number of JSON (ties to the even one), if one is near. What is too small is zero, with its sign.
pub(super) fn parse(number: &str) -> Option<f64> {
    number.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Appends a finite number as JavaScript writes it, but for -0, which keeps its sign: in plain digits from 1e-6 to below 1e21, else as `d.de±x`.
pub(super) fn write(number: f64, out: &mut String) {
    let digits = shortest(number);
    let (mantissa, exponent) = digits.split_once('e').unwrap_or((&digits, "0"));
    let size = number.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        write_plain(mantissa, exponent.parse().unwrap_or_default(), out);
    } else {
        let sign = if size < 1.0 { "" } else { "+" };
        // A `String` takes all that is written to it.
        let _ = write!(out, "{mantissa}e{sign}{exponent}");
    }
}

/// The fewest digits that are read back as the same double, as `-d.de-x`. Of two that are equally near Go takes the even one, such as 2 for
/// 1125899906842624.25, and Rust the greater: so it is rounded once more, to as many digits, which goes to even. (Beside a power of two what is
/// nearest may be read back as the neighbour, and is not taken.)
fn shortest(number: f64) -> String {
    let digits = format!("{number:e}");
    let places = digits.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).count().saturating_sub(1);
    let even = format!("{number:.places$e}");
    if even.parse() == Ok(number) { even } else { digits }
}

/// `d.d` times ten to the `exponent`, without it.
fn write_plain(mantissa: &str, exponent: i32, out: &mut String) {
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |mantissa| ("-", mantissa));
    out.push_str(sign);
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).map(char::from);
    if exponent < 0 {
        out.push_str("0.");
        out.extend((exponent..-1).map(|_| '0'));
        out.extend(digits);
        return;
    }
    let whole = usize::try_from(exponent).unwrap_or_default() + 1;
    let count = digits.clone().count();
    for (n, digit) in digits.enumerate() {
        if n == whole {
            out.push('.');
        }
        out.push(digit);
    }
    out.extend((count..whole).map(|_| '0'));
}
