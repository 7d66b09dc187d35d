//! Canonical JSON (`docs/semantics.md` §2.4, RFC 8785) against an independent implementation, and by properties.
#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use proptest::prelude::*;
use reprise::idempotency::canonical::canonicalize;
use serde_json::Value;

/// What `serde_json` parses, in the canonical form of the crate `serde_json_canonicalizer`.
fn independent(text: &str) -> String {
    let value: Value = serde_json::from_str(text).unwrap();
    serde_json_canonicalizer::to_string(&value).unwrap()
}

fn ours(text: &str) -> String {
    String::from_utf8(canonicalize(text).unwrap()).unwrap()
}

/// `ToString` of ECMAScript (§6.1.6.1.20 of ECMA-262), from Rust's own shortest digits.
fn ecmascript(number: f64) -> String {
    if number == 0.0 {
        return "0".into();
    }
    let shortest = format!("{:e}", number.abs());
    let (mantissa, exponent) = shortest.split_once('e').unwrap();
    let digits = nearest_even(mantissa.replace('.', ""), number);
    let count = i32::try_from(digits.len()).unwrap();
    // The value is 0.digits × 10^point.
    let point = exponent.parse::<i32>().unwrap() + 1;
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap());
    let at = |position: i32| digits.split_at(usize::try_from(position).unwrap());
    let text = match point {
        _ if count <= point && point <= 21 => digits.clone() + &zeros(point - count),
        1..=21 => format!("{}.{}", at(point).0, at(point).1),
        -5..=0 => format!("0.{}{digits}", zeros(-point)),
        _ => {
            let (first, rest) = at(1);
            let dot = if rest.is_empty() { "" } else { "." };
            format!("{first}{dot}{rest}e{:+}", point - 1)
        }
    };
    if number < 0.0 { format!("-{text}") } else { text }
}

/// Of two shortest texts that are equally near, ECMAScript takes the one with an even last digit, Rust the upper one.
fn nearest_even(digits: String, number: f64) -> String {
    // Enough digits to write any double exactly.
    let exact = format!("{:.780e}", number.abs()).replace('.', "");
    let (lower, rest) = exact.split_at(digits.len());
    let is_tie = rest.split_once('e').is_some_and(|(rest, _)| rest.trim_end_matches('0') == "5");
    if is_tie && lower.ends_with(['0', '2', '4', '6', '8']) { lower.to_owned() } else { digits }
}

/// White space of JSON, mostly none.
fn space() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just(String::new()), 1 => "[ \t\r\n]{1,3}"]
}

/// A character as JSON may spell it.
fn character() -> impl Strategy<Value = String> {
    let plain = |c: char| match c {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        c if c < ' ' => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    let escaped = |c: char| {
        let units = c.encode_utf16(&mut [0; 2]).to_vec();
        let escape = |text: String, unit: u16| text + &format!("\\u{unit:04X}");
        units.into_iter().fold(String::new(), escape)
    };
    let short = prop::sample::select(vec!["\\b", "\\f", "\\n", "\\r", "\\t", "\\/", "\\\\", "\\\""]);
    let near_the_surrogates =
        prop::sample::select(vec!['\u{d7ff}', '\u{e000}', '\u{ffff}', '\u{10000}', '😀']);
    prop_oneof![
        3 => "[a-c]",
        1 => any::<char>().prop_map(plain),
        1 => any::<char>().prop_map(escaped),
        1 => near_the_surrogates.clone().prop_map(plain),
        1 => near_the_surrogates.prop_map(escaped),
        1 => short.prop_map(str::to_owned),
    ]
}

fn string() -> impl Strategy<Value = String> {
    prop::collection::vec(character(), 0..5).prop_map(|characters| format!("\"{}\"", characters.concat()))
}

/// A number as JSON may spell it, of a value that some double is written as.
fn number() -> impl Strategy<Value = String> {
    let doubles = any::<f64>().prop_filter("finite", |number| number.is_finite());
    prop_oneof![
        (-1_i64 << 53..1 << 53).prop_map(|number| number.to_string()),
        doubles.prop_map(ecmascript),
        // Fifteen digits come back from a double as they went in.
        "-?(0|[1-9][0-9]{0,6})(\\.[0-9]{1,8}0{0,9})?([eE][+-]?[0-9]{1,2})?",
    ]
}

/// Any number as JSON may spell it.
const ANY_NUMBER: &str = "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,2})?";

/// A number's value as a whole multiple of 10^-150, in digits.
fn multiple(number: &str) -> String {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (sign, mantissa) = mantissa.split_at(usize::from(mantissa.starts_with('-')));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let places = 150 + exponent.parse::<i32>().unwrap() - i32::try_from(fraction.len()).unwrap();
    let digits = format!("{whole}{fraction}{}", "0".repeat(usize::try_from(places).unwrap()));
    match digits.trim_start_matches('0') {
        "" => String::new(),
        digits => format!("{sign}{digits}"),
    }
}

/// A JSON text of any shape, with repeated names, in any spelling.
fn json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        prop::sample::select(vec!["null", "true", "false"]).prop_map(str::to_owned),
        number(),
        string(),
    ];
    let value = scalar.prop_recursive(6, 64, 8, |inner| {
        let spaced =
            (space(), inner, space()).prop_map(|(before, value, after)| before + &value + &after).boxed();
        let member = (space(), string(), space(), spaced.clone())
            .prop_map(|(before, name, after, value)| format!("{before}{name}{after}:{value}"));
        prop_oneof![
            prop::collection::vec(spaced, 0..8).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..8).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    });
    (space(), value, space()).prop_map(|(before, value, after)| before + &value + &after)
}

