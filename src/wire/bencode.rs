//! Bencoding (BEP 3), read in place: an iterative scanner that bounds what it is given, and views that
//! borrow from the approved bytes. Nothing here recurses or allocates.
//!
//! ```
//! use minitorrent::wire::bencode::Value;
//!
//! let (reply, used) = Value::parse(b"d8:intervali1800e5:peers0:etail", 32)?;
//! let [interval, peers] = reply.fields([b"interval".as_slice(), b"peers"])?;
//! assert_eq!(interval.and_then(|value| value.as_int().ok()), Some(1800));
//! assert_eq!(peers.and_then(|value| value.as_bytes()), Some(b"".as_slice()));
//! assert_eq!(used, 27);
//! # Ok::<(), minitorrent::wire::bencode::BencodeError>(())
//! ```
//!
//! # Which door to take
//!
//! Numbers are judged where they are used: a scan passes `i007e`, `ie` and forty digits under any key, and
//! [`Value::as_int`] is strict. So one odd number costs only the field it stands in. `serde_bencoded` has no
//! such mercy (an over-long number under an unknown key loses the dictionary; `+5` and `007` are read as
//! numbers), recurses without limit and refuses trailing bytes. [`from_network`] shields it from depth,
//! syntax and trailing bytes, but not from odd numbers: types may borrow from the input, so the input can't
//! be cleaned first. It is for messages whose every number is ours to refuse; where a hostile number must
//! cost one field only (an interval, a `metadata_size`, a `reqq`), use [`Value::fields`].

use std::fmt;

use serde::Deserialize;

use crate::base::limits;

/// One bencoded value within approved bytes: a view, free to copy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    raw: &'a [u8],
    at: usize,
}

impl<'a> Value<'a> {
    /// Scans the value at the beginning of `input` and gives it with its length; what follows is the
    /// caller's to judge. Errors as [`scan`].
    pub fn parse(input: &'a [u8], depth_max: usize) -> Result<(Self, usize), BencodeError> {
        Self::parse_seeing(input, depth_max, |_, _, _| ())
    }

    /// As [`Value::parse`], and shows `see` on the way what it would have to be walked again for: the entries of a
    /// dictionary and of the dictionaries directly in it. Each is the key that the inner dictionary stands under
    /// (`None`: the entry is the outer one's), its own key, and its value. On an error they count for nothing.
    pub fn parse_seeing(
        input: &'a [u8],
        depth_max: usize,
        see: impl FnMut(Option<&'a [u8]>, &'a [u8], Self),
    ) -> Result<(Self, usize), BencodeError> {
        let used = scan_seeing(input, depth_max, see)?;
        let raw = &input[..used];
        Ok((Self { raw, at: 0 }, used))
    }

    /// The value's own bytes.
    pub fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// Where the value begins in the scanned input.
    pub fn offset(self) -> usize {
        self.at
    }

    /// The bytes of a string; `None` if it is something else.
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        match self.tokens().next() {
            Some(Ok((_, Token::Bytes(bytes)))) => Some(bytes),
            _ => None,
        }
    }

    /// The number, if it is an integer written as BEP 3 asks (no `+`, no spare zeros, no `-0`) that fits in
    /// 64 bits. Errors: [`Fault::Type`] for anything but an integer, [`Fault::Number`].
    pub fn as_int(self) -> Result<i64, BencodeError> {
        let Some(Ok((at, Token::Int(text)))) = self.tokens().next() else {
            return Err(self.fault(Fault::Type));
        };
        strict_int(text).ok_or(BencodeError {
            fault: Fault::Number,
            at,
        })
    }

    /// The values of a list, in order; `None` if it is something else.
    pub fn as_list(self) -> Option<ListIter<'a>> {
        (self.raw.first() == Some(&b'l')).then(|| ListIter {
            tokens: self.inside(),
        })
    }

    /// The strings of a list, in order; `None` if it is something else. In the place of the first value that is no
    /// string stands `None`, and what follows that means nothing.
    pub fn as_strings(self) -> Option<impl Iterator<Item = Option<&'a [u8]>>> {
        let string = |token: Result<(usize, Token<'a>), BencodeError>| match token.ok()?.1 {
            Token::End => None,
            Token::Bytes(bytes) => Some(Some(bytes)),
            Token::Dict | Token::List | Token::Int(_) => Some(None),
        };
        let is_list = self.raw.first() == Some(&b'l');
        is_list.then(|| self.inside().map_while(string))
    }

    /// The keys and values of a dictionary, in the order they stand; `None` if it is something else.
    pub fn as_dict(self) -> Option<DictIter<'a>> {
        (self.raw.first() == Some(&b'd')).then(|| DictIter {
            tokens: self.inside(),
        })
    }

    /// The values of the named keys of a dictionary. Other keys are passed over, in any order. Errors:
    /// [`Fault::Type`] if this is no dictionary, [`Fault::DuplicateKey`] if a *named* key stands twice.
    pub fn fields<const N: usize>(
        self,
        keys: [&[u8]; N],
    ) -> Result<[Option<Value<'a>>; N], BencodeError> {
        let mut fields = Fields::new(keys);
        for (key, value) in self.as_dict().ok_or(self.fault(Fault::Type))? {
            fields.note(key, value);
        }
        fields.found()
    }

    /// The value's tokens, flat: for walks that must not cost a pass a level.
    pub fn tokens(self) -> Tokens<'a> {
        Tokens {
            input: self.raw,
            next: 0,
            at: self.at,
        }
    }

    fn inside(self) -> Tokens<'a> {
        let mut tokens = self.tokens();
        tokens.next = 1;
        tokens
    }

    fn fault(self, fault: Fault) -> BencodeError {
        BencodeError { fault, at: self.at }
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.raw.escape_ascii())
    }
}

