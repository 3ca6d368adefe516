//! The command line of Rollcall.
