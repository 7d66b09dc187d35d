//! Canonical JSON (RFC 8785), without recursion: nesting is bounded by memory, not by a stack.
//!
//! Two texts have one canonical form exactly when they hold the same value: numbers are compared as decimal numbers, so
//! that those which only a double takes for one differ. Beyond the RFC, which refuses them, two things get a form of
//! their own: lone surrogates stay as `\udxxx` escapes, and a number that is not what its double is written as is
//! `123e-4`, with the digits that it came with.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;

use smallvec::SmallVec;

/// The text is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not JSON at byte {at}")]
pub struct NotJson {
    /// Where it stopped being JSON.
    pub at: usize,
}

/// The canonical form of a JSON text: members sorted by the UTF-16 code units of their names, the last of equal
/// names kept, numbers and strings as ECMAScript writes them, no white space.
///
/// # Errors
///
/// [`NotJson`] where RFC 8259 would not take the text.
///
/// # Examples
///
/// ```
/// use reprise::idempotency::canonical::canonicalize;
///
/// assert_eq!(canonicalize(r#"{ "b": 1.0, "a": "\u0041" }"#).unwrap(), br#"{"a":"A","b":1}"#);
/// ```
pub fn canonicalize(text: &str) -> Result<Vec<u8>, NotJson> {
    let mut parser = Parser { at: 0, tree: Tree::over(text.as_bytes()) };
    let root = parser.document()?;
    Ok(parser.tree.print(root))
}

/// Where something stands in the tree's texts or items; `u32` since a text of 4 GiB is no request body.
type Span = Range<u32>;

// A body of usual size is dealt with on the stack: to allocate is slow where the caches are full of something else.
type Items = SmallVec<[Item; 32]>;
type Stack<T> = SmallVec<[T; 8]>;

#[derive(Clone)]
enum Node {
    /// A literal, number or string: its canonical text, for `Tree::text`.
    Scalar(Span),
    /// Its items, in `Tree::items`.
    Array(Span),
    /// Its sorted members, in `Tree::items`.
    Object(Span),
}

#[derive(Clone)]
struct Item {
    /// The canonical text of a member's name with its quotes; empty in an array.
    name: Span,
    node: Node,
}

struct Tree<'a> {
    /// Most scalars are canonical as they come, and stay where they are.
    input: &'a [u8],
    /// What is not canonical in the input; its spans start where the input ends.
    rewritten: Vec<u8>,
    items: Items,
    /// Whether all names sort by their bytes: there are only ASCII characters, none of them escaped.
    is_plain: bool,
}

/// A container that is still open: its kind, and where its items start among those not yet placed.
struct Open {
    object: bool,
    first: usize,
    /// The name that the next value belongs to.
    name: Span,
}

struct Parser<'a> {
    at: usize,
    tree: Tree<'a>,
}

