//! The 512-byte headers of a tar archive: POSIX ustar, and of its extensions what tar programs write for long names.
//!
//! Layout: POSIX.1-2017, `pax`, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".

/// Size of a header, and what contents are padded to.
pub(super) const BLOCK: usize = 512;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    Link,
    Device,
    /// A pax header for the next entry.
    Extension,
    /// A pax header for all entries that follow.
    GlobalExtension,
    /// GNU: the next entry's name.
    LongName,
    /// GNU: where the next entry, a link, leads.
    LongLink,
    Unknown(u8),
}

/// A header as it stands, not yet judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) bytes: u64,
    pub(super) link: Vec<u8>,
}

impl Header {
    /// `None` when the block is no header.
    pub(super) fn parse(block: &[u8; BLOCK]) -> Option<Self> {
        if number(&block[148..156])? != checksum(block) {
            return None;
        }
        let mut name = text(&block[..100]).to_vec();
        // Only POSIX has the prefix; GNU's older form has other things there.
        if &block[257..263] == b"ustar\0" && block[345] != 0 {
            name = [text(&block[345..500]), b"/", &name].concat();
        }
        let kind = match block[156] {
            // The oldest form marks folders by their name alone.
            b'\0' if name.ends_with(b"/") => Kind::Folder,
            b'0' | b'\0' => Kind::File,
            b'1' | b'2' => Kind::Link,
            b'3' | b'4' | b'6' => Kind::Device,
            b'5' => Kind::Folder,
            b'x' => Kind::Extension,
            b'g' => Kind::GlobalExtension,
            b'L' => Kind::LongName,
            b'K' => Kind::LongLink,
            other => Kind::Unknown(other),
        };
        Some(Self { name, kind, bytes: number(&block[124..136])?, link: text(&block[157..257]).to_vec() })
    }

    /// The header of a regular file: mode 0644, nobody's, of no time, so that equal contents make equal archives.
    pub(super) fn of_file(name: &str, bytes: u64) -> [u8; BLOCK] {
        Self::make(name, bytes, b'0')
    }

    /// The header of a pax extension.
    pub(super) fn of_extension(bytes: u64) -> [u8; BLOCK] {
        Self::make("pax", bytes, b'x')
    }

    fn make(name: &str, bytes: u64, kind: u8) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let kept = name.len().min(100);
        block[..kept].copy_from_slice(&name.as_bytes()[..kept]);
        block[100..108].copy_from_slice(b"0000644\0");
        block[108..116].copy_from_slice(b"0000000\0");
        block[116..124].copy_from_slice(b"0000000\0");
        // Eleven octal digits reach 8 GiB, twice what a bundle may have.
        block[124..136].copy_from_slice(format!("{:011o}\0", bytes & 0o77_777_777_777).as_bytes());
        block[136..148].copy_from_slice(b"00000000000\0");
        block[156] = kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        let sum = checksum(&block);
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

/// The sum of all bytes, those of the sum itself taken as spaces.
fn checksum(block: &[u8; BLOCK]) -> u64 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    sum(&block[..148]) + 8 * u64::from(b' ') + sum(&block[156..])
}

/// A field up to its first NUL.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

/// Octal digits between spaces and NULs, or GNU's big-endian form for large numbers; an empty field is 0.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] == 0x80 {
        let (high, low) = field.split_at(field.len() - 8);
        let low: [u8; 8] = low.try_into().ok()?;
        return high[1..].iter().all(|byte| *byte == 0).then(|| u64::from_be_bytes(low));
    }
    let padding = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !padding(byte)).unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(padding).unwrap_or(digits.len());
    if !digits[end..].iter().all(padding) {
        return None;
    }
    digits[..end].iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// What a pax extension says of the next entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Extension {
    pub(super) path: Option<Vec<u8>>,
    pub(super) bytes: Option<u64>,
    /// Something that changes what the content means, such as a sparse file.
    pub(super) sparse: bool,
}

impl Extension {
    /// Records of the form `LENGTH KEY=VALUE\n`; times, owners and comments are passed over. `None` when it is not that.
    pub(super) fn parse(mut rest: &[u8]) -> Option<Self> {
        let mut found = Self::default();
        while !rest.is_empty() {
            let space = rest.iter().position(|byte| *byte == b' ')?;
            let length: usize = std::str::from_utf8(&rest[..space]).ok()?.parse().ok()?;
            if length <= space + 1 || length > rest.len() || rest[length - 1] != b'\n' {
                return None;
            }
            let record = &rest[space + 1..length - 1];
            let equals = record.iter().position(|byte| *byte == b'=')?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => found.path = Some(value.to_vec()),
                b"size" => found.bytes = Some(std::str::from_utf8(value).ok()?.parse().ok()?),
                _ if key.starts_with(b"GNU.sparse") => found.sparse = true,
                _ => {}
            }
            rest = &rest[length..];
        }
        Some(found)
    }

    /// The records that give the next entry a path.
    pub(super) fn of_path(path: &str) -> Vec<u8> {
        let tail = format!(" path={path}\n");
        // The length counts its own digits.
        let mut length = tail.len();
        while length.to_string().len() + tail.len() != length {
            length = length.to_string().len() + tail.len();
        }
        format!("{length}{tail}").into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_form() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0"), Some(0o644));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"\x80\0\0\0\0\0\0\x02\0\0\0\0"), Some(2 << 32));
        for wrong in [
            &b"0000648\0"[..],
            b"-000001\0",
            b"64 4\0\0\0\0",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert_eq!(number(wrong), None, "{wrong:?}");
        }
        assert_eq!(number(b"\x80\x01\0\0\0\0\0\0\0\0\0\0"), None, "beyond 64 bits");
    }

    #[test]
    fn a_header_is_read_back_and_one_changed_byte_is_noticed() {
        let block = Header::of_file("a/b", 1_234_567);
        let header = Header::parse(&block).unwrap();
        assert_eq!((header.name.as_slice(), header.kind, header.bytes), (&b"a/b"[..], Kind::File, 1_234_567));
        for at in 0..500 {
            let mut changed = block;
            changed[at] ^= 0x10;
            assert_ne!(Header::parse(&changed).as_ref(), Some(&header), "byte {at}");
        }
    }

    #[test]
    fn extensions_are_read_back_at_every_length() {
        for length in 1..300 {
            let path = "p".repeat(length);
            let found = Extension::parse(&Extension::of_path(&path)).unwrap();
            assert_eq!(found.path.as_deref(), Some(path.as_bytes()));
        }
        let records = b"11 size=12\n20 comment=whatever\n";
        assert_eq!(Extension::parse(records).unwrap().bytes, Some(12));
        for wrong in [&b"5 a=b"[..], b"99 path=x\n", b"3 =", b"x path=y\n", b"0 path=y\n", b"7 pathx\n"] {
            assert_eq!(Extension::parse(wrong), None, "{wrong:?}");
        }
    }
}
