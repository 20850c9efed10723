//! Hybrid torrents (BEP 52): both halves must tell of the same files, or v1 and v2 peers would share an
//! identity but not its content.

use super::{MetainfoError, files};
use crate::wire::bencode::{Token, Value};

/// Compares the v2 file tree with the v1 file list: the same paths and lengths in the same order, padding
/// apart. One pass over the tree, however deep. Errors: `torrent.hybrid`.
pub(super) fn check(
    tree: Option<Value<'_>>,
    name: &[u8],
    length: Option<Value<'_>>,
    list: Option<Value<'_>>,
) -> Result<(), MetainfoError> {
    let mut v1 = list.and_then(Value::as_list).into_iter().flatten();
    let mut v1_single = length;
    let mut tokens = tree.ok_or_else(mismatch)?.tokens();
    let mut path: Vec<&[u8]> = Vec::new();
    let mut depth = 0usize;
    while let Some(token) = tokens.next() {
        match token?.1 {
            Token::Dict => depth += 1,
            Token::End => {
                depth -= 1;
                path.pop();
                if depth == 0 {
                    break;
                }
            }
            // An empty name holds the properties of the file whose path leads here.
            Token::Bytes(b"") if depth > 0 => {
                let properties = tokens.value().ok_or_else(mismatch)?;
                let [v2_length] = properties.fields([b"length".as_slice()])?;
                let v2_length = v2_length.map_or(Ok(0), files::file_length)?;
                let is_same = match v1_single.take() {
                    Some(length) => path == [name] && files::file_length(length)? == v2_length,
                    None => match next_file(&mut v1)? {
                        Some(file) => file.is(&path, v2_length),
                        None => false,
                    },
                };
                if !is_same {
                    return Err(mismatch());
                }
            }
            Token::Bytes(key) if depth > 0 => {
                path.push(key);
                if path.len() != depth {
                    return Err(mismatch());
                }
            }
            Token::Bytes(_) | Token::List | Token::Int(_) => return Err(mismatch()),
        }
    }
    match (v1_single, next_file(&mut v1)?) {
        (None, None) => Ok(()),
        _ => Err(mismatch()),
    }
}

/// A file of the v1 list.
struct V1File<'a> {
    path: Value<'a>,
    length: u64,
}

impl V1File<'_> {
    fn is(&self, path: &[&[u8]], length: u64) -> bool {
        let elements = self.path.as_strings().into_iter().flatten();
        self.length == length && elements.eq(path.iter().copied().map(Some))
    }
}

/// The next of the v1 list that is no padding.
fn next_file<'a>(
    list: &mut impl Iterator<Item = Value<'a>>,
) -> Result<Option<V1File<'a>>, MetainfoError> {
    for entry in list {
        let [length, path, attributes] = entry.fields([b"length".as_slice(), b"path", b"attr"])?;
        let length = length.map_or(Ok(0), files::file_length)?;
        let attributes = attributes.and_then(Value::as_bytes).unwrap_or_default();
        if !files::is_pad(attributes, path, length) {
            let path = path.ok_or_else(mismatch)?;
            return Ok(Some(V1File { path, length }));
        }
    }
    Ok(None)
}

fn mismatch() -> MetainfoError {
    let message = "the v1 and v2 halves of this torrent tell of different files";
    MetainfoError::new("torrent.hybrid", message)
}
