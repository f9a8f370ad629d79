use std::{collections::HashSet, time::Instant};

use proptest::{collection::vec, prelude::*};
use serde_json::Value as Json;

use super::{
    GoJsonError, MAX_LEN, canonical,
    cases::{CASES, bounds},
    coerce_utf8,
};

#[test]
fn each_case_is_as_go_has_it() {
    let mut seen = HashSet::new();
    for (text, expected, why) in CASES.iter().copied().flatten() {
        let shown = String::from_utf8_lossy(text);
        assert_eq!(canonical(text).as_deref(), expected.as_ref().map(|go| &**go), "{why}: {shown}");
        assert!(seen.insert(*text), "{shown} is there twice");
    }
    assert!(seen.len() >= 150, "{} cases", seen.len());
}

#[test]
fn each_bound_is_where_it_is_said_to_be() {
    for (text, expected, why) in bounds() {
        assert_eq!(canonical(text.as_bytes()), expected, "{why}");
    }
}

#[test]
fn neither_what_is_read_nor_what_is_written_is_longer_than_the_bound() {
    // Lengths alone: nobody wants to read the texts.
    let written = |count: usize, of: &str| canonical(format!("\"{}\"", of.repeat(count)).as_bytes()).map(|go| go.len());
    assert_eq!(written(MAX_LEN - 2, "a"), Ok(MAX_LEN));
    assert_eq!(written(MAX_LEN - 1, "a"), Err(GoJsonError::TooLong));
    assert_eq!(written((MAX_LEN - 2) / 6, "<"), Ok((MAX_LEN - 2) / 6 * 6 + 2));
    assert_eq!(written((MAX_LEN - 2) / 6 + 1, "<"), Err(GoJsonError::TooLong));
    assert_eq!(canonical(&vec![b' '; MAX_LEN + 1]), Err(GoJsonError::TooLong));
}

#[test]
fn errors_say_where() {
    let text = |json: &[u8]| canonical(json).unwrap_err().to_string();
    assert_eq!(text(b"[1,2"), "not JSON at character 5");
    assert_eq!(text(b"[1e400]"), "the number at character 2 is beyond the range of a double");
    assert_eq!(text(&[b'1'; 801]), "the number at character 1 has more than 800 characters");
    assert_eq!(text(&[b'['; 101]), "the JSON has more than 100 levels of arrays and objects");
    assert_eq!(text(&vec![b'1'; MAX_LEN + 1]), "the JSON has more than 131072 bytes");
}

