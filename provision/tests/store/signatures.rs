//! Signed bundles, and machines that demand them.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use minisign::KeyPair;

use crate::bench::{Machine, S3, bundle};

fn sign(pair: &KeyPair, folder: &Path, to: &Path) {
    let manifest = fs::read(folder.join("manifest.json")).unwrap();
    let signature = minisign::sign(None, &pair.sk, Cursor::new(manifest), Some("toy, by us"), None).unwrap();
    fs::write(to, signature.into_string()).unwrap();
}

#[test]
fn a_signature_is_demanded_and_checked_before_anything_is_fetched() {
    let s3 = S3::start();
    let machine = Machine::on_s3(&s3);
    let (ours, theirs) =
        (KeyPair::generate_unencrypted_keypair().unwrap(), KeyPair::generate_unencrypted_keypair().unwrap());
    let (signed, unsigned) = (bundle("1.0.0", 1000), bundle("1.0.1", 1000));
    let signature = machine.path("manifest.json.minisig");
    sign(&ours, signed.path(), &signature);
    let (key, other) = (ours.pk.to_base64(), theirs.pk.to_base64());
    let folder = signed.path().to_str().unwrap();
    machine
        .run(&["push", folder, "--signature", signature.to_str().unwrap(), "--key", &other])
        .expect(1)
        .says("the signature does not fit");
    machine.run(&["push", folder, "--signature", signature.to_str().unwrap(), "--key", &key]).expect(0);
    machine.run(&["push", unsigned.path().to_str().unwrap(), "--no-latest"]).expect(0);

    machine.ensure_with("toy", &["--require-signature"]).expect(2).says("no public key is known");
    machine.ensure_with("toy", &["--require-signature", "--key", &other]).expect(1).says("by a trusted key");
    machine.ensure_with("toy", &["--key", &other]).expect(1).says("by a trusted key");
    let refused = machine.ensure_with("toy@1.0.1", &["--require-signature", "--key", &key]);
    refused.expect(1).says("a signature is required").says("hint: sign it with `minisign");
    assert_eq!(s3.fetches().len(), 0, "nothing of a refused bundle is fetched");
    assert_eq!(machine.files(), []);

    machine
        .ensure_with("toy", &["--require-signature", "--key", &key])
        .expect(0)
        .says("is signed: toy, by us");
    machine.holds("1.0.0");
    machine.ensure_with("toy@1.0.1", &["--key", &key]).expect(0);
    machine.holds("1.0.1");
}

#[test]
fn the_settings_file_can_demand_one() {
    let machine = Machine::with_folder();
    machine.push(bundle("1.0.0", 1000).path()).expect(0);
    let key = KeyPair::generate_unencrypted_keypair().unwrap().pk.to_base64();
    let config = machine.path("rollcall.toml");
    fs::write(&config, format!("require_signature = true\nbundle_keys = [\"{key}\"]\n")).unwrap();
    machine
        .ensure_with("toy", &["--config", config.to_str().unwrap()])
        .expect(1)
        .says("a signature is required");
    machine
        .ensure_with("toy", &["--config", config.to_str().unwrap(), "--require-signature=false"])
        .expect(0);
    machine.holds("1.0.0");
}