impl Parser<'_> {
    fn document(&mut self) -> Result<Node, NotJson> {
        let mut open: Stack<Open> = Stack::new();
        // Finished items of containers that are still open.
        let mut pending = Items::new();
        loop {
            // Here a value is due.
            self.space();
            let mut done = match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    self.at += 1;
                    self.space();
                    let object = bracket == b'{';
                    let mut container = Open { object, first: pending.len(), name: 0..0 };
                    if self.peek() == Some(if object { b'}' } else { b']' }) {
                        self.at += 1;
                        self.tree.place(&mut pending, &container)
                    } else {
                        if object {
                            container.name = self.name()?;
                        }
                        open.push(container);
                        continue;
                    }
                }
                _ => Node::Scalar(self.scalar()?),
            };
            // Here a value is done; it may be the last of any number of containers.
            loop {
                self.space();
                let Some(container) = open.last_mut() else {
                    return if self.at == self.tree.input.len() { Ok(done) } else { Err(self.wrong()) };
                };
                pending.push(Item { name: container.name.clone(), node: done });
                match (self.peek(), container.object) {
                    (Some(b','), object) => {
                        self.at += 1;
                        if object {
                            self.space();
                            let name = self.name()?;
                            container.name = name;
                        }
                        break;
                    }
                    (Some(b'}'), true) | (Some(b']'), false) => {
                        self.at += 1;
                        done = self.tree.place(&mut pending, container);
                        open.pop();
                    }
                    _ => return Err(self.wrong()),
                }
            }
        }
    }

    /// A member's name and its colon.
    fn name(&mut self) -> Result<Span, NotJson> {
        if self.peek() != Some(b'"') {
            return Err(self.wrong());
        }
        let name = self.string()?;
        self.space();
        if self.peek() != Some(b':') {
            return Err(self.wrong());
        }
        self.at += 1;
        Ok(name)
    }

    fn scalar(&mut self) -> Result<Span, NotJson> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                for literal in ["true", "false", "null"] {
                    if self.tree.input[self.at..].starts_with(literal.as_bytes()) {
                        let start = self.at;
                        self.at += literal.len();
                        return Ok(self.as_it_stands(start));
                    }
                }
                Err(self.wrong())
            }
        }
    }

    fn number(&mut self) -> Result<Span, NotJson> {
        let start = self.at;
        self.take(|byte| byte == b'-');
        if !self.take(|byte| byte == b'0') {
            self.digits()?;
        }
        if self.take(|byte| byte == b'.') {
            self.digits()?;
        }
        if !matches!(self.peek(), Some(b'e' | b'E')) && is_canonical_number(&self.tree.input[start..self.at])
        {
            return Ok(self.as_it_stands(start));
        }
        if self.take(|byte| matches!(byte, b'e' | b'E')) {
            self.take(|byte| matches!(byte, b'+' | b'-'));
            self.digits()?;
        }
        let number =
            std::str::from_utf8(&self.tree.input[start..self.at]).map_err(|_| NotJson { at: start })?;
        let double: f64 = number.parse().map_err(|_| NotJson { at: start })?;
        // ECMAScript's number to string, which RFC 8785 §3.2.2.3 asks for; it writes -0 as 0.
        let mut buffer = ryu_js::Buffer::new();
        let shortest = buffer.format(double);
        let decimal = Decimal::of(number);
        if double.is_finite() && decimal == Decimal::of(shortest) {
            return Ok(self.tree.append(shortest.as_bytes()));
        }
        // Only a parser of larger numbers can tell it from its neighbours, and the application may have one.
        Ok(self.tree.append(decimal.to_string().as_bytes()))
    }

    fn digits(&mut self) -> Result<(), NotJson> {
        let start = self.at;
        while self.take(|byte| byte.is_ascii_digit()) {}
        if self.at > start { Ok(()) } else { Err(self.wrong()) }
    }

    /// Reads a string and writes its canonical form, quotes included.
    fn string(&mut self) -> Result<Span, NotJson> {
        let quote = self.at;
        self.at += 1;
        self.skip_plain();
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(self.as_it_stands(quote));
        }
        let start = self.tree.end();
        self.tree.rewritten.extend_from_slice(&self.tree.input[quote..self.at]);
        loop {
            let plain = self.at;
            self.skip_plain();
            self.tree.rewritten.extend_from_slice(&self.tree.input[plain..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    self.tree.rewritten.push(b'"');
                    return Ok(start..self.tree.end());
                }
                Some(b'\\') => {
                    self.at += 1;
                    let unit = self.escape()?;
                    self.unit(unit);
                }
                _ => return Err(self.wrong()),
            }
        }
    }

    /// Reads an escape behind its backslash: one UTF-16 code unit.
    fn escape(&mut self) -> Result<u16, NotJson> {
        let escape = self.peek().ok_or(self.wrong())?;
        let unit = match escape {
            b'"' | b'\\' | b'/' => u16::from(escape),
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => 0x0a,
            b'r' => 0x0d,
            b't' => 0x09,
            b'u' => {
                let unit = self
                    .tree
                    .input
                    .get(self.at + 1..self.at + 5)
                    // from_str_radix would take a sign.
                    .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
                    .and_then(|digits| std::str::from_utf8(digits).ok())
                    .and_then(|digits| u16::from_str_radix(digits, 16).ok())
                    .ok_or(self.wrong())?;
                self.at += 4;
                unit
            }
            _ => return Err(self.wrong()),
        };
        self.at += 1;
        Ok(unit)
    }

    /// Writes a code unit that was escaped, in its canonical form; takes the other half of a pair with it.
    fn unit(&mut self, unit: u16) {
        let text = &mut self.tree.rewritten;
        match unit {
            0x22 => text.extend(b"\\\""),
            0x5c => text.extend(b"\\\\"),
            0x08 => text.extend(b"\\b"),
            0x0c => text.extend(b"\\f"),
            0x0a => text.extend(b"\\n"),
            0x0d => text.extend(b"\\r"),
            0x09 => text.extend(b"\\t"),
            0x00..=0x1f => text.extend(format!("\\u{unit:04x}").bytes()),
            _ => {
                let before = self.at;
                let low = (matches!(unit, 0xd800..=0xdbff) && self.tree.input[self.at..].starts_with(b"\\u"))
                    .then(|| {
                        self.at += 1;
                        self.escape().ok()
                    })
                    .flatten();
                let pair = low.and_then(|low| char::decode_utf16([unit, low]).next()?.ok());
                if pair.is_none() {
                    self.at = before;
                }
                match pair.or_else(|| char::from_u32(u32::from(unit))) {
                    Some(c) => self.tree.rewritten.extend(c.encode_utf8(&mut [0; 4]).bytes()),
                    None => self.tree.rewritten.extend(format!("\\u{unit:04x}").bytes()),
                }
            }
        }
    }

    /// What was read since then, canonical as it is in the input.
    fn as_it_stands(&self, start: usize) -> Span {
        to_u32(start)..to_u32(self.at)
    }

    /// Moves on over characters of a string that stand for themselves.
    fn skip_plain(&mut self) {
        let rest = &self.tree.input[self.at..];
        let ends = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
        self.at += rest.iter().position(ends).unwrap_or(rest.len());
    }

    fn space(&mut self) {
        while self.take(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {}
    }

    /// Moves on over a byte that matches; whether there was one.
    fn take(&mut self, matches: impl Fn(u8) -> bool) -> bool {
        let found = self.peek().is_some_and(matches);
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<u8> {
        self.tree.input.get(self.at).copied()
    }

    fn wrong(&self) -> NotJson {
        NotJson { at: self.at }
    }
}

impl<'a> Tree<'a> {
    fn over(input: &'a [u8]) -> Self {
        Self {
            input,
            rewritten: Vec::new(),
            items: Items::new(),
            is_plain: input.is_ascii() && !input.contains(&b'\\'),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Span {
        let start = self.end();
        self.rewritten.extend_from_slice(bytes);
        start..self.end()
    }

    /// Where the next rewritten text starts.
    fn end(&self) -> u32 {
        to_u32(self.input.len() + self.rewritten.len())
    }

    fn text(&self, span: &Span) -> &[u8] {
        text(self.input, &self.rewritten, span)
    }

    /// Closes a container: takes its items from `pending`, sorts the members of an object, drops all but the last of
    /// equal names (as `JSON.parse` does), and keeps them together.
    fn place(&mut self, pending: &mut Items, container: &Open) -> Node {
        let first = self.items.len();
        if container.object {
            let Self { input, rewritten, is_plain, .. } = self;
            let name = |item: &Item| unquoted(text(input, rewritten, &item.name));
            // Stable, so that equal names stay in the order of the text.
            pending[container.first..].sort_by(|a, b| match is_plain {
                true => name(a).cmp(name(b)),
                false => by_utf16(name(a), name(b)),
            });
            for member in pending.drain(container.first..) {
                match self.items[first..].last_mut() {
                    Some(before) if name(before) == name(&member) => *before = member,
                    _ => self.items.push(member),
                }
            }
        } else {
            self.items.extend(pending.drain(container.first..));
        }
        let span = to_u32(first)..to_u32(self.items.len());
        if container.object { Node::Object(span) } else { Node::Array(span) }
    }

    fn print(&self, root: Node) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.input.len() + self.rewritten.len());
        // What is left to print of each open container, and how it ends.
        let mut open: Stack<(Span, u8)> = Stack::new();
        let mut next = Some(root);
        loop {
            match next.take() {
                Some(Node::Scalar(span)) => out.extend_from_slice(self.text(&span)),
                Some(Node::Array(span)) => {
                    out.push(b'[');
                    open.push((span, b']'));
                }
                Some(Node::Object(span)) => {
                    out.push(b'{');
                    open.push((span, b'}'));
                }
                None => {}
            }
            let Some((left, end)) = open.last_mut() else {
                return out;
            };
            if let Some(index) = left.next() {
                let item = &self.items[index as usize];
                // A scalar never ends in a bracket: this one was opened just now.
                if !matches!(out.last(), Some(b'[' | b'{')) {
                    out.push(b',');
                }
                if !item.name.is_empty() {
                    out.extend_from_slice(self.text(&item.name));
                    out.push(b':');
                }
                next = Some(item.node.clone());
            } else {
                out.push(*end);
                open.pop();
            }
        }
    }
}

fn text<'a>(input: &'a [u8], rewritten: &'a [u8], Span { start, end }: &Span) -> &'a [u8] {
    let (start, end) = (*start as usize, *end as usize);
    match start.checked_sub(input.len()) {
        None => &input[start..end],
        Some(start) => &rewritten[start..end - input.len()],
    }
}

fn to_u32(position: usize) -> u32 {
    u32::try_from(position).expect("a JSON text is smaller than 4 GiB")
}

/// A decimal number, exactly: `digits` × 10^`exponent`, without zeros at either end. Zero has no digits.
#[derive(PartialEq, Eq)]
struct Decimal<'a> {
    is_negative: bool,
    digits: Cow<'a, str>,
    exponent: i64,
}