/// The values of named keys of one dictionary, collected as its entries are met.
#[derive(Clone, Debug)]
pub struct Fields<'k, 'a, const N: usize> {
    keys: [&'k [u8]; N],
    found: [Option<Value<'a>>; N],
    twice: Option<BencodeError>,
}

impl<'k, 'a, const N: usize> Fields<'k, 'a, N> {
    /// None of these keys was met yet.
    pub fn new(keys: [&'k [u8]; N]) -> Self {
        Self {
            keys,
            found: [None; N],
            twice: None,
        }
    }

    /// The next entry of the dictionary, of any key.
    pub fn note(&mut self, key: &[u8], value: Value<'a>) {
        let place = self.keys.iter().position(|wanted| *wanted == key);
        if let Some(place) = place
            && self.found[place].replace(value).is_some()
        {
            self.twice.get_or_insert(value.fault(Fault::DuplicateKey));
        }
    }

    /// The values in the order of the keys. Errors: [`Fault::DuplicateKey`] if one of the keys stood twice.
    pub fn found(self) -> Result<[Option<Value<'a>>; N], BencodeError> {
        match self.twice {
            Some(error) => Err(error),
            None => Ok(self.found),
        }
    }
}

/// Checks the one value at the beginning of `input` and says how many bytes it has: nesting of at most
/// `depth_max` (and never above 128), strings within the input, keys that are strings. Odd numbers, unsorted
/// and double keys pass. Ends: every step takes a byte or stops.
pub fn scan(input: &[u8], depth_max: usize) -> Result<usize, BencodeError> {
    scan_seeing(input, depth_max, |_, _, _| ())
}

/// See [`Value::parse_seeing`].
fn scan_seeing<'a>(
    input: &'a [u8],
    depth_max: usize,
    mut see: impl FnMut(Option<&'a [u8]>, &'a [u8], Value<'a>),
) -> Result<usize, BencodeError> {
    let depth_max = depth_max.min(SCAN_DEPTH_MAX);
    // The last key of each of the two outermost dictionaries, and where its value begins.
    let mut keys: [(&[u8], usize); 2] = [(b"", 0); 2];
    let mut tokens = Tokens {
        input,
        next: 0,
        at: 0,
    };
    // A bit a level, the innermost lowest: whether it is a dictionary.
    let mut dictionaries = 0u128;
    let mut depth = 0;
    let mut wants_key = false;
    loop {
        let (at, token) = match tokens.next() {
            Some(token) => token?,
            None => return Err(Fault::Truncated.at(input.len())),
        };
        let in_dictionary = depth > 0 && dictionaries & 1 == 1;
        match token {
            Token::Bytes(key) if wants_key => {
                wants_key = false;
                if let Some(last) = keys.get_mut(depth - 1) {
                    *last = (key, tokens.next);
                }
                continue;
            }
            Token::End if depth > 0 && (wants_key || !in_dictionary) => {
                dictionaries >>= 1;
                depth -= 1;
            }
            Token::End => return Err(Fault::Syntax.at(at)),
            Token::Bytes(_) => {}
            Token::Dict | Token::List | Token::Int(_) if wants_key => {
                return Err(Fault::Syntax.at(at));
            }
            Token::Int(_) => {}
            Token::Dict | Token::List => {
                if depth == depth_max {
                    return Err(Fault::Depth { max: depth_max }.at(at));
                }
                depth += 1;
                wants_key = matches!(token, Token::Dict);
                dictionaries = dictionaries << 1 | u128::from(wants_key);
                continue;
            }
        }
        // A whole value has ended here: its surroundings go on.
        if depth == 0 {
            return Ok(tokens.next);
        }
        wants_key = dictionaries & 1 == 1;
        if depth <= keys.len() && dictionaries == (1 << depth) - 1 {
            let (key, at) = keys[depth - 1];
            let raw = &input[at..tokens.next];
            see((depth > 1).then_some(keys[0].0), key, Value { raw, at });
        }
    }
}

/// Reads a typed value of a peer or tracker through `serde_bencoded`, which is shown exactly the bytes that
/// [`scan`] approved at [`limits::DEPTH_NETWORK`]; gives it with their number. See the module's page for
/// what this can't shield from. Errors: as [`scan`], and [`Fault::Type`] if the value is not of that type.
pub fn from_network<'de, T: Deserialize<'de>>(
    input: &'de [u8],
) -> Result<(T, usize), BencodeError> {
    let used = scan(input, limits::DEPTH_NETWORK)?;
    match serde_bencoded::from_bytes(&input[..used]) {
        Ok(value) => Ok((value, used)),
        Err(_) => Err(Fault::Type.at(0)),
    }
}

/// The values of a list.
#[derive(Clone, Debug)]
pub struct ListIter<'a> {
    tokens: Tokens<'a>,
}

impl<'a> ListIter<'a> {
    /// The named fields of the next value, as [`Value::fields`] gives them, but without a walk to its end first;
    /// `None` at the end of the list, which is also behind a value that is no dictionary.
    pub fn next_fields<const N: usize>(
        &mut self,
        keys: [&[u8]; N],
    ) -> Option<Result<[Option<Value<'a>>; N], BencodeError>> {
        match self.tokens.next()?.ok()? {
            (_, Token::End) => return None,
            (_, Token::Dict) => {}
            (at, Token::List | Token::Bytes(_) | Token::Int(_)) => {
                self.tokens.next = self.tokens.input.len();
                return Some(Err(Fault::Type.at(at)));
            }
        }
        let mut fields = Fields::new(keys);
        while let Some(Ok((_, Token::Bytes(key)))) = self.tokens.next() {
            fields.note(key, self.tokens.value()?);
        }
        Some(fields.found())
    }
}

impl<'a> Iterator for ListIter<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        self.tokens.value()
    }
}