/// Pieces of JSON in any order, rarely well-formed. Without `\\u` and exponents: `serde_json` refuses lone surrogates
/// and numbers beyond the doubles, which RFC 8259 does not.
fn text_like_json() -> impl Strategy<Value = String> {
    let pieces = vec![
        "[", "]", "{", "}", ":", ",", "\"", "\"a\"", "\\", "\\n", "\\x", "0", "1", "-", "+", ".", "true",
        "fals", "null", " ", "\n",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn agrees_with_an_independent_implementation(text in json()) {
        prop_assert_eq!(ours(&text), independent(&text));
    }

    #[test]
    fn is_its_own_canonical_form(text in json()) {
        let canonical = ours(&text);
        prop_assert_eq!(ours(&canonical), canonical);
    }

    #[test]
    fn takes_what_is_json_and_nothing_else(text in text_like_json()) {
        prop_assert_eq!(canonicalize(&text).is_ok(), serde_json::from_str::<Value>(&text).is_ok());
    }

    #[test]
    fn never_panics_on_any_text(text in any::<String>()) {
        let _ = canonicalize(&text);
    }

    #[test]
    fn numbers_are_written_as_ecmascript_writes_them(bits in any::<u64>()) {
        let number = f64::from_bits(bits);
        prop_assume!(number.is_finite());
        prop_assert_eq!(ours(&ecmascript(number)), ecmascript(number));
    }

    #[test]
    fn decimals_are_written_as_ecmascript_writes_them_unless_their_double_is_another_number(
        text in "-?(0|[1-9][0-9]{0,17})(\\.(0{0,7}[0-9]{1,9}))?"
    ) {
        let theirs = ecmascript(text.parse().unwrap());
        prop_assert_eq!(ours(&text) == theirs, multiple(&text) == multiple(&theirs));
    }

    #[test]
    fn numbers_have_one_form_exactly_when_they_are_one_number(
        (one, other) in (ANY_NUMBER, ANY_NUMBER),
        (last, zeros) in (1_u8..10, "0{0,3}"),
    ) {
        prop_assert_eq!(ours(&one) == ours(&other), multiple(&one) == multiple(&other));
        // The same number, with its point elsewhere.
        let (mantissa, exponent) = one.split_once(['e', 'E']).unwrap_or((&one, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let exponent = exponent.parse::<i32>().unwrap() - i32::try_from(fraction.len()).unwrap();
        let (sign, whole) = whole.split_at(usize::from(whole.starts_with('-')));
        let digits = format!("{whole}{fraction}");
        let digits = digits.trim_start_matches('0');
        let integer = if digits.is_empty() { "0" } else { digits };
        prop_assert_eq!(ours(&format!("{sign}{integer}E{exponent:+}")), ours(&one));
        prop_assert_eq!(ours(&format!("{sign}{integer}.{zeros}0e{exponent}")), ours(&one));
        // Its neighbour, one digit further on.
        let next = format!("{sign}{digits}{last}e{}", exponent - 1);
        prop_assert_ne!(ours(&next), ours(&one));
        prop_assert_eq!(ours(&ours(&next)), ours(&next));
    }

    #[test]
    fn neighbouring_doubles_differ(bits in any::<u64>()) {
        let (number, next) = (f64::from_bits(bits), f64::from_bits(bits.wrapping_add(1)));
        prop_assume!(number.is_finite() && next.is_finite() && number.to_bits() << 1 != 0 && next.to_bits() << 1 != 0);
        prop_assert_ne!(ours(&ecmascript(number)), ours(&ecmascript(next)));
    }
}

#[test]
fn ecmascripts_own_examples_of_numbers() {
    for (number, text) in [
        (1e21, "1e+21"),
        (123_456_789_012_345_680_000.0, "123456789012345680000"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (-1.5e-9, "-1.5e-9"),
        (f64::from_bits(14_028_061_830_380_433_568), "-16320684328280.312"),
        (0.1, "0.1"),
        (100.0, "100"),
        (f64::MAX, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
    ] {
        assert_eq!(ecmascript(number), text);
        assert_eq!(ours(text), text);
    }
}
