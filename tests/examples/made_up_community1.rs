//! Writes the files of a community-1 repository with made-up embedding weights, for trying the way from them to turns.
//!
//! `cargo run -p tests --example made_up_community1 -- DIR`, then `rollcall-provision build community-1 --from DIR`. The
//! voices it tells apart mean nothing. Needs the starter bundle's wheel in `ROLLCALL_HOME` and the references beside the
//! checkout.

#[allow(dead_code, reason = "the golden tests use the rest of it")]
#[path = "../golden/made_up.rs"]
mod made_up;

fn main() -> anyhow::Result<()> {
    let folder = std::env::args().nth(1).ok_or_else(|| anyhow::anyhow!("usage: made_up_community1 DIR"))?;
    made_up::repository(std::path::Path::new(&folder))
        .ok_or_else(|| anyhow::anyhow!("what it is made of is not there"))
}