/// The keys and values of a dictionary.
#[derive(Clone, Debug)]
pub struct DictIter<'a> {
    tokens: Tokens<'a>,
}

impl<'a> Iterator for DictIter<'a> {
    type Item = (&'a [u8], Value<'a>);

    fn next(&mut self) -> Option<(&'a [u8], Value<'a>)> {
        let Some(Ok((_, Token::Bytes(key)))) = self.tokens.next() else {
            return None;
        };
        Some((key, self.tokens.value()?))
    }
}

/// What bencoding is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Token<'a> {
    /// A dictionary begins: `d`.
    Dict,
    /// A list begins: `l`.
    List,
    /// The innermost dictionary or list ends: `e`.
    End,
    /// A string.
    Bytes(&'a [u8]),
    /// An integer: what stands between `i` and `e`, not judged.
    Int(&'a [u8]),
}

/// The tokens of some bytes with the offset of each, up to the end of the input or the first error. Knows
/// nothing of nesting.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    input: &'a [u8],
    next: usize,
    at: usize,
}

impl<'a> Tokens<'a> {
    /// The whole next value, skipped over; `None` at an end. Only within approved bytes.
    pub(super) fn value(&mut self) -> Option<Value<'a>> {
        let start = self.next;
        let mut depth = 0usize;
        loop {
            match self.next()?.ok()?.1 {
                Token::Dict | Token::List => depth += 1,
                Token::End => depth = depth.checked_sub(1)?,
                Token::Bytes(_) | Token::Int(_) => {}
            }
            if depth == 0 {
                return Some(Value {
                    raw: &self.input[start..self.next],
                    at: self.at + start,
                });
            }
        }
    }

    fn token(&mut self) -> Result<Token<'a>, Fault> {
        let rest = &self.input[self.next..];
        let (token, used) = match rest[0] {
            b'd' => (Token::Dict, 1),
            b'l' => (Token::List, 1),
            b'e' => (Token::End, 1),
            b'i' => {
                // Signs, spaces and points are let through: they are judged where the number is used.
                let is_text =
                    |byte: &&u8| matches!(**byte, b'0'..=b'9' | b'+' | b'-' | b' ' | b'.');
                let len = rest[1..].iter().take_while(is_text).count();
                match rest.get(1 + len) {
                    Some(b'e') => (Token::Int(&rest[1..=len]), len + 2),
                    Some(_) => return Err(Fault::Syntax),
                    None => return Err(Fault::Truncated),
                }
            }
            b'0'..=b'9' => {
                let mut len = Some(0u64);
                let mut digits = 0;
                loop {
                    match rest.get(digits) {
                        Some(digit @ b'0'..=b'9') => {
                            let tens = len.and_then(|len| len.checked_mul(10));
                            len = tens.and_then(|tens| tens.checked_add(u64::from(digit - b'0')));
                            digits += 1;
                        }
                        Some(b':') => break,
                        Some(_) => return Err(Fault::Syntax),
                        None => return Err(Fault::Truncated),
                    }
                }
                let len = len.ok_or(Fault::Number)?;
                let body = &rest[digits + 1..];
                let bytes = usize::try_from(len).ok().and_then(|len| body.get(..len));
                let bytes = bytes.ok_or(Fault::Truncated)?;
                (Token::Bytes(bytes), digits + 1 + bytes.len())
            }
            _ => return Err(Fault::Syntax),
        };
        self.next += used;
        Ok(token)
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Result<(usize, Token<'a>), BencodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.input.len() {
            return None;
        }
        let at = self.at + self.next;
        match self.token() {
            Ok(token) => Some(Ok((at, token))),
            Err(fault) => {
                // Nothing behind a fault can be trusted.
                self.next = self.input.len();
                Some(Err(fault.at(at)))
            }
        }
    }
}

