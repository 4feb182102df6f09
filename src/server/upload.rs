//! Files that are uploaded: the fields before them, how large they are and what their SHA-256 is. What is in them is not
//! kept, so that a large one takes no more memory than a small one.

use axum::{
    body::Body,
    http::{header, request::Parts},
};
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};

use super::{random, response::Answer};
use crate::model::Params;

/// What of a form may stand before the file.
const HEAD: usize = 64 << 10;

/// A file that came with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Bytes.
    pub size: u64,
    /// Its SHA-256 as hex digits, where the form gives a checksum to compare.
    pub sha256: Option<String>,
}

/// The line that stands before each part.
pub(super) fn boundary(parts: &Parts) -> Option<String> {
    let kind = parts.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let rest = kind.strip_prefix("multipart/form-data")?;
    let boundary = rest.split(';').find_map(|part| part.trim().strip_prefix("boundary="))?;
    Some(format!("--{}", boundary.trim_matches('"')))
}

/// Reads the fields and counts the file, which comes last.
///
/// # Errors
/// The answer to a form that is none, or has no file or no length.
pub(super) async fn read(parts: &Parts, boundary: &str, body: Body) -> Result<(Params, Upload), Answer> {
    let odd = |why: &str| Answer::text(400, why);
    let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let length = length.ok_or_else(|| odd("upload without Content-Length"))?;
    let mut chunks = body.into_data_stream();
    let mut head: Vec<u8> = Vec::new();
    let (params, begin) = loop {
        match fields(&head, boundary) {
            Ok(Some(found)) => break found,
            Ok(None) if head.len() > HEAD => return Err(odd("no file in the first part of the form")),
            Ok(None) => {}
            Err(why) => return Err(odd(why)),
        }
        match chunks.next().await {
            Some(Ok(chunk)) => head.extend_from_slice(&chunk),
            _ => return Err(odd("the form ends before its file")),
        }
    };
    // `\r\n--boundary--\r\n` ends the form.
    let end = boundary.len() as u64 + 6;
    let size = length.checked_sub(begin as u64 + end).ok_or_else(|| odd("the form ends before its file"))?;
    let (mut sum, mut left) = (params.get("checksum").map(|_| Sha256::new()), size);
    let mut take = |bytes: &[u8]| {
        let part = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if let Some(sum) = &mut sum {
            sum.update(&bytes[..part]);
        }
        left -= part as u64;
    };
    take(&head[begin..]);
    drop(head);
    while let Some(chunk) = chunks.next().await {
        take(&chunk.map_err(|_| odd("the form ends within its file"))?);
    }
    if left > 0 {
        return Err(odd("the form ends within its file"));
    }
    let sha256 = sum.map(|sum| random::hex(&sum.finalize()));
    Ok((params, Upload { size, sha256 }))
}

/// The fields before the file, and where that begins; nothing as long as it has not begun.
fn fields(head: &[u8], boundary: &str) -> Result<Option<(Params, usize)>, &'static str> {
    let find =
        |from: usize, what: &[u8]| head[from..].windows(what.len()).position(|at| at == what).map(|at| from + at);
    let (mut params, mut at) = (Params::new(), 0);
    loop {
        let Some(line) = find(at, boundary.as_bytes()) else { return Ok(None) };
        let from = line + boundary.len() + 2;
        let Some(end) = (if from <= head.len() { find(from, b"\r\n\r\n") } else { None }) else { return Ok(None) };
        let header = String::from_utf8_lossy(&head[from..end]).into_owned();
        let quoted = |key: &str| {
            let (_, rest) = header.split_once(&format!("{key}=\""))?;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        let begin = end + 4;
        if let Some(file) = quoted("; filename") {
            params.push("filename", file);
            return Ok(Some((params, begin)));
        }
        let name = quoted("name").ok_or("a part of the form has no name")?;
        let Some(stop) = find(begin, format!("\r\n{boundary}").as_bytes()) else { return Ok(None) };
        params.push(name, String::from_utf8_lossy(&head[begin..stop]));
        at = stop;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "--x\r\nContent-Disposition: form-data; name=\"content\"\r\n\r\niso\r\n--x\r\n\
        Content-Disposition: form-data; name=\"checksum\"\r\n\r\n0\r\n--x\r\n\
        Content-Disposition: form-data; name=\"filename\"; filename=\"a.iso\"\r\n\
        Content-Type: application/octet-stream\r\n\r\nhello\r\n--x--\r\n";

    #[tokio::test]
    async fn a_file_is_counted_and_not_kept() {
        let request = axum::http::Request::builder()
            .header("content-type", "multipart/form-data; boundary=x")
            .header("content-length", FORM.len())
            .body(())
            .unwrap();
        let (parts, ()) = request.into_parts();
        let boundary = boundary(&parts).unwrap();
        for size in [1, 7, FORM.len()] {
            let pieces: Vec<Result<Vec<u8>, std::io::Error>> =
                FORM.as_bytes().chunks(size).map(|piece| Ok(piece.to_vec())).collect();
            let body = Body::from_stream(futures_util::stream::iter(pieces));
            let (params, upload) = read(&parts, &boundary, body).await.ok().unwrap();
            assert_eq!((params.get("content"), params.get("filename")), (Some("iso"), Some("a.iso")));
            let sum = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
            assert_eq!(upload, Upload { size: 5, sha256: Some(sum.into()) }, "pieces of {size}");
        }
        let cut = Body::from(&FORM[..FORM.len() - 12]);
        assert!(read(&parts, &boundary, cut).await.is_err());
    }
}
