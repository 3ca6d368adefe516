//! Any common audio in, a stream of mono 16 kHz blocks out.