/// Why bytes are not the bencoding that was wanted, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BencodeError {
    /// What is wrong.
    pub fault: Fault,
    /// The offset of the byte where the guilty token begins.
    pub at: usize,
}

impl BencodeError {
    /// The stable name of the fault in a torrent file, as in `torrent.depth`.
    pub fn kind(&self) -> &'static str {
        match self.fault {
            Fault::Depth { .. } => "torrent.depth",
            Fault::Truncated => "torrent.truncated",
            Fault::Number => "torrent.number",
            Fault::Syntax => "torrent.syntax",
            Fault::DuplicateKey => "torrent.duplicate-key",
            Fault::Type => "torrent.type",
        }
    }
}

impl fmt::Display for BencodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            Fault::Depth { max } => write!(f, "nested deeper than {max}")?,
            Fault::Truncated => write!(f, "cut short")?,
            Fault::Number => write!(f, "no proper number")?,
            Fault::Syntax => write!(f, "not bencoded")?,
            Fault::DuplicateKey => write!(f, "a key stands twice")?,
            Fault::Type => write!(f, "a value of another type was expected")?,
        }
        write!(f, " at byte {}", self.at)
    }
}

impl std::error::Error for BencodeError {}

/// What can be wrong with bencoded bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Lists and dictionaries nest deeper than allowed.
    Depth {
        /// What is allowed.
        max: usize,
    },
    /// The input ends within a value.
    Truncated,
    /// A number is badly written or too large.
    Number,
    /// A byte that can't stand there; a key that is no string.
    Syntax,
    /// A key that is used stands twice in one dictionary.
    DuplicateKey,
    /// A value is not of the type that was wanted.
    Type,
}

impl Fault {
    /// The fault, found at `at`.
    pub fn at(self, at: usize) -> BencodeError {
        BencodeError { fault: self, at }
    }
}

fn strict_int(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let proper = match digits {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !proper {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A bit a level fits in the scanner's state.
const SCAN_DEPTH_MAX: usize = 128;

#[cfg(test)]
mod tests;