/// Exponents beyond are taken for this one: no two numbers that anybody sends are that large, or that small.
const LARGEST_EXPONENT: i64 = 1_000_000_000_000_000;

impl<'a> Decimal<'a> {
    /// Reads a number as JSON writes it.
    fn of(number: &'a str) -> Self {
        let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
        let unsigned = mantissa.strip_prefix('-');
        let is_negative = unsigned.is_some();
        let mantissa = unsigned.unwrap_or(mantissa);
        let (digits, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (Cow::Owned([whole, fraction].concat()), fraction.len()),
            None => (Cow::Borrowed(mantissa), 0),
        };
        let trimmed = digits.trim_end_matches('0');
        let zeros = digits.len() - trimmed.len();
        let digits = match digits {
            Cow::Borrowed(digits) => Cow::Borrowed(digits.trim_matches('0')),
            Cow::Owned(_) => Cow::Owned(trimmed.trim_start_matches('0').to_owned()),
        };
        if digits.is_empty() {
            return Self { is_negative: false, digits, exponent: 0 };
        }
        let exponent = exponent_of(exponent) + length(zeros) - length(fraction);
        Self { is_negative, digits, exponent: exponent.clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT) }
    }
}

impl fmt::Display for Decimal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}e{}", if self.is_negative { "-" } else { "" }, self.digits, self.exponent)
    }
}

