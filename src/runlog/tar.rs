//! The one form of tar that exports use: plain files, every byte of every header fixed (ustar, POSIX.1-1988).

const BLOCK: usize = 512;

/// Why bytes are no such archive, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TarError {
    pub(super) offset: usize,
    pub(super) reason: String,
}

/// A file in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member<'a> {
    pub(super) name: String,
    /// Where its content begins.
    pub(super) at: usize,
    pub(super) content: &'a [u8],
}

/// Adds a file. `None` when its name does not fit into a header.
pub(super) fn add(out: &mut Vec<u8>, name: &str, bytes: &[u8]) -> Option<()> {
    out.extend_from_slice(&header(name, bytes.len())?);
    out.extend_from_slice(bytes);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
    Some(())
}

/// Ends an archive.
pub(super) fn finish(out: &mut Vec<u8>) {
    out.resize(out.len() + 2 * BLOCK, 0);
}

/// Has somebody begun to write such an archive here?
pub(super) fn is_one(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar")
}

/// The files of an archive, in order. Whatever [`add`] and [`finish`] would not have written is refused.
pub(super) fn files(bytes: &[u8]) -> Result<Vec<Member<'_>>, TarError> {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        let wrong = |reason: &str| TarError { offset: at, reason: reason.to_owned() };
        let block = bytes.get(at..at + BLOCK).ok_or_else(|| wrong("it ends here, in the middle"))?;
        if block.iter().all(|byte| *byte == 0) {
            if bytes.len() < at + 2 * BLOCK {
                return Err(wrong("it ends here, in the middle"));
            }
            if bytes.len() > at + 2 * BLOCK || bytes[at..].iter().any(|byte| *byte != 0) {
                return Err(wrong("something follows its end"));
            }
            return Ok(found);
        }
        let (name, size) = read_header(block).ok_or_else(|| wrong("this is no header of a file in an export"))?;
        let begin = at + BLOCK;
        let cut = || TarError { offset: bytes.len(), reason: format!("it ends here, in the middle of `{name}`") };
        let end = begin.checked_add(size).ok_or_else(cut)?;
        let content = bytes.get(begin..end).ok_or_else(cut)?;
        let padded = end.checked_next_multiple_of(BLOCK).ok_or_else(cut)?;
        if bytes.get(end..padded).ok_or_else(cut)?.iter().any(|byte| *byte != 0) {
            return Err(TarError { offset: end, reason: format!("something follows `{name}`") });
        }
        found.push(Member { name, at: begin, content });
        at = padded;
    }
}

/// Name, mode, owner, group, size, time, checksum, kind and form, each in its place; nothing that differs from machine
/// to machine, so that the same run gives the same export.
fn header(name: &str, size: usize) -> Option<[u8; BLOCK]> {
    let (prefix, name) = split(name)?;
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    let size = format!("{size:011o}\0");
    if size.len() != 12 {
        return None;
    }
    put(0, name);
    put(100, "0000600\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &size);
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\0");
    put(263, "00");
    put(345, prefix);
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Some(block)
}

/// Names of up to 100 bytes stand whole; longer ones are cut at a slash.
fn split(name: &str) -> Option<(&str, &str)> {
    if name.is_empty() || name.contains('\0') {
        return None;
    }
    if name.len() <= 100 {
        return Some(("", name));
    }
    name.match_indices('/')
        .map(|(at, _)| (&name[..at], &name[at + 1..]))
        .find(|(prefix, rest)| (1..=155).contains(&prefix.len()) && (1..=100).contains(&rest.len()))
}

fn read_header(block: &[u8]) -> Option<(String, usize)> {
    let text = |from: usize, to: usize| {
        let field = block.get(from..to)?;
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
        std::str::from_utf8(&field[..end]).ok()
    };
    let (prefix, name) = (text(345, 500)?, text(0, 100)?);
    let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
    let size = usize::from_str_radix(text(124, 136)?, 8).ok()?;
    (header(&name, size)?.as_slice() == block).then_some((name, size))
}
