//! The only place where the keys of the object store are spelled (contract, section 6).
//!
//! Keys are relative to the store's own prefix and never begin with `/`.

use crate::job::id::JobId;
use crate::job::lease::LeaseKey;
use crate::job::record::JobRecord;
use crate::job::spec::ContentDigest;
use crate::model::manifest::is_name;
use crate::speech::voice::is_voice_name;

/// Everything uploaded for jobs.
pub const INBOX: &str = "inbox/";
/// Uploads whose digest is not known yet.
pub const INBOX_TMP: &str = "inbox/tmp/";
/// Everything workers wrote.
pub const RESULTS: &str = "results/";
/// Every model bundle.
pub const BUNDLES: &str = "bundles/";
/// Every enrolled voice.
pub const SPEAKERS: &str = "speakers/";
/// The programs.
const RELEASES: &str = "releases/";
/// ONNX Runtime and CUDA libraries.
const RUNTIMES: &str = "runtimes/";
/// Everything that has a meaning of its own; the rest of the store is the users'.
const RESERVED: [&str; 6] = [INBOX, RESULTS, BUNDLES, SPEAKERS, RELEASES, RUNTIMES];
/// Name of the document in which an attempt leaves the voice that it learnt.
pub const VOICE_DOCUMENT: &str = "voice.json";
/// Longest file extension kept of an upload, characters.
pub const EXTENSION_CHARS_MAX: usize = 8;

/// Audio by its content: `inbox/{sha256}.{ext}`. Of the extension only lower-case letters and digits are kept, at most
/// [`EXTENSION_CHARS_MAX`]; it helps people and format probing, nothing depends on it.
#[must_use]
pub fn inbox(sha256: &ContentDigest, extension: &str) -> String {
    let extension: String = extension
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(EXTENSION_CHARS_MAX)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let extension = if extension.is_empty() { "bin" } else { &extension };
    format!("{INBOX}{sha256}.{extension}")
}

/// Whether a key, or what lies below it, has a meaning of its own: no submitter may have anything written there.
#[must_use]
pub fn is_reserved(key: &str) -> bool {
    RESERVED.iter().any(|prefix| key.starts_with(prefix) || key == prefix.trim_end_matches('/'))
}

/// Whether a submitter may name what is at a key as a recording or transcript: uploads, and whatever lies in the users' own
/// part of the store. Other people's results and voices are asked for elsewhere, by whoever may see them.
#[must_use]
pub fn may_be_source(key: &str) -> bool {
    let uploaded = key.starts_with(INBOX) && !key.starts_with(INBOX_TMP);
    uploaded || !is_reserved(key)
}

/// An upload under way: `inbox/tmp/{upload}`.
#[must_use]
pub fn inbox_upload(upload: JobId) -> String {
    format!("{INBOX_TMP}{upload}")
}

/// The folder of a job's results: `results/{job}/`.
#[must_use]
pub fn results(job: JobId) -> String {
    format!("{RESULTS}{job}/")
}

/// The folder of what one attempt wrote: `results/{job}/{token}-{nonce}/`.
#[must_use]
pub fn attempt(key: &LeaseKey) -> String {
    format!("{RESULTS}{}/{}-{}/", key.job, key.token, key.nonce)
}

/// A settled document at its stable key: `results/{job}/{name}`.
#[must_use]
pub fn document(job: JobId, name: &str) -> String {
    format!("{RESULTS}{job}/{name}")
}

/// Where the documents of a completed job lie before they are exported: the attempt's own folder, or the stable keys of
/// the job it was taken from. `None` for a job that has no result.
#[must_use]
pub fn result_source(record: &JobRecord) -> Option<String> {
    record.result.as_ref()?;
    match record.cached_from {
        Some(source) => Some(results(source)),
        None => record.lease_key().as_ref().map(attempt),
    }
}

/// `bundles/{name}/{version}/bundle.tar.zst`.
#[must_use]
pub fn bundle_archive(name: &str, version: &str) -> String {
    format!("{BUNDLES}{name}/{version}/bundle.tar.zst")
}

/// `bundles/{name}/{version}/manifest.json`.
#[must_use]
pub fn bundle_manifest(name: &str, version: &str) -> String {
    format!("{BUNDLES}{name}/{version}/manifest.json")
}

/// The folder of every version of a bundle: `bundles/{name}/`.
#[must_use]
pub fn bundle(name: &str) -> String {
    format!("{BUNDLES}{name}/")
}

/// The folder of one version of a bundle: `bundles/{name}/{version}/`. Earlier deployments have a folder `latest` too.
#[must_use]
pub fn bundle_version(name: &str, version: &str) -> String {
    format!("{BUNDLES}{name}/{version}/")
}

