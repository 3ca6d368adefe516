//! The dashboard: one page over the API, whole in this program, asking for nothing but this server.
//!
//! Invariants: the page's policy allows no script, style or request but those of this origin, and no text to become
//! markup (trusted types); no other site may frame it. A job's timeline, which holds what others said and named, runs in
//! a frame of its own without an origin: it reaches neither the page, nor the key, nor any address. Markup, style and
//! scripts lie beside this file.

use std::sync::LazyLock;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use common::job::digest::ContentDigest;

use super::handler::{etag, has_it};
use super::service::Service;

const SCRIPT: &str = concat!(
    "(() => {\n'use strict';\n",
    include_str!("script/words.js"),
    include_str!("script/rows.js"),
    include_str!("script/notice.js"),
    include_str!("script/api.js"),
    include_str!("script/stream.js"),
    include_str!("script/queue.js"),
    include_str!("script/chart.js"),
    include_str!("script/workers.js"),
    include_str!("script/jobs.js"),
    include_str!("script/upload.js"),
    include_str!("script/submit.js"),
    include_str!("script/job.js"),
    include_str!("script/start.js"),
    "})();\n"
);

/// What the page may do.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
    media-src 'self' blob:; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";
/// What a timeline may do: run its own script in its own frame. Its own policy, inside it, allows still less.
const FRAME_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; media-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox allow-scripts";
/// What everything else may do, were it opened by itself.
const ASSET_POLICY: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";

/// One file of the page.
struct Asset {
    path: &'static str,
    content: &'static str,
    media_type: &'static str,
    policy: &'static str,
}

const ASSETS: [Asset; 5] = [
    Asset {
        path: "/",
        content: include_str!("page.html"),
        media_type: "text/html; charset=utf-8",
        policy: PAGE_POLICY,
    },
    Asset {
        path: "/assets/dashboard.css",
        content: include_str!("page.css"),
        media_type: "text/css; charset=utf-8",
        policy: ASSET_POLICY,
    },
    Asset {
        path: "/assets/dashboard.js",
        content: SCRIPT,
        media_type: "text/javascript; charset=utf-8",
        policy: ASSET_POLICY,
    },
    Asset {
        path: "/assets/icon.svg",
        content: include_str!("icon.svg"),
        media_type: "image/svg+xml",
        policy: ASSET_POLICY,
    },
    Asset {
        path: "/assets/timeline",
        content: include_str!("frame.html"),
        media_type: "text/html; charset=utf-8",
        policy: FRAME_POLICY,
    },
];

/// Versions of the files, in their order.
static TAGS: LazyLock<[String; ASSETS.len()]> =
    LazyLock::new(|| ASSETS.map(|asset| ContentDigest::of(asset.content.as_bytes()).to_string()));

/// The page and its files. They say nothing about any job, so they need no key.
pub fn routes() -> Router<Service> {
    let all = ASSETS.iter().zip(TAGS.iter());
    all.fold(Router::new(), |router, (asset, tag)| {
        router.route(asset.path, get(move |headers: HeaderMap| async move { asset.answer(tag, &headers) }))
    })
}

impl Asset {
    fn answer(&self, tag: &str, headers: &HeaderMap) -> Response {
        let shared = [
            etag(tag),
            // Files of two versions must not meet in one page.
            (CACHE_CONTROL, "no-cache".to_owned()),
            (CONTENT_SECURITY_POLICY, self.policy.to_owned()),
        ];
        if has_it(headers, tag) {
            return (StatusCode::NOT_MODIFIED, shared).into_response();
        }
        (shared, [(CONTENT_TYPE, self.media_type)], self.content).into_response()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use axum::http::header::IF_NONE_MATCH;

    use super::*;

    #[test]
    fn each_file_says_what_it_may_do_and_is_sent_once() {
        for (asset, tag) in ASSETS.iter().zip(TAGS.iter()) {
            let answer = asset.answer(tag, &HeaderMap::new());
            let policy = answer.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'; "), "{}: {policy}", asset.path);
            assert!(policy.contains("frame-ancestors"), "{}: {policy}", asset.path);
            assert_eq!(answer.status(), StatusCode::OK);
            let known = HeaderValue::from_str(&format!("\"{tag}\"")).unwrap();
            let again = asset.answer(tag, &HeaderMap::from_iter([(IF_NONE_MATCH, known)]));
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{}", asset.path);
        }
        assert!(
            PAGE_POLICY.contains("require-trusted-types-for 'script'") && !PAGE_POLICY.contains("unsafe")
        );
        assert!(FRAME_POLICY.ends_with("sandbox allow-scripts") && !FRAME_POLICY.contains("'self' "));
    }

    #[test]
    fn nothing_in_them_asks_elsewhere_or_makes_markup_of_text() {
        for asset in &ASSETS {
            let content = asset.content.replace("http://www.w3.org/2000/svg", "");
            for banned in [
                "http:",
                "https:",
                "//cdn",
                "@import",
                "innerHTML",
                "insertAdjacent",
                "eval(",
                "localStorage",
            ] {
                assert!(!content.contains(banned), "{}: {banned}", asset.path);
            }
            // Only the frame without an origin writes a document, which is a job's timeline.
            assert_eq!(
                content.contains("document.write"),
                asset.path == "/assets/timeline",
                "{}",
                asset.path
            );
            assert_eq!(content.contains("<script>"), asset.path == "/assets/timeline", "{}", asset.path);
        }
    }
}