fn exponent_of(text: &str) -> i64 {
    let largest = if text.starts_with('-') { -LARGEST_EXPONENT } else { LARGEST_EXPONENT };
    text.parse().unwrap_or(largest).clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT)
}

fn length(digits: usize) -> i64 {
    i64::try_from(digits).expect("a JSON text is smaller than 4 GiB")
}

/// Whether a number without an exponent is written as ECMAScript writes it. Fifteen significant digits come back from
/// a double as they went in; with more, and for zeros that could be left out, it is made a double and written anew.
fn is_canonical_number(number: &[u8]) -> bool {
    let digits = number.strip_prefix(b"-").unwrap_or(number);
    let (whole, fraction) = match digits.iter().position(|byte| *byte == b'.') {
        Some(point) => (&digits[..point], &digits[point + 1..]),
        None => (digits, &[][..]),
    };
    let is_short = whole.len() + fraction.len() <= 15;
    let is_minus_zero = number.len() > digits.len() && whole == b"0" && fraction.is_empty();
    // Below a millionth there is an exponent.
    let is_tiny = whole == b"0" && fraction.starts_with(b"000000");
    is_short && !is_minus_zero && !is_tiny && fraction.last() != Some(&b'0')
}

/// Orders two canonical strings, without their quotes, by their UTF-16 code units (RFC 8785 §3.2.3).
fn by_utf16(a: &[u8], b: &[u8]) -> Ordering {
    let plain = |name: &[u8]| name.is_ascii() && !name.contains(&b'\\');
    if plain(a) && plain(b) { a.cmp(b) } else { units(a).cmp(units(b)) }
}