/// The signature of a bundle's manifest: `bundles/{name}/{version}/manifest.json.minisig`.
#[must_use]
pub fn bundle_signature(name: &str, version: &str) -> String {
    format!("{}.minisig", bundle_manifest(name, version))
}

/// The pointer to a bundle's newest version: `bundles/{name}/latest`.
#[must_use]
pub fn bundle_latest(name: &str) -> String {
    format!("{BUNDLES}{name}/latest")
}

/// The programs: `releases/{version}/{target}/rollcall.tar.zst`.
#[must_use]
pub fn release(version: &str, target: &str) -> String {
    format!("{RELEASES}{version}/{target}/rollcall.tar.zst")
}

/// The digest beside the programs: `releases/{version}/{target}/rollcall.tar.zst.sha256`.
#[must_use]
pub fn release_digest(version: &str, target: &str) -> String {
    format!("{}.sha256", release(version, target))
}

/// The folder of a runtime: `runtimes/{name}/{version}/`.
#[must_use]
pub fn runtime(name: &str, version: &str) -> String {
    format!("{RUNTIMES}{name}/{version}/")
}

/// An enrolled voice: `speakers/{bundle}/{name}.json`.
#[must_use]
pub fn voice(bundle: &str, name: &str) -> String {
    format!("{}{name}.json", voices(bundle))
}

/// The folder of a bundle's enrolled voices: `speakers/{bundle}/`.
#[must_use]
pub fn voices(bundle: &str) -> String {
    format!("{SPEAKERS}{bundle}/")
}

/// Bundle and name of the voice at a key; `None` for what is no voice.
#[must_use]
pub fn voice_at(key: &str) -> Option<(&str, &str)> {
    let (bundle, file) = key.strip_prefix(SPEAKERS)?.split_once('/')?;
    let name = file.strip_suffix(".json")?;
    (is_name(bundle) && is_voice_name(name)).then_some((bundle, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::job::lease::Nonce;

    #[test]
    fn keys_follow_the_contract() {
        let job = JobId::new(Timestamp::from_millis(0), [0; 16]);
        let text = "00000000-0000-7000-8000-000000000000";
        let key = LeaseKey { job, token: 7, nonce: Nonce::new([0xab; 16]) };
        assert_eq!(attempt(&key), format!("results/{text}/7-{}/", "ab".repeat(16)));
        assert_eq!(document(job, "segments.json"), format!("results/{text}/segments.json"));
        assert_eq!(inbox_upload(job), format!("inbox/tmp/{text}"));
        assert_eq!(bundle_latest("starter"), "bundles/starter/latest");
        assert_eq!(bundle_signature("starter", "1"), "bundles/starter/1/manifest.json.minisig");
        assert_eq!(release_digest("1", "t"), "releases/1/t/rollcall.tar.zst.sha256");
    }

    #[test]
    fn users_have_what_is_not_reserved() {
        for (key, reserved, source) in [
            ("inbox/a.wav", true, true),
            ("inbox/tmp/a", true, false),
            ("results/j/segments.json", true, false),
            ("results", true, false),
            ("speakers/starter/ann.json", true, false),
            ("bundles/starter/latest", true, false),
            ("releases/1/t/rollcall.tar.zst", true, false),
            ("runtimes/onnx/1/a", true, false),
            ("resultsets/a.wav", false, true),
            ("calls/results/a.wav", false, true),
            ("a.wav", false, true),
        ] {
            assert_eq!((is_reserved(key), may_be_source(key)), (reserved, source), "{key}");
        }
    }

    #[test]
    fn voices_lie_under_their_bundle() {
        assert_eq!(voice("starter", "Ada L"), "speakers/starter/Ada L.json");
        assert_eq!(voice_at("speakers/starter/Ada L.json"), Some(("starter", "Ada L")));
        for key in [
            "speakers/starter/a/b.json",
            "speakers/starter/.json",
            "speakers/starter/a",
            "speakers/a.json",
            "x",
        ] {
            assert_eq!(voice_at(key), None, "{key}");
        }
    }

    #[test]
    fn an_extension_cannot_leave_its_key() {
        let digest = ContentDigest::new([0; 32]);
        let zeros = "0".repeat(64);
        for (given, kept) in
            [("FLAC", "flac"), ("", "bin"), ("../../x", "x"), ("a/b.c d", "abcd"), ("123456789", "12345678")]
        {
            assert_eq!(inbox(&digest, given), format!("inbox/{zeros}.{kept}"));
        }
    }
}
