//! Digests as 43 characters of base64 (RFC 4648, section 5, without padding): a third shorter than hexadecimal, and
//! digests are most of what is kept of a result.

use crate::job::spec::ContentDigest;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Characters of 32 bytes.
const CHARS: usize = 43;

/// The text of a digest.
pub fn write_digest(digest: &ContentDigest) -> String {
    let mut text = String::with_capacity(CHARS);
    for group in digest.as_bytes().chunks(3) {
        let bits = group.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte))
            << (8 * (3 - group.len()));
        // Three bytes are four characters, two are three.
        for place in 0..=group.len() {
            text.push(char::from(ALPHABET[bits >> (18 - 6 * place) & 63]));
        }
    }
    text
}

/// The digest of a text.
pub fn read_digest(text: &str) -> Option<ContentDigest> {
    if text.len() != CHARS {
        return None;
    }
    let mut bytes = [0; 32];
    let (mut bits, mut count, mut filled) = (0_u32, 0, 0);
    for c in text.bytes() {
        let value = ALPHABET.iter().position(|known| *known == c)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            *bytes.get_mut(filled)? = (bits >> count & 0xff) as u8;
            filled += 1;
        }
    }
    // The last character carries two bits that belong to no byte; they are zero.
    (bits & 3 == 0).then(|| ContentDigest::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_survive() {
        let counting = ContentDigest::new(std::array::from_fn(|i| u8::try_from(i).unwrap()));
        assert_eq!(write_digest(&counting), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
        for digest in [counting, ContentDigest::new([0xff; 32]), ContentDigest::of(b"x")] {
            assert_eq!(read_digest(&write_digest(&digest)), Some(digest));
        }
    }

    #[test]
    fn other_texts_are_none() {
        let text = write_digest(&ContentDigest::of(b"x"));
        for wrong in [
            "",
            &text[1..],
            &format!("{text}A"),
            &text.replace(&text[..1], "+"),
            &format!("{}B", &text[..42]),
        ] {
            assert_eq!(read_digest(wrong), None, "{wrong}");
        }
    }
}
