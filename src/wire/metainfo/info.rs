//! The `info` dictionary: identity, name, pieces.

use sha1::{Digest, Sha1};
use sha2::Sha256;

use super::{Metainfo, MetainfoError, Warning, files, hybrid};
use crate::base::geometry::Geometry;
use crate::base::ids::InfoHash;
use crate::base::limits;
use crate::wire::bencode::Value;
use crate::wire::names;

/// The keys of `info` that are read.
pub(super) const KEYS: [&[u8]; 9] = [
    b"pieces",
    b"meta version",
    b"file tree",
    b"length",
    b"files",
    b"private",
    b"name.utf-8",
    b"name",
    b"piece length",
];

/// Everything that the approved `info` dictionary says in the fields of [`KEYS`], but for its bytes. A name or a piece
/// length that it lacks is taken from `root`, around it, where some makers put them.
pub(super) fn read<'a>(
    info: Value<'a>,
    fields: [Option<Value<'a>>; KEYS.len()],
    root: Option<Value<'a>>,
) -> Result<Metainfo, MetainfoError> {
    let mut warnings = Vec::new();
    let [
        pieces,
        meta_version,
        tree,
        length,
        list,
        private,
        name_utf8,
        name,
        piece_length,
    ] = fields;
    let is_v2 = meta_version.is_some_and(|version| version.as_int() == Ok(2));
    let Some(pieces) = pieces else {
        if is_v2 || tree.is_some() {
            let message = "this torrent is for BitTorrent v2 only, which is not supported";
            return Err(MetainfoError::new("torrent.v2-only", message));
        }
        return Err(MetainfoError::new(
            "torrent.pieces",
            "there are no piece hashes",
        ));
    };
    let raw_name = raw_name(name_utf8, name, root, &mut warnings)?;
    let name = names::element(raw_name)
        .ok_or_else(|| MetainfoError::about("torrent.name", "no name for a file", raw_name))?;
    let piece_length = bytes_a_piece(piece_length, root, &mut warnings)?;

    let (files, table) = files::read(&name, length, list, &mut warnings)?;
    let geometry = geometry(piece_length, table.total())?;
    let hashes = pieces
        .as_bytes()
        .ok_or_else(|| MetainfoError::new("torrent.pieces", "the piece hashes are no string"))?;
    let need = u64::from(geometry.pieces()) * 20;
    if hashes.len() as u64 != need {
        let have = hashes.len() / 20;
        let rest = match hashes.len() % 20 {
            0 => String::new(),
            rest => format!(" and {rest} bytes"),
        };
        let message = format!("have {have}{rest} need {}", geometry.pieces());
        return Err(MetainfoError::new("torrent.pieces", message));
    }
    let info_hash_v2 = match is_v2 {
        true => {
            hybrid::check(tree, raw_name, length, list)?;
            Some(Sha256::digest(info.raw()).into())
        }
        false => None,
    };
    let hashes_end = pieces.offset() - info.offset() + pieces.raw().len();

    Ok(Metainfo {
        info_hash: InfoHash(Sha1::digest(info.raw()).into()),
        info_hash_v2,
        name,
        geometry,
        files,
        table,
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        nodes: Vec::new(),
        private: is_private(private, &mut warnings)?,
        comment: None,
        created_by: None,
        creation_date: None,
        warnings,
        info: Vec::new(),
        hashes: hashes_end - hashes.len()..hashes_end,
    })
}

fn raw_name<'a>(
    utf8: Option<Value<'a>>,
    plain: Option<Value<'a>>,
    root: Option<Value<'a>>,
    warnings: &mut Vec<Warning>,
) -> Result<&'a [u8], MetainfoError> {
    let better = |utf8: Option<Value<'a>>, plain: Option<Value<'a>>| {
        let utf8 = utf8.and_then(Value::as_bytes);
        let utf8 = utf8.filter(|name| !name.is_empty() && std::str::from_utf8(name).is_ok());
        utf8.or(plain.and_then(Value::as_bytes))
    };
    if let Some(name) = better(utf8, plain) {
        return Ok(name);
    }
    if let Some(root) = root {
        let [utf8, plain] = root.fields([b"name.utf-8".as_slice(), b"name"])?;
        if let Some(name) = better(utf8, plain) {
            warnings.push(misplaced("name"));
            return Ok(name);
        }
    }
    Err(MetainfoError::new("torrent.name", "there is no name"))
}

fn bytes_a_piece<'a>(
    mut found: Option<Value<'a>>,
    root: Option<Value<'a>>,
    warnings: &mut Vec<Warning>,
) -> Result<u32, MetainfoError> {
    const KIND: &str = "torrent.piece-length";
    if let (None, Some(root)) = (found, root) {
        [found] = root.fields([b"piece length".as_slice()])?;
        if found.is_some() {
            warnings.push(misplaced("piece length"));
        }
    }
    let value = found.ok_or_else(|| MetainfoError::new(KIND, "there is no piece length"))?;
    let length = value
        .as_int()
        .map_err(|error| MetainfoError::number(KIND, "piece length", error))?;
    match u32::try_from(length) {
        Ok(length) if length > 0 && length <= limits::PIECE_LENGTH_MAX => Ok(length),
        _ => {
            let message = format!(
                "{length} bytes a piece, must be 1 to {}",
                limits::PIECE_LENGTH_MAX
            );
            Err(MetainfoError::new(KIND, message))
        }
    }
}

fn geometry(piece_length: u32, total: u64) -> Result<Geometry, MetainfoError> {
    let message = match total {
        0 => "there is no content".to_owned(),
        _ => format!("{total} bytes in pieces of {piece_length} are too many"),
    };
    Geometry::new(piece_length, total).ok_or_else(|| MetainfoError::new("torrent.length", message))
}

/// BEP 27. What is no number leaves the wish for privacy in no doubt.
fn is_private(
    value: Option<Value<'_>>,
    warnings: &mut Vec<Warning>,
) -> Result<bool, MetainfoError> {
    let Some(value) = value else {
        return Ok(false);
    };
    if value.raw().starts_with(b"i") {
        let number = value
            .as_int()
            .map_err(|error| MetainfoError::number("torrent.number", "private", error))?;
        return Ok(number != 0);
    }
    let message = "private is no number, taken as set";
    warnings.push(Warning::new("torrent.private", message));
    Ok(true)
}

fn misplaced(key: &str) -> Warning {
    let message = format!("the {key} stands outside of info");
    Warning::new("torrent.misplaced", message)
}
