//! Where a job stands in its submitter's trace: a `traceparent` of W3C Trace Context, version 00.

use std::fmt;
use std::str::FromStr;

/// A trace, and the span in it that continues elsewhere. Invariant: neither id is all zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceContext {
    trace: [u8; 16],
    span: [u8; 8],
    flags: u8,
}

/// Text that is no `traceparent`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent (`00-TRACE-SPAN-FLAGS`): `{text}`")]
pub struct TraceContextError {
    /// What was given, cut to 64 characters.
    pub text: String,
}

impl TraceContext {
    /// From its parts; `None` when an id is all zeros.
    #[must_use]
    pub fn new(trace: [u8; 16], span: [u8; 8], flags: u8) -> Option<Self> {
        (trace != [0; 16] && span != [0; 8]).then_some(Self { trace, span, flags })
    }

    /// The trace's id.
    #[must_use]
    pub fn trace(&self) -> [u8; 16] {
        self.trace
    }

    /// The span's id.
    #[must_use]
    pub fn span(&self) -> [u8; 8] {
        self.span
    }

    /// The flags; bit 0 says that the trace is recorded.
    #[must_use]
    pub fn flags(&self) -> u8 {
        self.flags
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (u128::from_be_bytes(self.trace), u64::from_be_bytes(self.span));
        write!(f, "00-{trace:032x}-{span:016x}-{:02x}", self.flags)
    }
}

impl FromStr for TraceContext {
    type Err = TraceContextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || TraceContextError { text: text.chars().take(64).collect() };
        let digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        let parts: Vec<&str> = text.split('-').collect();
        let [version, trace, span, flags] = parts[..] else { return Err(refused()) };
        let lengths = [version, trace, span, flags].map(str::len);
        if version != "00" || lengths != [2, 32, 16, 2] || !text.chars().all(|c| c == '-' || digit(c)) {
            return Err(refused());
        }
        let number = |text| u128::from_str_radix(text, 16).map_err(|_| refused());
        // The lengths say that nothing is cut off.
        let (span, flags) = (number(span)? as u64, number(flags)? as u8);
        Self::new(number(trace)?.to_be_bytes(), span.to_be_bytes(), flags).ok_or_else(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_standards_example_survives() {
        let context: TraceContext = EXAMPLE.parse().unwrap();
        assert_eq!(context.to_string(), EXAMPLE);
        assert_eq!((context.trace()[0], context.span()[7], context.flags()), (0x4b, 0xb7, 1));
    }

    #[test]
    fn other_texts_are_refused() {
        for wrong in [
            "",
            "00",
            &EXAMPLE[1..],
            &EXAMPLE.to_uppercase(),
            &EXAMPLE.replace("00-", "01-"),
            &EXAMPLE.replace("00f067aa0ba902b7", "0000000000000000"),
            &EXAMPLE.replace("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
            &format!("{EXAMPLE}-x"),
            &EXAMPLE.replace('b', "+"),
        ] {
            assert!(wrong.parse::<TraceContext>().is_err(), "{wrong}");
        }
    }
}