/// What would take a quadratic reader minutes, each as long as can be.
#[test]
fn the_longest_texts_take_no_longer_than_their_length() {
    let filled = |open: &str, of: &str, close: &str| {
        let count = (MAX_LEN - open.len() - close.len()) / of.len();
        format!("{open}{}{close}", of.repeat(count)).into_bytes()
    };
    let names = |name: fn(usize) -> String| {
        let members: Vec<_> = (0..2500).map(|n| format!("\"{}\":0", name(n))).collect();
        format!("{{{}}}", members.join(",")).into_bytes()
    };
    let started = Instant::now();
    for text in [
        filled("", "[", ""),
        filled("[", "0,", "0]"),
        filled("[", "[],", "0]"),
        filled("[", "{\"\":0},", "0]"),
        filled("{", "\"a\":0,", "\"a\":0}"),
        filled("{", "\"\\u0061\":[0],", "\"a\":0}"),
        names(|n| "a".repeat(36) + &n.to_string()),
        names(|n| (1_000_000_000 - n).to_string()),
        filled("\"", "\\ud800", "\""),
        filled("\"", "\\n", "\""),
        filled("\"", "\\\\", ""),
        filled("", "9", ""),
        filled("[", "1e-324,", "0]"),
        filled("[", "1125899906842624.25,", "0]"),
        [&b"\""[..], &vec![0xff; MAX_LEN / 3 - 1], b"\""].concat(),
        vec![0xe2; MAX_LEN],
    ] {
        assert!(text.len() <= MAX_LEN);
        let _ = canonical(&text);
    }
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

#[test]
fn a_byte_of_no_character_is_one_replacement() {
    for (bytes, text) in [(&b"abc"[..], "abc"), (b"a\xe2\x80b", "a\u{fffd}\u{fffd}b"), (b"\xff", "\u{fffd}"), (b"", "")] {
        assert_eq!(coerce_utf8(bytes), text);
    }
}

/// The same rule over values that serde_json holds, written another way: names in the order of `BTreeMap`, strings escaped after serde_json has
/// written them, numbers from what Rust writes.
fn model(value: &Json) -> String {
    match value {
        Json::Object(members) => {
            let sorted: std::collections::BTreeMap<_, _> = members.iter().collect();
            let members: Vec<_> =
                sorted.iter().map(|(name, value)| format!("{}:{}", model(&Json::from(name.as_str())), model(value))).collect();
            format!("{{{}}}", members.join(","))
        }
        Json::Array(items) => format!("[{}]", items.iter().map(model).collect::<Vec<_>>().join(",")),
        Json::String(_) => {
            let escapes = [("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"), ("\u{2028}", "\\u2028"), ("\u{2029}", "\\u2029")];
            escapes.iter().fold(value.to_string(), |text, (from, to)| text.replace(from, to))
        }
        Json::Number(number) => model_number(number.as_f64().unwrap()),
        Json::Null | Json::Bool(_) => value.to_string(),
    }
}

fn model_number(number: f64) -> String {
    let text = number.to_string();
    let digits = text.trim_start_matches('-').trim_matches('0').bytes().filter(u8::is_ascii_digit).count();
    // Where two shortest forms are as near, `{:.n}` has the even one; there are 16 or 17 digits then, some behind the point.
    let text = match text.split_once('.') {
        Some((_, behind)) if digits > 15 => {
            Some(format!("{number:.*}", behind.len())).filter(|even| even.parse() == Ok(number)).unwrap_or(text)
        }
        _ => text,
    };
    if number == 0.0 || (1e-6..1e21).contains(&number.abs()) { text } else { format!("{number:e}").replace('e', "e+").replace("+-", "-") }
}

fn numbers() -> impl Strategy<Value = f64> {
    let quarters = (1_u64 << 49..1 << 53).prop_map(|n| {
        #[expect(clippy::cast_precision_loss, reason = "each is a double")]
        let whole = n as f64;
        whole / 4.0
    });
    prop_oneof![any::<f64>().prop_filter("finite", |n| n.is_finite()), any::<i32>().prop_map(f64::from), -1e22..1e22, -1e-5..1e-5, quarters]
}

fn values() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        numbers().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        "\\PC*|[<>&\u{2028}\u{2029}\\x00-\\x7f]*".prop_map(Json::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let members = vec(("[a-cA-C<\u{e9}\u{ffff}\u{1f600}\\x00]{0,3}", inner.clone()), 0..6);
        prop_oneof![vec(inner, 0..6).prop_map(Json::from), members.prop_map(|members| Json::Object(members.into_iter().collect()))]
    })
}

/// Texts that are nearly JSON, or JSON that few write.
fn texts() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        4 => "[\\[\\]{},:\"]".prop_map(String::into_bytes),
        2 => "\"(\\\\u[dD][89a-fA-F][0-9a-f]{2}|\\\\[\"\\\\/bfnrtu]|[a-c<])*\"".prop_map(String::into_bytes),
        2 => "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?".prop_map(String::into_bytes),
        1 => "true|false|null| |\n".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..4),
    ];
    vec(token, 0..12).prop_map(|tokens| tokens.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_models_agree(value in values()) {
        let expected = model(&value);
        prop_assert_eq!(canonical(value.to_string().as_bytes()), Ok(expected.clone()));
        prop_assert_eq!(canonical(serde_json::to_string_pretty(&value).unwrap().as_bytes()), Ok(expected));
    }

    #[test]
    fn any_bytes_are_refused_or_have_one_form(text in prop_oneof![texts(), vec(any::<u8>(), 0..40)]) {
        if let Ok(go) = canonical(&text) {
            prop_assert_eq!(canonical(go.as_bytes()), Ok(go.clone()), "the same again");
            prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&go).is_ok(), "{}", go);
            prop_assert!(!go.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) && go.bytes().all(|byte| byte >= b' '), "{}", go);
        }
    }

    #[test]
    fn what_serde_json_reads_is_read(text in texts()) {
        if serde_json::from_slice::<Json>(&text).is_ok() {
            prop_assert!(canonical(&text).is_ok());
        }
    }
}