fn unquoted(name: &[u8]) -> &[u8] {
    &name[1..name.len() - 1]
}

/// The UTF-16 code units of a canonical string without its quotes.
fn units(name: &[u8]) -> impl Iterator<Item = u16> {
    let mut chars = std::str::from_utf8(name).unwrap_or_default().chars();
    let mut second_half = None;
    std::iter::from_fn(move || {
        if let Some(unit) = second_half.take() {
            return Some(unit);
        }
        let c = match chars.next()? {
            '\\' => match chars.next()? {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => {
                    let digits = chars.by_ref().take(4);
                    return Some(digits.fold(0, |unit, digit| unit << 4 | hex(digit)));
                }
                escaped => escaped,
            },
            c => c,
        };
        let mut pair = [0; 2];
        let first = c.encode_utf16(&mut pair)[0];
        second_half = (c.len_utf16() == 2).then_some(pair[1]);
        Some(first)
    })
}

fn hex(digit: char) -> u16 {
    digit.to_digit(16).and_then(|digit| u16::try_from(digit).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        String::from_utf8(canonicalize(text).unwrap()).unwrap()
    }

    #[test]
    fn the_rfcs_sample_of_every_literal() {
        // RFC 8785 §3.2.2
        let text = r#"{
            "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals": [null, true, false]
        }"#;
        // But for the first number, which no double is written as.
        let canonical = concat!(
            r#"{"literals":[null,true,false],"numbers":[33333333333333329e-8,1e+30,4.5,0.002,1e-27],"#,
            r#""string":"€$\u000f\nA'B\"\\\\\"/"}"#
        );
        assert_eq!(of(text), canonical);
    }

    #[test]
    fn the_rfcs_sample_of_sorting() {
        // RFC 8785 §3.2.3
        let text = r#"{
            "\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh",
            "1": "One", "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis"
        }"#;
        let canonical = concat!(
            "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",",
            "\"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",",
            "\"😀\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}"
        );
        assert_eq!(of(text), canonical);
    }

    #[test]
    fn the_rfcs_numbers() {
        // RFC 8785 appendix B, by their bits
        for (bits, text) in [
            (0x0000_0000_0000_0000, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0x41b3_de43_5555_5554, "333333333.33333325"),
            (0x41b3_de43_5555_5555, "333333333.3333333"),
            (0x41b3_de43_5555_5556, "333333333.3333334"),
            (0x41b3_de43_5555_5557, "333333333.33333343"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
        ] {
            assert_eq!(ryu_js::Buffer::new().format(f64::from_bits(bits)), text);
            assert_eq!(of(text), text);
        }
    }

    #[test]
    fn spellings_of_one_value_have_one_form() {
        for (a, b) in [
            (r#"{"a":1,"b":2}"#, " {\n\t\"b\" : 2.0 ,\r \"a\":10e-1 } "),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            (r#"{"a":1,"\u0061":2}"#, r#"{"a":2}"#),
            (r#""\/\u0041\ud83d\ude00""#, r#""/A😀""#),
            ("[-0,0e9,0.000E-99999999999999999999]", "[0,0,0]"),
            ("9007199254740993", "9.0071992547409930e15"),
            ("-0.10000000000000000001", "-10000000000000000001E-20"),
            ("1e400", "0.01e+402"),
            ("1e-400", "0.1e-399"),
        ] {
            assert_eq!(of(a), of(b), "{a} {b}");
        }
    }

    #[test]
    fn two_values_have_two_forms() {
        for (a, b) in [
            (r#""\ud800""#, r#""\ud801""#),
            (r#""\udc00\ud800""#, r#""\ud800\udc00""#),
            (r#""\ud800\u0041""#, r#""\ud801\u0041""#),
            (r#""\ud800""#, r#""\\ud800""#),
            (r#"{"__proto__":1}"#, "{}"),
            ("1e400", "null"),
            ("1e400", "-1e400"),
            ("1e400", "2e999"),
            ("1e-400", "0"),
            ("9007199254740993", "9007199254740992"),
            ("0.1", "0.10000000000000000001"),
            ("1", "1.00000000000000000001"),
            (r#"[1,"2"]"#, "[1,2]"),
            ("[[]]", "[]"),
            (r#"{"a":{}}"#, r#"{"a":[]}"#),
            ("[[1],2]", "[[1,2]]"),
        ] {
            assert_ne!(of(a), of(b), "{a} {b}");
        }
    }

    #[test]
    fn an_exponent_may_be_as_long_as_it_likes() {
        for text in ["1e99999999999999999999", "-15e-99999999999999999999", "1.5e1000000000000000"] {
            assert_eq!(of(&of(text)), of(text), "{text}");
        }
    }

    #[test]
    fn sorts_by_utf16_code_units() {
        // A lone high surrogate, a pair, a lone low surrogate, then U+E000: their UTF-8 would sort otherwise.
        assert_eq!(
            of(r#"{"\ue000":4,"\udfff":3,"\ud83d\ude00":2,"\ud83d":1}"#),
            "{\"\\ud83d\":1,\"😀\":2,\"\\udfff\":3,\"\u{e000}\":4}"
        );
        // The end of a name sorts before any character, the quote mark is none of it.
        assert_eq!(of(r#"{"a!":2,"a":1,"a\"":3,"a#":4}"#), r#"{"a":1,"a!":2,"a\"":3,"a#":4}"#);
        assert_eq!(of(r#"{"\n":1,"\u0001":2," ":3}"#), r#"{"\u0001":2,"\n":1," ":3}"#);
    }

    #[test]
    fn depth_costs_no_stack() {
        let depth = 200_000;
        let arrays = "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(of(&arrays), arrays);
        let objects = "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth);
        assert_eq!(of(&objects), objects);
    }

    #[test]
    fn refuses_what_is_not_json() {
        for text in [
            "",
            " ",
            "{",
            "[",
            "[1,",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{1:1}",
            "[1}",
            "{\"a\":1]",
            "01",
            "+1",
            "1.",
            ".5",
            "1e",
            "1e+",
            "-",
            "0x1",
            "NaN",
            "Infinity",
            "tru",
            "nulll",
            "1 2",
            "\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u+123\"",
            "\"\n\"",
            "'a'",
            "[1]]",
            "\u{feff}1",
            "\u{a0}1",
        ] {
            assert!(canonicalize(text).is_err(), "{text:?}");
        }
    }
}
